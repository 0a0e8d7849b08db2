"""Products of two tensors as steps: on the vector unit, an operand word of each per word of the result.

Both operands of the words of a job lie at one distance of each other. So where one pixel counts for all, jobs are a few
pixels long: as many as keep the vector unit at work, and that pixel is brought on chip as many times.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import ceil

import numpy as np

from dataflows import isa
from dataflows.network import Window
from dataflows.operators import Multiply
from mapper import loads
from mapper.context import Context, parameters
from mapper.lowering import Lowering
from mapper.nests import Loops, levels
from mapper.numbers import significand
from mapper.pieces import Piece, cut
from mapper.pipeline import Load, Step
from mapper.tiles import Tile
from mapper.vector_jobs import Pass, operand_pass

JOB_WORDS = 32
"""Words of a job at least, if there are as many pixels: 64 cycles, in which the commands of the next arrive."""


class MultiplyLowering(Lowering[Multiply]):
    """Steps of a product.

    Raises
    ------
    InputError
        When not even one output pixel fits the operand buffer.
    """

    def __init__(self, context: Context, layer: Multiply, index: int):
        super().__init__(context, layer, index)
        self.other = context.network.tensors[layer.inputs[1]]
        self.repeated = self.other.shape != self.source.shape
        scale = np.float32(self.source.scale) * np.float32(self.other.scale) / np.float32(self.target.scale)
        multiplier, shift = significand(scale, layer.name)
        lanes = np.ones(self.cfg.lanes, np.int64)
        self._entry = context.constants.add(parameters(self.cfg, 0 * lanes, lanes * multiplier, lanes * shift))

    def steps(self) -> Iterator[Step]:
        """One step per piece."""
        images, rows, cols, channels = self.target.shape
        whole = Tile((0, images), (0, rows), (0, cols))
        beside = (self._times(channels) * channels if self.repeated else 0) + self.cfg.lanes
        # Where one pixel counts for all, pieces are half of what fits: loads and stores take smaller turns.
        pieces = list(cut(self.cfg, self.layer.name, whole, channels, Window(), lambda n: 2 * n, beside))
        for number, piece in enumerate(pieces):
            key = self.index, "param"
            needed = (
                self._operand_load(piece, number),
                loads.parameter_load(self.context, key, self._entry, 1, self.index),
            )
            yield Step(self.index, needed, partial(self._run, piece, number == len(pieces) - 1))

    def _times(self, channels: int) -> int:
        """Pixels of a job where one counts for all."""
        return ceil(JOB_WORDS / ceil(channels / self.cfg.lanes))

    @staticmethod
    def _layout(piece: Piece) -> loads.Layout:
        """Where one operand of a piece lies: dense."""
        images, rows, cols = piece.tile.size
        depth = piece.channels[1] - piece.channels[0]
        return loads.Layout(depth, cols * depth, rows * cols * depth, images * rows * cols * depth)

    def _operand_load(self, piece: Piece, number: int) -> Load:
        """Both operands of a piece, one after the other."""
        tile, layout = piece.tile, self._layout(piece)
        area = loads.Area(tile.images, tile.rows, tile.cols, piece.channels)

        def emit(address: int) -> None:
            for k, tensor in enumerate((self.source, self.other)):
                to = loads.Destination(isa.Target.OPERAND, address + k * layout.size, layout)
                if k and self.repeated:
                    self._repeat(piece, to.address)
                else:
                    loads.rectangle(self.context, to, loads.View(tensor.name, tensor.shape), area, 0, self.index)

        second = self._repeated_bytes(piece) if self.repeated else layout.size
        room = layout.size + second + self.cfg.lanes  # the last word may reach beyond the last channel
        return Load((self.index, "operand", number), "operand", room, emit, layer_bound=True)

    def _repeated_bytes(self, piece: Piece) -> int:
        """Bytes of the second operand, as often as a job needs it."""
        size = piece.channels[1] - piece.channels[0]
        return min(self._times(size), piece.tile.size[1] * piece.tile.size[2]) * size

    def _repeat(self, piece: Piece, address: int) -> None:
        """The channels of the second operand's pixel, once per pixel of a job."""
        (image, _), (c0, c1), room = piece.tile.images, piece.channels, self._repeated_bytes(piece)
        start, size = image * self.other.shape[3] + c0, c1 - c0
        registers = {
            "source": self.context.source(self.other.name, start), "row": {"bytes": size},
            **levels(loads.ROWS, [(room // size, 0)]),
            "destination": {"address": address, "target": isa.Target.OPERAND},
            "segment": {"bytes": room}, **levels(loads.SEGMENTS, []),
        }  # fmt: skip
        accesses = [
            loads.written(isa.Target.OPERAND, address, room), self.context.dram(self.other.name, start, start + size)
        ]  # fmt: skip
        note = f"{self.other.name} channels {c0}..{c1 - 1}, {room // size} times"
        self.context.builder.add(isa.Unit.LOAD, registers, accesses, layer=self.index, note=note)

    def _run(self, piece: Piece, last: bool, at: list[int]) -> None:
        layout = self._layout(piece)
        if not self.repeated:
            self._pass(piece, at[0], layout.size, at[1], last)
            return
        # A piece has whole rows, or is a part of one: its pixels follow each other, whatever the rows.
        _, rows, cols = piece.tile.size
        first, count = piece.tile.rows[0] * self.target.shape[2] + piece.tile.cols[0], rows * cols
        step = self._times(layout.col)
        for x in range(0, count, step):
            few = Piece(Tile(piece.tile.images, (0, 1), (first + x, first + min(x + step, count))), piece.channels)
            before = x * layout.col
            self._pass(few, at[0] + before, layout.size - before, at[1], last and x + step >= count)

    def _pass(self, piece: Piece, address: int, apart: int, param_at: int, last: bool) -> None:
        """VECTOR and STORE jobs of pixels from ``address`` on, those of the second operand ``apart`` bytes behind."""
        n, h, w, c = self.target.shape
        (images, rows, cols), layout, lanes = piece.tile.size, self._layout(piece), self.cfg.lanes
        first, end = piece.channels
        loops: Loops = [
            (2, apart), (1, 0), (ceil((end - first) / lanes), lanes), (cols, layout.col), (rows, layout.row),
            (images, layout.image),
        ]  # fmt: skip
        zeros = isa.spread(
            self.cfg, isa.Unit.VECTOR, isa.SUM_REGISTERS, zero_a=self.source.zero, zero_b=self.other.zero
        )
        operand_pass(
            self.context,
            Pass(
                source=self.source.name, address=address, size=apart + layout.size + lanes, loops=loops,
                tile=piece.tile, first=first, count=end - first, output=self.target.name,
                view=(n, 1, h * w, c) if self.repeated else self.target.shape,
                param_at=param_at, reduce=isa.Reduce.PRODUCT,
                requantize={"zero": self.target.zero, "low": self.layer.low, "high": self.layer.high},
                index=self.index, name=self.layer.name, last=last, zeros=zeros,
            ),
        )  # fmt: skip
