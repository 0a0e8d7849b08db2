"""Pooling as steps: it runs on the vector unit alone, whose operand words are reduced over a window."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from math import ceil

import numpy as np
from numpy.typing import NDArray

from dataflows import isa
from dataflows.network import AvgPool, MaxPool
from mapper import loads
from mapper.context import Context, parameters
from mapper.nests import Loops
from mapper.numbers import IDENTITY, significand
from mapper.pieces import Piece, cut
from mapper.pipeline import Load, Step
from mapper.tiles import Tile, window_extent
from mapper.vector_jobs import Pass, operand_pass


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
        self.maximum = isinstance(layer, MaxPool)
        tensors = context.network.tensors
        self.source, self.target = tensors[layer.inputs[0]], tensors[layer.output]
        self.pieces = [
            (piece, divisor) for rectangle, divisor in self._rectangles()
            for piece in cut(context.cfg, layer.name, rectangle, self.source.shape[3], layer.window)
        ]  # fmt: skip
        divisors = sorted({d for _, d in self.pieces})
        self._entries = {d: context.constants.add(self._entry(d)) for d in divisors}

    def _rectangles(self) -> Iterator[tuple[Tile, int]]:
        """Output pixels of one divisor each."""
        images, rows, cols, _ = self.target.shape
        if isinstance(self.layer, MaxPool):
            yield Tile((0, images), (0, rows), (0, cols)), 1
            return
        d = self.layer.divisors
        ys = [0, *(y for y in range(1, rows) if (d[y] != d[y - 1]).any()), rows]
        xs = [0, *(x for x in range(1, cols) if (d[:, x] != d[:, x - 1]).any()), cols]
        for y in pairwise(ys):
            for x in pairwise(xs):
                yield Tile((0, images), y, x), int(d[y[0], x[0]])

    def _entry(self, divisor: int) -> NDArray[np.uint8]:
        """Parameter entry of one divisor; the zero points of all elements of a window are subtracted as a bias."""
        multiplier, shift, bias = *IDENTITY, 0
        if not self.maximum:
            scale = np.float32(self.source.scale) / (np.float32(divisor) * np.float32(self.target.scale))
            multiplier, shift = significand(scale, self.layer.name)
            bias = -self.layer.window.kernel[0] * self.layer.window.kernel[1] * self.source.zero
        lanes = np.ones(self.context.cfg.lanes, np.int64)
        return parameters(self.context.cfg, lanes * bias, lanes * multiplier, lanes * shift)

    def steps(self) -> Iterator[Step]:
        """One step per piece."""
        for number, (piece, divisor) in enumerate(self.pieces):
            needed = (self._operand_load(piece, number), self._parameter_load(divisor, number))
            yield Step(self.index, needed, partial(self._run, piece, number == len(self.pieces) - 1))

    def _layout(self, piece: Piece) -> loads.Layout:
        """Where the operands of a piece lie: dense, padding included."""
        images, rows, cols = piece.tile.size
        height, width = window_extent(self.layer.window, rows, cols)
        depth = (piece.channels[1] - piece.channels[0]) * self.context.cfg.act_bytes
        return loads.Layout(depth, width * depth, height * width * depth, images * height * width * depth)

    def _parameter_load(self, divisor: int, number: int) -> Load:
        """The entry of a divisor, loaded once if all of them fit."""
        stays = len(self._entries) <= self.context.cfg.param_entries
        key = (self.index, "param", divisor, 0 if stays else number)
        return loads.parameter_load(self.context, key, self._entries[divisor], 1, self.index)

    def _operand_load(self, piece: Piece, number: int) -> Load:
        """Everything under a piece's windows."""
        window, tile, layout = self.layer.window, piece.tile, self._layout(piece)
        _, rows, cols = tile.size
        height, width = window_extent(window, rows, cols)
        top = tile.rows[0] * window.stride[0] - window.padding[0]
        left = tile.cols[0] * window.stride[1] - window.padding[1]
        area = loads.Area(tile.images, (top, top + height), (left, left + width), piece.channels)
        padding = self.source.lowest if self.maximum else self.source.zero

        def emit(address: int) -> None:
            to = loads.Destination(isa.Target.OPERAND, address, layout)
            view = loads.View(self.source.name, self.source.shape)
            loads.rectangle(self.context, to, view, area, padding, self.index)

        size = layout.size + self.context.cfg.vector_word_bytes  # the last word may reach beyond the last channel
        return Load((self.index, "operand", number), "operand", size, emit, layer_bound=True)

    def _run(self, piece: Piece, last: bool, at: list[int]) -> None:
        """VECTOR and STORE jobs of a piece, given where operands and parameters are."""
        layer, window, layout, lanes = self.layer, self.layer.window, self._layout(piece), self.context.cfg.lanes
        images, rows, cols = piece.tile.size
        first, end = piece.channels
        loops: Loops = [
            (window.kernel[1], window.dilation[1] * layout.col),
            (window.kernel[0], window.dilation[0] * layout.row),
            (ceil((end - first) / lanes), self.context.cfg.vector_word_bytes),
            (cols, window.stride[1] * layout.col),
            (rows, window.stride[0] * layout.row),
            (images, layout.image),
        ]
        operand_pass(
            self.context,
            Pass(
                address=at[0], size=layout.size, loops=loops, tile=piece.tile, first=first, count=end - first,
                output=self.target.name, view=self.target.shape, param_at=at[1],
                reduce=isa.Reduce.MAX if self.maximum else isa.Reduce.SUM,
                requantize={"zero": 0 if self.maximum else self.target.zero, "low": layer.low, "high": layer.high},
                index=self.index, name=layer.name, last=last,
            ),
        )  # fmt: skip
