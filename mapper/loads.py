"""LOAD jobs: a rectangle of an NHWC tensor into a memory, padding made on chip; and plain blocks of constants."""

from __future__ import annotations

from dataclasses import dataclass

from dataflows import isa
from mapper.context import Context
from mapper.nests import levels
from mapper.scoreboard import Access

ROWS = ("row_a", "row_b", "row_c")
SEGMENTS = ("segment_a", "segment_b", "segment_c")
Loops = list[tuple[int, int]]


@dataclass(frozen=True)
class Area:
    """Input rows and columns of a tile, possibly reaching beyond the image (padding); channels [first, first+count)."""

    images: tuple[int, int]
    rows: tuple[int, int]
    cols: tuple[int, int]
    channels: tuple[int, int]


@dataclass(frozen=True)
class View:
    """A tensor in DRAM under a shape of the same bytes (1x1 layers see one long row)."""

    tensor: str
    shape: tuple[int, int, int, int]


@dataclass(frozen=True)
class Layout:
    """Bytes between neighbouring columns, rows and images on chip, and in all."""

    col: int
    row: int
    image: int
    size: int


def _job(
    context: Context, memory: str, address: int, size: int, registers: dict[str, dict[str, int]],
    accesses: list[Access], layer: int, note: str,
) -> None:  # fmt: skip
    accesses = [Access(memory, address, address + size, write=True), *accesses]
    context.builder.add(isa.Unit.LOAD, registers, accesses, layer=layer, note=note)


def constant(context: Context, memory: str, target: isa.Target, address: int, offset: int, size: int, layer: int, note: str) -> None:
    """Load ``size`` contiguous bytes of the constant region."""
    registers = {
        "source": {"address": offset, "region": isa.Region.CONSTANT},
        "row": {"bytes": size},
        **levels(ROWS, []),
        "destination": {"address": address, "target": target},
        "segment": {"bytes": size},
        **levels(SEGMENTS, []),
    }
    _job(context, memory, address, size, registers, [], layer, note)


def fill(
    context: Context, memory: str, target: isa.Target, address: int, segment: int, loops: Loops, value: int,
    span: tuple[int, int], layer: int,
) -> None:  # fmt: skip
    """Write ``value`` to segments of ``segment`` bytes at a nest; ``span`` is the memory interval they lie in."""
    if segment <= 0 or any(count <= 0 for count, _ in loops):
        return
    registers = {
        **levels(ROWS, []),
        "destination": {"address": address, "target": target, "fill": 1, "fill_value": value & 0xFF},
        "segment": {"bytes": segment},
        **levels(SEGMENTS, loops),
    }
    _job(context, memory, span[0], span[1] - span[0], registers, [], layer, "padding")


def rectangle(
    context: Context, memory: str, target: isa.Target, address: int, view: View, area: Area, layout: Layout,
    padding: int, layer: int, row_stride: int = 1, shift: int = 0,
) -> None:  # fmt: skip
    """Load an area of a tensor; what lies outside the image is filled with ``padding``.

    ``row_stride`` takes every n-th image row (rows of the area count in taken rows); ``shift`` moves
    everything by that many bytes inside the tile at ``address``.
    """
    tensor, (_, height, width, channels) = view.tensor, view.shape
    (i0, i1), (c0, c1) = area.images, area.channels
    depth, images = c1 - c0, i1 - i0
    rows, cols = area.rows[1] - area.rows[0], area.cols[1] - area.cols[0]
    first, step = area.rows[0], row_stride
    top = min(rows, -(first // step)) if first < 0 else 0  # rows above the image
    inside = max(0, min(rows, (height - 1 - first) // step + 1) - top)
    left = min(cols, max(0, -area.cols[0]))
    across = max(0, min(area.cols[1], width) - max(area.cols[0], 0))
    span = (address, address + layout.size)
    dense = layout.col == depth

    def pad(row: int, count: int, col: int, number: int) -> None:
        """Fill ``count`` rows from ``row`` and ``number`` columns from ``col``, in all images."""
        start = address + shift + row * layout.row + col * layout.col
        if dense and number == cols and layout.row == cols * depth:
            fill(context, memory, target, start, count * layout.row, [(images, layout.image)], padding, span, layer)
        elif dense:
            loops = [(count, layout.row), (images, layout.image)]
            fill(context, memory, target, start, number * depth, loops, padding, span, layer)
        else:
            loops = [(number, layout.col), (count, layout.row), (images, layout.image)]
            fill(context, memory, target, start, depth, loops, padding, span, layer)

    pad(0, top, 0, cols)
    pad(top + inside, rows - top - inside, 0, cols)
    if inside:
        pad(top, inside, 0, left)
        pad(top, inside, left + across, cols - left - across)
    if not (inside and across):
        return
    y0, x0 = first + top * step, area.cols[0] + left
    line, image = width * channels, height * width * channels
    offset = i0 * image + y0 * line + x0 * channels + c0
    whole = depth == channels  # a run of pixels is contiguous in DRAM
    source: Loops = [(inside, step * line), (images, image)]
    run = across * channels
    if not whole:
        source, run = [(across, channels), *source], depth
    elif across == width and step == 1:  # rows follow each other, perhaps images too
        source, run = [(images, image)], inside * line
        if inside == height:
            source, run = [], images * image
    segment, loops = depth, [(across, layout.col), (inside, layout.row), (images, layout.image)]
    if dense:
        segment, loops = across * depth, loops[1:]
        if across == cols and layout.row == segment:
            segment, loops = inside * segment, loops[1:]
            if images > 1 and layout.image == segment:
                segment, loops = images * segment, []
    registers = {
        "source": context.source(tensor, offset),
        "row": {"bytes": run},
        **levels(ROWS, source),
        "destination": {"address": address + shift + top * layout.row + left * layout.col, "target": target},
        "segment": {"bytes": segment},
        **levels(SEGMENTS, loops),
    }
    end = offset + (images - 1) * image + (inside - 1) * step * line + (across - 1) * channels + depth
    note = f"{tensor} rows {y0}..{y0 + (inside - 1) * step} columns {x0}..{x0 + across - 1} channels {c0}..{c1 - 1}"
    _job(context, memory, address, layout.size, registers, [context.dram(tensor, offset, end)], layer, note)
