"""Products of two tensors as steps: on the vector unit, an operand word of each per word of the result.

Both operands of a word lie at one distance of each other. So what counts for all pixels is brought on chip as often as
a row of pixels is long, and every row of the result is a job.
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
        pieces = list(cut(self.cfg, self.layer.name, whole, channels, Window(), lambda n: 2 * n, self.cfg.lanes))
        for number, piece in enumerate(pieces):
            key = self.index, "param"
            needed = (
                self._operand_load(piece, number),
                loads.parameter_load(self.context, key, self._entry, 1, self.index),
            )
            yield Step(self.index, needed, partial(self._run, piece, number == len(pieces) - 1))

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

        room = 2 * layout.size + self.cfg.lanes  # the last word may reach beyond the last channel
        return Load((self.index, "operand", number), "operand", room, emit, layer_bound=True)

    def _repeat(self, piece: Piece, address: int) -> None:
        """The channels of the second operand's pixel, once per column."""
        (image, _), (c0, c1), layout = piece.tile.images, piece.channels, self._layout(piece)
        start, size, columns = image * self.other.shape[3] + c0, c1 - c0, piece.tile.size[2]
        registers = {
            "source": self.context.source(self.other.name, start), "row": {"bytes": size},
            **levels(loads.ROWS, [(columns, 0)]), "destination": {"address": address, "target": isa.Target.OPERAND},
            "segment": {"bytes": layout.row}, **levels(loads.SEGMENTS, []),
        }  # fmt: skip
        accesses = [
            loads.written(isa.Target.OPERAND, address, layout.row),
            self.context.dram(self.other.name, start, start + size),
        ]
        note = f"{self.other.name} channels {c0}..{c1 - 1}, {columns} times"
        self.context.builder.add(isa.Unit.LOAD, registers, accesses, layer=self.index, note=note)

    def _run(self, piece: Piece, last: bool, at: list[int]) -> None:
        layout = self._layout(piece)
        if not self.repeated:
            self._pass(piece, at[0], layout.size, at[1], last)
            return
        (y0, y1) = piece.tile.rows
        for y in range(y0, y1):
            line = Piece(Tile(piece.tile.images, (y, y + 1), piece.tile.cols), piece.channels)
            down = (y - y0) * layout.row
            self._pass(line, at[0] + down, layout.size - down, at[1], last and y == y1 - 1)

    def _pass(self, piece: Piece, address: int, apart: int, param_at: int, last: bool) -> None:
        """VECTOR and STORE jobs of pixels from ``address`` on, those of the second operand ``apart`` bytes behind."""
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
                tile=piece.tile, first=first, count=end - first, output=self.target.name, view=self.target.shape,
                param_at=param_at, reduce=isa.Reduce.PRODUCT,
                requantize={"zero": self.target.zero, "low": self.layer.low, "high": self.layer.high},
                index=self.index, name=self.layer.name, last=last, zeros=zeros,
            ),
        )  # fmt: skip
