"""Activation tables: what of a network's lookups runs in the epilogue of the layer before, and their loads."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dataflows import isa
from dataflows.attention import Lookup
from dataflows.config import TABLE_ENTRIES
from dataflows.network import Add, Conv, Network
from mapper import loads
from mapper.context import Context
from mapper.pipeline import Load
from mapper.scoreboard import Access


@dataclass
class Table:
    """The table of a lookup, loaded under the number of the layer that looks up."""

    context: Context
    layer: Lookup
    index: int

    @cached_property
    def _offset(self) -> int:
        """Constant-region offset; a code's byte without sign is the index on chip."""
        return self.context.constants.add(np.roll(self.layer.table, TABLE_ENTRIES // 2))

    def load(self) -> Load:
        """A slot of the table memory; addresses count slots."""

        def emit(slot: int) -> None:
            at = slot * TABLE_ENTRIES
            loads.constant(self.context, isa.Target.TABLE, at, self._offset, TABLE_ENTRIES, self.index, "table")

        return Load((self.index, "table"), "table", 1, emit)


def mode(slot: int | None) -> dict[str, int]:
    """Fields of the mode of a VECTOR job that looks its results up in a slot; None: it does not."""
    return {} if slot is None else {"table": 1, "slot": slot}


def access(slot: int | None) -> list[Access]:
    """What such a job reads."""
    return [] if slot is None else [Access("table", slot * TABLE_ENTRIES, (slot + 1) * TABLE_ENTRIES)]


def fuse_tables(network: Network, fused: Mapping[str, Add], apart: Collection[str] = ()) -> dict[str, Lookup]:
    """Lookups that run in the jobs of a convolution or an addition, whose result only they use: layer name to lookup.

    ``fused`` are additions by the convolution whose jobs they run in; layers named in ``apart`` look up nothing.
    """
    inside = {add.name: name for name, add in fused.items()}
    makers = {layer.output: layer for layer in network.layers}
    result: dict[str, Lookup] = {}
    for layer in network.layers:
        if not isinstance(layer, Lookup):
            continue
        (source,) = layer.inputs
        maker = makers.get(source)
        if not isinstance(maker, Conv | Add) or maker.name in apart or not only_use(network, source):
            continue
        result[inside.get(maker.name, maker.name)] = layer
    return result


def only_use(network: Network, tensor: str) -> bool:
    """Whether one layer reads a tensor, and nobody else."""
    return tensor not in network.outputs and sum(layer.inputs.count(tensor) for layer in network.layers) == 1
