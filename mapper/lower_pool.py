"""Pooling as steps: it runs on the vector unit alone, whose operand words are reduced over a window."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from dataflows import isa
from dataflows.formats import pitch
from dataflows.network import AvgPool, MaxPool
from mapper import loads, packed
from mapper.context import Context
from mapper.pieces import Piece, channel_parts, cut
from mapper.pipeline import Load, Step
from mapper.pooling import Pooling
from mapper.tiles import window_extent


class PoolLowering:
    """Steps of a pooling layer, one vector job per piece; average windows of different divisors are different pieces.

    Parameters
    ----------
    layer : MaxPool or AvgPool
        The layer.
    index : int
        Number under which its jobs are marked.

    Raises
    ------
    InputError
        When not even one output pixel fits the operand buffer.
    """

    def __init__(self, context: Context, layer: MaxPool | AvgPool, index: int):
        self.context, self.layer, self.index = context, layer, index
        self.pooling = Pooling(context, layer, index)
        self.source = self.pooling.source
        self.pieces = [
            (piece, divisor) for rectangle, divisor in self.pooling.rectangles()
            for part in channel_parts(context.cfg, context.network, layer.output)
            for piece in cut(
                context.cfg, layer.name, rectangle, len(part), layer.window, partial(pitch, bits=self.source.bits),
                self._word, first=part.start,
            )
        ]  # fmt: skip

    @property
    def _word(self) -> int:
        """Bytes of an operand word."""
        return packed.word_bytes(self.context.cfg, self.source)

    def steps(self) -> Iterator[Step]:
        """One step per piece."""
        for number, (piece, divisor) in enumerate(self.pieces):
            parameters = self.pooling.parameter_load(divisor, 0 if self.pooling.stays else number)
            needed = (self._operand_load(piece, number), parameters)
            yield Step(self.index, needed, partial(self._run, piece, number == len(self.pieces) - 1))

    def _layout(self, piece: Piece) -> loads.Layout:
        """Where the operands of a piece lie: dense, padding included."""
        images, rows, cols = piece.tile.size
        height, width = window_extent(self.layer.window, rows, cols)
        first, end = piece.channels
        _, depth = packed.span(self.source, first, end - first)
        return loads.Layout(depth, width * depth, height * width * depth, images * height * width * depth)

    def _operand_load(self, piece: Piece, number: int) -> Load:
        """Everything under a piece's windows."""
        window, tile, layout = self.layer.window, piece.tile, self._layout(piece)
        _, rows, cols = tile.size
        height, width = window_extent(window, rows, cols)
        top = tile.rows[0] * window.stride[0] - window.padding[0]
        left = tile.cols[0] * window.stride[1] - window.padding[1]
        area = loads.Area(tile.images, (top, top + height), (left, left + width), piece.channels)

        def emit(address: int) -> None:
            to = loads.Destination(isa.Target.OPERAND, address, layout)
            view = loads.View(self.source.name, self.source.shape)
            loads.rectangle(self.context, to, view, area, self.pooling.padding, self.index)

        size = layout.size + self._word  # the last word may reach beyond the last channel
        return Load((self.index, "operand", number), "operand", size, emit, layer_bound=True)

    def _run(self, piece: Piece, last: bool, at: list[int]) -> None:
        """VECTOR and STORE jobs of a piece, given where operands and parameters are."""
        self.pooling.job(piece.tile, piece.channels, at[0], self._layout(piece), at[1], last)
