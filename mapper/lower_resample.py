"""Layers that move pixels: some of their channels, each pixel several times, or spread apart.

The vector unit passes codes from the operand buffer to DRAM. Pixels are repeated by its loops, so they are read from
DRAM once; they are spread by the segments of LOAD jobs over zero points that others have written.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import ceil

from dataflows import isa
from dataflows.network import Window
from dataflows.operators import ChannelSlice, Spread, Upsample
from mapper import loads
from mapper.lower_copy import Passing
from mapper.nests import Loops
from mapper.pieces import Piece, cut
from mapper.pipeline import Load, Step
from mapper.tiles import Tile
from mapper.vector_jobs import Pass, operand_pass


class MoveLowering(Passing[ChannelSlice | Upsample | Spread]):
    """Steps of such a layer: pieces are pixels of its input, and channels of its result."""

    @property
    def _factor(self) -> tuple[int, int]:
        """Rows and columns of the result that each of the input's becomes."""
        match self.layer:
            case Upsample(factor=factor) | Spread(stride=factor):
                return factor
        return 1, 1

    @property
    def _word(self) -> int:
        """Bytes of a word of the vector unit."""
        return self.cfg.vector_word_bytes

    def _depth(self, piece: Piece) -> int:
        """Bytes of a pixel."""
        return (piece.channels[1] - piece.channels[0]) * self.cfg.act_bytes

    @property
    def _apart(self) -> tuple[int, int]:
        """Rows and columns from pixel to pixel in the operand buffer."""
        return self._factor if isinstance(self.layer, Spread) else (1, 1)

    def steps(self) -> Iterator[Step]:
        """One step per piece."""
        images, rows, cols, _ = self.source.shape
        whole, grows = Tile((0, images), (0, rows), (0, cols)), self._apart[0] * self._apart[1]
        pieces = list(
            cut(
                self.cfg, self.layer.name, whole, self.target.shape[3], Window(),
                lambda n: n * grows * self.cfg.act_bytes, self._word,
            )
        )
        for number, piece in enumerate(pieces):
            needed = self._operand_load(piece, number), self.identity()
            yield Step(self.index, needed, partial(self._run, piece, number == len(pieces) - 1))

    def _layout(self, piece: Piece) -> loads.Layout:
        """Where pixels lie; those that are spread have their gaps behind them."""
        images, rows, cols = piece.tile.size
        depth = self._depth(piece)
        down, across = self._apart
        line = cols * across * depth
        return loads.Layout(across * depth, down * line, rows * down * line, images * rows * down * line)

    def _operand_load(self, piece: Piece, number: int) -> Load:
        tile, layout, (c0, c1) = piece.tile, self._layout(piece), piece.channels
        first = self.layer.start if isinstance(self.layer, ChannelSlice) else 0
        area = loads.Area(tile.images, tile.rows, tile.cols, (first + c0, first + c1))

        def emit(address: int) -> None:
            to = loads.Destination(isa.Target.OPERAND, address, layout)
            if isinstance(self.layer, Spread):
                registers = loads.fill(
                    self.context, self.source, self.source.zero, to.target, address, layout.size, []
                )
                self.context.builder.add(isa.Unit.LOAD, registers, [to.access], layer=self.index, note="zeros between")
            loads.rectangle(self.context, to, loads.View(self.source.name, self.source.shape), area, 0, self.index)

        return Load((self.index, "operand", number), "operand", layout.size + self._word, emit, layer_bound=True)

    def _run(self, piece: Piece, last: bool, at: list[int]) -> None:
        if not isinstance(self.layer, Upsample):
            self._pass(piece, self._covers(piece), at, at[0], self._loops(piece), last)
            return
        (y0, y1), row = piece.tile.rows, self._layout(piece).row
        for y in range(y0, y1):
            line = Piece(Tile(piece.tile.images, (y, y + 1), piece.tile.cols), piece.channels)
            address = at[0] + (y - y0) * row
            self._pass(line, self._covers(line), at, address, self._repeats(line), last and y == y1 - 1)

    def _covers(self, piece: Piece) -> Tile:
        """Pixels of the result that a piece becomes."""
        (down, across), (_, height, width, _) = self._factor, self.target.shape
        (y0, y1), (x0, x1) = piece.tile.rows, piece.tile.cols
        return Tile(
            piece.tile.images, (y0 * down, min(y1 * down, height)), (x0 * across, min(x1 * across, width))
        )

    def _loops(self, piece: Piece) -> Loops:
        """Loops over a piece as it lies."""
        layout, (down, across) = self._layout(piece), self._apart
        images, rows, cols = self._covers(piece).size
        return [
            (1, 0), (1, 0), (ceil(self._depth(piece) / self._word), self._word), (cols, layout.col // across),
            (rows, layout.row // down), (images, layout.image),
        ]  # fmt: skip

    def _repeats(self, piece: Piece) -> Loops:
        """Loops over a row of pixels, each of them and the row itself several times."""
        (down, across), (_, _, cols), depth = self._factor, piece.tile.size, self._depth(piece)
        return [(1, 0), (1, 0), (ceil(depth / self._word), self._word), (across, 0), (cols, depth), (down, 0)]

    def _pass(self, piece: Piece, tile: Tile, at: list[int], address: int, loops: Loops, last: bool) -> None:
        """VECTOR and STORE jobs of operands from ``address`` on, which become ``tile`` of the result."""
        first, end = piece.channels
        operand_pass(
            self.context,
            Pass(
                source=self.target.name, address=address, size=self._layout(piece).size + self._word, loops=loops,
                tile=tile, first=first, count=end - first, output=self.target.name, view=self.target.shape,
                param_at=at[1], reduce=isa.Reduce.NONE,
                requantize={"zero": 0, "low": self.layer.low, "high": self.layer.high}, index=self.index,
                name=self.layer.name, last=last,
            ),
        )  # fmt: skip
