"""What every lowering of a layer with one input has at hand."""

from __future__ import annotations

from functools import cached_property
from typing import Generic, TypeVar

import numpy as np

from dataflows.network import Layer
from mapper.context import Context, parameters
from mapper.loads import parameter_load
from mapper.numbers import IDENTITY
from mapper.pipeline import Load

LayerT = TypeVar("LayerT", bound=Layer)


class Lowering(Generic[LayerT]):
    """A layer, the number under which its jobs are marked, and the tensors it reads and writes."""

    def __init__(self, context: Context, layer: LayerT, index: int):
        self.context, self.cfg, self.layer, self.index = context, context.cfg, layer, index
        tensors = context.network.tensors
        self.source, self.target = tensors[layer.inputs[0]], tensors[layer.output]

    @cached_property
    def _identity(self) -> int:
        """Constant-region offset of the entry that changes nothing."""
        lanes = np.ones(self.cfg.lanes, np.int64)
        return self.context.constants.add(parameters(self.cfg, 0 * lanes, lanes * IDENTITY[0], lanes * IDENTITY[1]))

    def identity(self, name: str = "param") -> Load:
        """Load of that entry; ``name`` tells it from other parameters of the layer."""
        return parameter_load(self.context, (self.index, name), self._identity, 1, self.index)
