"""LOAD jobs of an input tile for the array over the output plane: pixels in the order in which the array takes them.

Inputs of one step are of one channel, which lie far apart in DRAM (NHWC): elements are written one by one, in runs of
DRAM bytes as long as they can be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from dataflows import isa
from mapper.context import Context
from mapper.loads import ROWS, SEGMENTS, fill, written
from mapper.nests import levels
from mapper.plane_plan import PlanePlan
from mapper.tiles import Tile

LEVELS = 3
"""Loop levels of a LOAD job on either side."""


@dataclass(frozen=True)
class Axis:
    """A loop of a block: iterations, and elements between them in the tensor and on chip."""

    count: int
    source: int
    place: int


@dataclass(frozen=True)
class Block:
    """Elements that one job moves: first element in the tensor and on chip, and loops over both."""

    source: int
    place: int
    axes: tuple[Axis, ...]

    def then(self, other: Block) -> Block | None:
        """Both blocks as one, if the second is a continuation or a repetition of the first one."""
        source, place = other.source - self.source, other.place - self.place
        for i, axis in enumerate(self.axes):  # one axis goes on
            others = self.axes[:i] + self.axes[i + 1 :]
            follows = (source, place) == (axis.count * axis.source, axis.count * axis.place)
            more = 1 if other.axes == others else 0
            if len(other.axes) == len(self.axes) and other.axes == (*others[:i], other.axes[i], *others[i:]):
                same = replace(other.axes[i], count=axis.count) == axis
                more = other.axes[i].count if same else 0
            if follows and more:
                axes = (*self.axes[:i], replace(axis, count=axis.count + more), *self.axes[i + 1 :])
                return replace(self, axes=axes)
        if other.axes == self.axes and len(self.axes) < LEVELS and source > 0:
            return replace(self, axes=tuple(sorted((*self.axes, Axis(2, source, place)), key=lambda a: a.source)))
        return None


def blocks(plan: PlanePlan, tile: Tile, first: int, channels: int) -> list[Block]:
    """All elements of a tile that lie inside the image, ``channels`` deep from ``first``."""
    joined = list(_taps(plan, tile, first, channels))
    before = len(joined) + 1
    while len(joined) < before:
        before, joined = len(joined), _join(joined)
    return joined


def _join(parts: list[Block]) -> list[Block]:
    """Fewer blocks: each that follows an earlier one becomes part of it, of the latest one if it can choose."""
    joined: list[Block] = []
    for block in parts:
        for i in reversed(range(len(joined))):
            together = joined[i].then(block)
            if together:
                joined[i] = together
                break
        else:
            joined.append(block)
    return joined


def _taps(plan: PlanePlan, tile: Tile, first: int, channels: int) -> Iterator[Block]:
    """New inputs of each step."""
    s, order = plan.shape, plan.order
    depth = Axis(channels, 1, order.words * order.elements)
    line = s.width * s.channels
    (sy, sx), (dy, dx) = s.layer.window.stride, s.layer.window.dilation
    (top, below), (left, right), (image, _) = *needed(plan, tile), tile.images
    for ky, row in enumerate(order.places):
        for kx, place in enumerate(row):
            down, across = order.group(ky, kx)
            if plan.folded:  # pixels of a row after the other
                pixels = tile.cols[1] - tile.cols[0]
                axes: tuple[Axis, ...] = (depth, Axis(pixels, s.channels, 1))
                yield Block(tile.cols[0] * s.channels + first, place, tuple(a for a in axes if a.count > 1))
                continue
            y0, x0 = top + dy * ky, left + dx * kx
            ys = [r for r in range(order.rows - down, order.rows) if 0 <= y0 + sy * r < min(below, s.height)]
            xs = [c for c in range(order.cols - across, order.cols) if 0 <= x0 + sx * c < min(right, s.width)]
            if not ys or not xs:
                continue
            y, x = y0 + sy * ys[0], x0 + sx * xs[0]
            at = place + (ys[0] - order.rows + down) * across + xs[0] - order.cols + across
            axes = (depth, Axis(len(xs), sx * s.channels, 1), Axis(len(ys), sy * line, across))
            source = image * s.height * line + y * line + x * s.channels + first
            yield Block(source, at, tuple(a for a in axes if a.count > 1))


def needed(plan: PlanePlan, tile: Tile) -> tuple[tuple[int, int], tuple[int, int]]:
    """Input rows and columns that a tile's pixels depend on, half-open, padding included."""
    window, (_, rows, cols) = plan.shape.layer.window, tile.size
    height, width = plan.shape.extent(rows, cols)
    top = tile.rows[0] * window.stride[0] - window.padding[0]
    left = tile.cols[0] * window.stride[1] - window.padding[1]
    return (top, top + height), (left, left + width)


def load_tile(
    context: Context, plan: PlanePlan, tile: Tile, first: int, channels: int, address: int, layer: int
) -> None:
    """LOAD jobs of ``channels`` channels from ``first`` of a tile; padding first, the image over it."""
    s, element = plan.shape, context.cfg.act_bytes
    size = channels * plan.channel_bytes
    target = written(isa.Target.INPUT, address, size)
    source, shape = s.layer.inputs[0], s.source_view
    (top, below), (left, right) = needed(plan, tile)
    if top < 0 or left < 0 or below > shape[1] or right > shape[2]:
        tensor = context.network.tensors[source]
        registers = fill(context, tensor, tensor.zero, isa.Target.INPUT, address, size, [])
        context.builder.add(isa.Unit.LOAD, registers, [target], layer=layer, note="padding")
    note = f"{source} rows {top}..{below - 1} columns {left}..{right - 1} channels {first}..{first + channels - 1}"
    for block in blocks(plan, tile, first, channels):
        run, rows = _runs([(a.count, a.source) for a in block.axes])
        segment, places = _runs([(a.count, a.place) for a in block.axes])
        end = block.source + sum((a.count - 1) * a.source for a in block.axes) + 1
        registers = {
            "source": context.source(source, block.source * element),
            "row": {"bytes": run * element},
            **levels(ROWS, [(n, stride * element) for n, stride in rows]),
            "destination": {"address": address + block.place * element, "target": isa.Target.INPUT},
            "segment": {"bytes": segment * element},
            **levels(SEGMENTS, [(n, stride * element) for n, stride in places]),
        }  # fmt: skip
        accesses = [target, context.dram(source, block.source * element, end * element)]
        context.builder.add(isa.Unit.LOAD, registers, accesses, layer=layer, note=note)


def _runs(loops: list[tuple[int, int]]) -> tuple[int, list[tuple[int, int]]]:
    """Elements that lie side by side, and the loops around them."""
    run = 1
    while loops and loops[0][1] == run:
        run *= loops[0][0]
        loops = loops[1:]
    return run, loops
