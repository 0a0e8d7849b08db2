"""What every lowering of a layer with one input has at hand."""

from __future__ import annotations

from typing import Generic, TypeVar

from dataflows.network import Layer
from mapper.context import Context

LayerT = TypeVar("LayerT", bound=Layer)


class Lowering(Generic[LayerT]):
    """A layer, the number under which its jobs are marked, and the tensors it reads and writes."""

    def __init__(self, context: Context, layer: LayerT, index: int):
        self.context, self.cfg, self.layer, self.index = context, context.cfg, layer, index
        tensors = context.network.tensors
        self.source, self.target = tensors[layer.inputs[0]], tensors[layer.output]
