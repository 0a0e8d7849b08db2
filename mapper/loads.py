"""LOAD jobs: a rectangle of an NHWC tensor into a memory, padding made on chip; and plain blocks of constants."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from dataflows import isa
from dataflows.formats import pitch
from dataflows.network import Tensor
from mapper import nests, packed
from mapper.block_jobs import Part, Target, blocks_of, load_blocks, note_use
from mapper.context import Context
from mapper.nests import levels
from mapper.pipeline import Load
from mapper.program import Registers
from mapper.scoreboard import Access

ROWS, SEGMENTS = nests.ROWS, nests.SEGMENTS


@dataclass(frozen=True)
class Area:
    """Input rows and columns of a tile, possibly reaching beyond the image (padding); all ranges are half-open."""

    images: tuple[int, int]
    rows: tuple[int, int]
    cols: tuple[int, int]
    channels: tuple[int, int]


@dataclass(frozen=True)
class View:
    """A tensor in DRAM under a shape (NHWC) of the same elements: 1x1 layers see one long row."""

    tensor: str
    shape: tuple[int, int, int, int]


@dataclass(frozen=True)
class Layout:
    """Bytes between neighbouring columns, rows and images on chip, and in all."""

    col: int
    row: int
    image: int
    size: int


@dataclass(frozen=True)
class Destination:
    """A tile on chip: memory, byte address, layout; what is loaded lies ``shift`` bytes further inside of it."""

    target: isa.Target
    address: int
    layout: Layout
    shift: int = 0

    def at(self, row: int, col: int) -> int:
        """Address of a pixel of the first image."""
        return self.address + self.shift + row * self.layout.row + col * self.layout.col

    @property
    def access(self) -> Access:
        """The whole tile, written."""
        return written(self.target, self.address, self.layout.size)


@dataclass(frozen=True)
class _Inside:
    """Part of an area that lies inside the image, in rows and columns of the area."""

    top: int
    rows: int
    left: int
    cols: int

    @staticmethod
    def of(view: View, area: Area, row_stride: int) -> _Inside:
        _, height, width, _ = view.shape
        first, rows = area.rows[0], area.rows[1] - area.rows[0]
        top = min(rows, -(first // row_stride)) if first < 0 else 0
        below = min(rows, (height - 1 - first) // row_stride + 1)
        left = min(area.cols[1] - area.cols[0], max(0, -area.cols[0]))
        across = min(area.cols[1], width) - max(area.cols[0], 0)
        return _Inside(top, max(0, below - top), left, max(0, across))


def written(target: isa.Target, address: int, size: int) -> Access:
    """Write access to bytes of an on-chip memory, which is called as its target in small letters."""
    return Access(target.name.lower(), address, address + size, write=True)


def constant(
    context: Context, target: isa.Target, address: int, offset: int, size: int, layer: int, note: str
) -> None:
    """Load ``size`` contiguous bytes of the constant region."""
    registers: Registers = {
        "source": {"address": offset, "region": isa.Region.CONSTANT},
        "row": {"bytes": size},
        **levels(ROWS, []),
        "destination": {"address": address, "target": target},
        "segment": {"bytes": size},
        **levels(SEGMENTS, []),
    }
    context.builder.add(isa.Unit.LOAD, registers, [written(target, address, size)], layer=layer, note=note)


def parameter_load(
    context: Context, key: Hashable, offset: int, count: int, layer: int, reserve: int = 0
) -> Load:
    """Load of ``count`` parameter entries at ``offset`` of the constant region."""
    size = count * context.cfg.param_entry_bytes

    def emit(address: int) -> None:
        constant(context, isa.Target.PARAM, address, offset, size, layer, "parameters")

    return Load(key, "param", size, emit, reserve=reserve)


def fill(
    context: Context, tensor: Tensor, value: int, target: isa.Target, address: int, size: int, loops: nests.Loops
) -> Registers:
    """Registers of a LOAD job that writes elements ``value`` of a tensor to ``size`` bytes at each place of a nest."""
    return {
        **levels(ROWS, []),
        **isa.spread(
            context.cfg, isa.Unit.LOAD, isa.SEGMENT_REGISTERS,
            address=address, target=target, fill=1, fill_value=packed.filler(tensor, value), bytes=size,
        ),
        **levels(SEGMENTS, loops),
    }  # fmt: skip


def rectangle(
    context: Context, to: Destination, view: View, area: Area, padding: int, layer: int, *, row_stride: int = 1
) -> None:
    """Load an area of a tensor; what lies outside the image is filled with elements ``padding``.

    ``row_stride`` takes every n-th image row; rows of the area count in taken rows, from image row ``area.rows[0]``.
    """
    inside = _Inside.of(view, area, row_stride)
    _pad(context, to, view, area, inside, padding, layer)
    if inside.rows and inside.cols:
        _copy(context, to, view, area, inside, row_stride, layer)


def border(context: Context, to: Destination, view: View, area: Area, padding: int, layer: int) -> None:
    """Fill what of an area lies outside the image, and load nothing."""
    _pad(context, to, view, area, _Inside.of(view, area, 1), padding, layer)


def _pad(
    context: Context, to: Destination, view: View, area: Area, inside: _Inside, padding: int, layer: int
) -> None:
    """Fill jobs for what lies above, below, left and right of the image."""
    rows, cols = area.rows[1] - area.rows[0], area.cols[1] - area.cols[0]
    images = area.images[1] - area.images[0]
    tensor, (first, end) = context.network.tensors[view.tensor], area.channels
    _, depth = packed.span(tensor, first, end - first)
    layout = to.layout
    dense = layout.col == depth

    def edge(row: int, count: int, col: int, number: int) -> None:
        """``count`` rows from ``row`` and ``number`` columns from ``col``, in all images."""
        if count <= 0 or number <= 0:
            return
        segment, loops = depth, [(number, layout.col), (count, layout.row), (images, layout.image)]
        if dense:
            segment, loops = number * depth, loops[1:]
            if number == cols and layout.row == segment:
                segment, loops = count * segment, loops[1:]
        registers = fill(context, tensor, padding, to.target, to.at(row, col), segment, loops)
        context.builder.add(isa.Unit.LOAD, registers, [to.access], layer=layer, note="padding")

    edge(0, inside.top, 0, cols)
    edge(inside.top + inside.rows, rows - inside.top - inside.rows, 0, cols)
    edge(inside.top, inside.rows, 0, inside.left)
    edge(inside.top, inside.rows, inside.left + inside.cols, cols - inside.left - inside.cols)


def _copy(
    context: Context, to: Destination, view: View, area: Area, inside: _Inside, row_stride: int, layer: int
) -> None:
    """The job for what lies inside the image, in the longest possible DRAM rows and segments."""
    _, height, width, channels = view.shape
    (i0, i1), (c0, c1) = area.images, area.channels
    tensor = context.network.tensors[view.tensor]
    channels, (c0, depth) = pitch(channels, tensor.bits), packed.span(tensor, c0, c1 - c0)  # in bytes
    images, rows, cols = i1 - i0, inside.rows, inside.cols
    y0, x0 = area.rows[0] + inside.top * row_stride, area.cols[0] + inside.left
    layout = to.layout
    note = (
        f"{view.tensor} rows {y0}..{y0 + (rows - 1) * row_stride} columns {x0}..{x0 + cols - 1} "
        f"channels {area.channels[0]}..{area.channels[1] - 1}"
    )
    last = y0 + (rows - 1) * row_stride
    part = Part(view.tensor, view.shape, area.images, (y0, last + 1), (x0, x0 + cols), area.channels, row_stride)
    note_use(context, part, layer, write=False)
    blocks = blocks_of(context, view.tensor)
    if blocks:
        at = to.at(inside.top, inside.left)
        target = Target(to.target, at, layout.col, layout.row, layout.image, to.access)
        load_blocks(context, target, part, blocks, layer, note)
        return
    line, image = width * channels, height * width * channels

    run, source = depth, [(cols, channels), (rows, row_stride * line), (images, image)]
    if depth == channels:  # neighbouring pixels follow each other, perhaps rows and images too
        run, source = cols * channels, source[1:]
        if cols == width and row_stride == 1:
            run, source = rows * line, source[1:]
            if rows == height:
                run, source = images * image, []

    segment, loops = depth, [(cols, layout.col), (rows, layout.row), (images, layout.image)]
    if layout.col == depth:
        segment, loops = cols * depth, loops[1:]
        if cols == area.cols[1] - area.cols[0] and layout.row == segment:
            segment, loops = rows * segment, loops[1:]
            if images > 1 and layout.image == segment:
                segment, loops = images * segment, []

    offset = i0 * image + y0 * line + x0 * channels + c0
    end = offset + (images - 1) * image + (rows - 1) * row_stride * line + (cols - 1) * channels + depth
    registers: Registers = {
        "source": context.source(view.tensor, offset),
        "row": {"bytes": run},
        **levels(ROWS, source),
        "destination": {"address": to.at(inside.top, inside.left), "target": to.target},
        "segment": {"bytes": segment},
        **levels(SEGMENTS, loops),
    }
    accesses = [to.access, context.dram(view.tensor, offset, end)]
    context.builder.add(isa.Unit.LOAD, registers, accesses, layer=layer, note=note)
