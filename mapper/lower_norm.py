"""Norms as steps: rows of tokens through the vector unit and the row engine, an addition before them on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from math import ceil

import numpy as np

from dataflows import isa
from dataflows.attention import Lookup, Norm
from dataflows.network import Add, Tensor
from mapper import loads
from mapper.context import Context, parameters
from mapper.nests import Loops
from mapper.numbers import IDENTITY
from mapper.pipeline import Load, Step
from mapper.row_numbers import NormNumbers
from mapper.scoreboard import Access
from mapper.tables import only_use
from mapper.tiles import Tile
from mapper.vector_jobs import Pass, addend_registers, operand_pass

SLOTS = 4
"""Pieces of rows whose operands have room at a time, if they can: load, row engine and store overlap."""


class NormLowering:
    """Steps of a norm over the channels of each token.

    Parameters
    ----------
    layer : Norm
    index : int
        Number under which its jobs are marked.
    add : Add, optional
        Addition whose sum is normalized and used by nothing else: it is not stored.

    Raises
    ------
    InputError
        When a scale is out of range.
    """

    def __init__(self, context: Context, layer: Norm, index: int, add: Add | None = None):
        self.context, self.cfg, self.layer, self.index, self.add = context, context.cfg, layer, index, add
        tensors = context.network.tensors
        self.source, self.target = tensors[layer.inputs[0]], tensors[layer.output]
        self.operands: list[Tensor] = [tensors[name] for name in (add or layer).inputs]
        self.numbers = NormNumbers.of(layer, self.source, self.target)
        n, h, w, self.channels = self.source.shape
        self.view = 1, 1, n * h * w, self.channels
        self.blocks = ceil(self.channels / self.cfg.lanes)

    @staticmethod
    def row_bytes(context: Context, layer: Norm, add: Add | None = None) -> int:
        """Bytes of the operand buffer that one token needs."""
        channels = context.network.tensors[layer.inputs[0]].shape[3]
        return len((add or layer).inputs) * channels + context.cfg.lanes

    def steps(self) -> Iterator[Step]:
        """One step per piece."""
        rows, token = self.view[2], len(self.operands) * self.channels
        room = self.cfg.memory.operand_bytes - self.cfg.lanes
        most = max(1, (room // SLOTS - self.cfg.lanes) // token)
        pieces = ceil(rows / most)
        size = ceil(rows / pieces)
        spans = [(first, min(first + size, rows)) for first in range(0, rows, size)]
        for first, end in spans:
            needed = (self._operand_load(first, end), self._parameter_load(), self._gain_load())
            yield Step(self.index, needed, partial(self._run, first, end, end == rows))

    def _layout(self, rows: int) -> loads.Layout:
        size = rows * self.channels
        return loads.Layout(self.channels, size, size, size)

    def _operand_load(self, first: int, end: int) -> Load:
        """All operands of a piece, one after the other; the last word may reach beyond the last channel."""
        layout = self._layout(end - first)
        area = loads.Area((0, 1), (0, 1), (first, end), (0, self.channels))

        def emit(address: int) -> None:
            for k, tensor in enumerate(self.operands):
                to = loads.Destination(isa.Target.OPERAND, address + k * layout.size, layout)
                loads.rectangle(self.context, to, loads.View(tensor.name, self.view), area, 0, self.index)

        size = len(self.operands) * layout.size + self.cfg.lanes
        return Load((self.index, "operand", first), "operand", size, emit, layer_bound=True)

    @cached_property
    def _parameter_offset(self) -> int:
        """Constant-region offset of the entry that changes nothing."""
        lanes = np.ones(self.cfg.lanes, np.int64)
        return self.context.constants.add(parameters(self.cfg, 0 * lanes, lanes * IDENTITY[0], lanes * IDENTITY[1]))

    def _parameter_load(self) -> Load:
        return loads.parameter_load(self.context, (self.index, "param"), self._parameter_offset, 1, self.index)

    @cached_property
    def _gain_offset(self) -> int:
        """Constant-region offset of the gains."""
        return self.context.constants.add(self.numbers.entries(self.cfg))

    def _gain_load(self) -> Load:
        """Gains of all channels; addresses count blocks."""
        entry = self.cfg.gain_entry_bytes

        def emit(address: int) -> None:
            at, size = address * entry, self.blocks * entry
            loads.constant(self.context, isa.Target.GAIN, at, self._gain_offset, size, self.index, "gains")

        return Load((self.index, "gain"), "gain", self.blocks, emit)

    def _run(self, first: int, end: int, last: bool, at: list[int]) -> None:
        """VECTOR, ROWS and STORE jobs of a piece."""
        operand_at, param_at, gain_at = at
        layout, lanes = self._layout(end - first), self.cfg.lanes
        loops: Loops = [(len(self.operands), layout.size), (1, 0), (self.blocks, lanes), (end - first, layout.col)]
        addition = addend_registers(self.context, self.add, self.add.inputs[0]) if self.add else None
        operand_pass(
            self.context,
            Pass(
                source=self.operands[0].name, address=operand_at, size=len(self.operands) * layout.size + lanes,
                loops=loops, tile=Tile((0, 1), (0, 1), (first, end)), first=0, count=self.channels,
                output=self.target.name, view=self.view, param_at=param_at, reduce=isa.Reduce.NONE,
                requantize={"zero": 0, "low": -128, "high": 127}, index=self.index, name=self.layer.name, last=last,
                addition=addition, addend=self.operands[1].name if self.add else None,
                rows=partial(self._normalize, end - first, gain_at),
            ),
        )  # fmt: skip

    def _normalize(self, rows: int, gain_at: int) -> None:
        """The ROWS job of a piece."""
        layer, entry = self.layer, self.cfg.gain_entry_bytes
        kind = isa.Rows.LAYER_NORM if layer.centered else isa.Rows.RMS_NORM
        tail = self.channels - (self.blocks - 1) * self.cfg.lanes
        self.context.builder.add(
            isa.Unit.ROWS,
            {
                "mode": {"kind": kind, "blocks": self.blocks, "tail": tail},
                "count": {"rows": rows},
                "scale": {"shift": self.numbers.shift},
                "epsilon": {"value": self.numbers.epsilon},
                "gain": {
                    "block": gain_at, "zero_x": self.source.zero, "zero": self.target.zero, "low": layer.low,
                    "high": layer.high,
                },
            },
            [Access("gain", gain_at * entry, (gain_at + self.blocks) * entry)], layer=self.index, note=layer.name,
        )  # fmt: skip


def fuse_sums(context: Context, fused: Mapping[str, Add], tables: Mapping[str, Lookup]) -> dict[str, Add]:
    """Norms, by name, of a sum that nothing else reads and that is not made elsewhere: in the jobs of a convolution."""
    network = context.network
    elsewhere = {add.name for add in fused.values()} | {*tables}
    makers = {layer.output: layer for layer in network.layers}
    result: dict[str, Add] = {}
    for layer in network.layers:
        maker = makers.get(layer.inputs[0]) if isinstance(layer, Norm) else None
        if not isinstance(layer, Norm) or not isinstance(maker, Add) or maker.name in elsewhere:
            continue
        fits = NormLowering.row_bytes(context, layer, maker) <= context.cfg.memory.operand_bytes
        if fits and only_use(network, maker.output):
            result[layer.name] = maker
    return result
