"""Layers that run on the vector unit alone: pooling, addition, concatenation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from dataflows import isa
from dataflows.errors import InputError
from dataflows.network import Add, AvgPool, Concat, MaxPool, Window
from mapper import loads
from mapper.context import Context, parameters
from mapper.conv_plan import Tile
from mapper.numbers import common, significand
from mapper.pipeline import Load, Step
from mapper.vector_jobs import Pass, addend_registers, operand_pass

IDENTITY = (1 << 23, 23)
"""Multiplier and shift that change nothing."""


@dataclass(frozen=True)
class Piece:
    """Part of a layer's output computed in one job."""

    tile: Tile
    channels: tuple[int, int]


def _extent(window: Window, rows: int, cols: int) -> tuple[int, int]:
    return (
        (rows - 1) * window.stride[0] + window.dilation[0] * (window.kernel[0] - 1) + 1,
        (cols - 1) * window.stride[1] + window.dilation[1] * (window.kernel[1] - 1) + 1,
    )


def _cut(context: Context, name: str, rectangle: Tile, channels: int, window: Window, copies: int) -> Iterator[Piece]:
    """Pieces of a rectangle of output pixels whose operands fit half of the operand buffer (or all of it)."""
    memory, lanes = context.cfg.memory.operand_bytes, context.cfg.lanes
    _, rows, cols = rectangle.size

    def need(ny: int, nx: int, nc: int) -> int:
        height, width = _extent(window, ny, nx)
        return height * width * nc * copies + lanes  # a word may reach beyond the last channel

    slices = [channels, *(-(-channels // k // lanes) * lanes for k in (2, 4, 8, 16, 32, 64, 128) if channels > lanes), lanes]
    shapes = [
        *((ny, cols, channels) for ny in sorted({-(-rows // k) for k in range(1, rows + 1)}, reverse=True)),
        *((1, -(-cols // k), channels) for k in (2, 4, 8)),
        *((ny, nx, min(nc, channels)) for nc in slices for ny, nx in ((rows, cols), (1, cols), (1, -(-cols // 4)), (1, 1)) if nc > 0),
    ]  # fmt: skip
    fitting = [s for s in shapes if 2 * need(*s) <= memory] or [s for s in shapes if need(*s) <= memory]
    if not fitting:
        least = need(1, 1, min(lanes, channels))
        raise InputError(
            f"layer {name}: its smallest tile needs {least} bytes of the operand buffer, which has {memory}; "
            f"raise memory.operand_bytes in configuration {context.cfg.name!r} to at least {least}"
        )
    ny, nx, nc = fitting[0]
    (y0, y1), (x0, x1) = rectangle.rows, rectangle.cols
    for image in range(*rectangle.images):
        for y in range(y0, y1, ny):
            for x in range(x0, x1, nx):
                for c in range(0, channels, nc):
                    tile = Tile((image, image + 1), (y, min(y + ny, y1)), (x, min(x + nx, x1)))
                    yield Piece(tile, (c, min(c + nc, channels)))


class PoolLowering:
    """Steps of a pooling layer: one vector job per piece; average windows of different divisors are different pieces."""

    def __init__(self, context: Context, layer: MaxPool | AvgPool, index: int):
        self.context, self.layer, self.index = context, layer, index
        tensors = context.network.tensors
        self.source, self.target = tensors[layer.inputs[0]], tensors[layer.output]
        self.pieces = [
            (piece, divisor) for rectangle, divisor in self._rectangles()
            for piece in _cut(context, layer.name, rectangle, self.source.shape[3], layer.window, 1)
        ]  # fmt: skip
        divisors = sorted({d for _, d in self.pieces})
        self._entries = {d: context.constants.add(self._entry(d)) for d in divisors}

    def _rectangles(self) -> Iterator[tuple[Tile, int]]:
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

    def _entry(self, divisor: int) -> np.ndarray:
        lanes = np.ones(self.context.cfg.lanes, np.int64)
        if isinstance(self.layer, MaxPool):
            multiplier, shift, bias = *IDENTITY, 0
        else:
            scale = np.float32(self.source.scale) / (np.float32(divisor) * np.float32(self.target.scale))
            multiplier, shift = significand(scale, self.layer.name)
            bias = -self.layer.window.kernel[0] * self.layer.window.kernel[1] * self.source.zero
        return parameters(self.context.cfg, lanes * bias, lanes * multiplier, lanes * shift)

    def steps(self) -> Iterator[Step]:
        """One step per piece."""
        for number, (piece, divisor) in enumerate(self.pieces):
            yield self._step(piece, divisor, number, last=number == len(self.pieces) - 1)

    def _step(self, piece: Piece, divisor: int, number: int, *, last: bool) -> Step:
        context, layer, window, index = self.context, self.layer, self.layer.window, self.index
        cfg, tile, (c0, c1) = context.cfg, piece.tile, piece.channels
        images, rows, cols = tile.size
        height, width = _extent(window, rows, cols)
        depth = c1 - c0
        top = tile.rows[0] * window.stride[0] - window.padding[0]
        left = tile.cols[0] * window.stride[1] - window.padding[1]
        size = images * height * width * depth
        layout = loads.Layout(depth, width * depth, height * width * depth, size)
        area = loads.Area(tile.images, (top, top + height), (left, left + width), (c0, c1))
        view = loads.View(self.source.name, self.source.shape)
        maximum = isinstance(layer, MaxPool)
        padding = -128 if maximum else self.source.zero

        def load(address: int) -> None:
            loads.rectangle(context, "operand", isa.Target.OPERAND, address, view, area, layout, padding, index)

        def emit(at: list[int]) -> None:
            col, row = depth, width * depth
            loops = [
                (window.kernel[1], window.dilation[1] * col), (window.kernel[0], window.dilation[0] * row),
                (-(-depth // cfg.lanes), cfg.lanes), (cols, window.stride[1] * col), (rows, window.stride[0] * row),
                (images, height * row),
            ]  # fmt: skip
            zero = 0 if maximum else self.target.zero
            operand_pass(
                context,
                Pass(
                    at[0], size, loops, tile, c0, depth, self.target.name, self.target.shape, at[1],
                    isa.Reduce.MAX if maximum else isa.Reduce.SUM,
                    {"zero": zero, "low": layer.low, "high": layer.high}, index, layer.name, last,
                ),
            )  # fmt: skip

        return Step(
            index,
            (
                Load((index, "operand", number), "operand", size + cfg.lanes, load, layer_bound=True),
                entry_load(context, self._entries[divisor], (index, "param", divisor), index),
            ),
            emit,
        )


def entry_load(context: Context, offset: int, key: tuple[object, ...], index: int) -> Load:
    """Load of a single parameter entry."""
    size = context.cfg.param_entry_bytes

    def load(address: int) -> None:
        loads.constant(context, "param", isa.Target.PARAM, address, offset, size, index, "parameters")

    return Load(key, "param", size, load)


class ElementwiseLowering:
    """Steps of an addition (two operands, one job per piece) or a concatenation (one operand per job)."""

    def __init__(self, context: Context, layer: Add | Concat, index: int):
        self.context, self.layer, self.index = context, layer, index
        tensors = context.network.tensors
        self.target = tensors[layer.output]
        self.sources = [tensors[name] for name in layer.inputs]
        lanes = np.ones(context.cfg.lanes, np.int64)
        if isinstance(layer, Add):
            multipliers, shift = [IDENTITY[0]], IDENTITY[1]
            biases = [0]
        else:
            multipliers, shift = common([np.float32(t.scale) / np.float32(self.target.scale) for t in self.sources], layer.name)
            biases = [-t.zero for t in self.sources]
        self._entries = [
            context.constants.add(parameters(context.cfg, lanes * bias, lanes * multiplier, lanes * shift))
            for bias, multiplier in zip(biases, multipliers, strict=True)
        ]

    def steps(self) -> Iterator[Step]:
        """One step per piece of every job."""
        images, rows, cols, _ = self.target.shape
        whole = Tile((0, images), (0, rows), (0, cols))
        jobs = []
        offset = 0
        parts = self.sources[:1] if isinstance(self.layer, Add) else self.sources
        for i, source in enumerate(parts):
            channels = source.shape[3]
            copies = 2 if isinstance(self.layer, Add) else 1
            jobs += [(i, offset, piece) for piece in _cut(self.context, self.layer.name, whole, channels, Window(), copies)]
            offset += channels
        for number, (i, first, piece) in enumerate(jobs):
            yield self._step(i, first, piece, number, last=number == len(jobs) - 1)

    def _step(self, i: int, offset: int, piece: Piece, number: int, *, last: bool) -> Step:
        context, layer, index = self.context, self.layer, self.index
        cfg, tile, (c0, c1) = context.cfg, piece.tile, piece.channels
        images, rows, cols = tile.size
        depth = c1 - c0
        size = images * rows * cols * depth
        layout = loads.Layout(depth, cols * depth, rows * cols * depth, size)
        area = loads.Area(tile.images, tile.rows, tile.cols, (c0, c1))
        operands = self.sources if isinstance(layer, Add) else [self.sources[i]]

        def load(address: int) -> None:
            for k, source in enumerate(operands):
                view = loads.View(source.name, source.shape)
                loads.rectangle(context, "operand", isa.Target.OPERAND, address + k * size, view, area, layout, 0, index)

        def emit(at: list[int]) -> None:
            loops = [
                (len(operands), size), (1, 0), (-(-depth // cfg.lanes), cfg.lanes),
                (cols, depth), (rows, cols * depth), (images, rows * cols * depth),
            ]  # fmt: skip
            if isinstance(layer, Add):
                requantize = {"zero": 0, "low": -128, "high": 127}
                addition = addend_registers(context, layer, layer.inputs[0])
            else:
                requantize = {"zero": self.target.zero, "low": layer.low, "high": layer.high}
                addition = None
            operand_pass(
                context,
                Pass(
                    at[0], size * len(operands), loops, tile, offset + c0, depth, self.target.name, self.target.shape,
                    at[1], isa.Reduce.NONE, requantize, index, layer.name, last, addition,
                ),
            )  # fmt: skip

        return Step(
            index,
            (
                Load((index, "operand", number), "operand", size * len(operands) + cfg.lanes, load, layer_bound=True),
                entry_load(context, self._entries[i], (index, "param", i), index),
            ),
            emit,
        )
