"""LOAD jobs of an input tile in strips (:mod:`mapper.strips`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dataflows import isa
from dataflows.network import Tensor, Window
from mapper.context import Context
from mapper.loads import ROWS, SEGMENTS, View, fill, written
from mapper.nests import Loops, levels
from mapper.strips import Strips
from mapper.tiles import Tile


@dataclass(frozen=True)
class StripLoad:
    """A tile to be loaded: output pixels, strips, and the byte address of the first one.

    ``pixel`` are the bytes of a pixel, ``height`` the input rows of a strip.
    """

    tensor: Tensor
    view: View
    window: Window
    tile: Tile
    strips: Strips
    address: int
    pixel: int
    height: int
    layer: int

    @property
    def count(self) -> int:
        """Strips side by side."""
        return self.tile.size[2] // self.strips.outputs

    @property
    def row_bytes(self) -> int:
        """Of a row of a strip."""
        return self.strips.columns * self.pixel

    @property
    def strip_bytes(self) -> int:
        """Of a strip."""
        return self.height * self.row_bytes

    @property
    def image_bytes(self) -> int:
        """Of the strips of an image."""
        return self.count * self.strip_bytes

    @property
    def top(self) -> int:
        """Image row of the first row."""
        return self.tile.rows[0] * self.window.stride[0] - self.window.padding[0]

    def left(self, strip: int) -> int:
        """Image column of a strip's first column."""
        stride = self.window.stride[1]
        return (self.tile.cols[0] + strip * self.strips.outputs) * stride - self.window.padding[1]

    def place(self, strip: int, row: int = 0, column: int = 0) -> int:
        """Byte address of an element of a strip, in the first image."""
        return self.address + strip * self.strip_bytes + row * self.row_bytes + column * self.pixel


def load_strips(context: Context, job: StripLoad) -> None:
    """LOAD jobs of a tile: padding first, then whole strips, then the part of each strip that is inside the image."""
    _, height, width, _ = job.view.shape
    below = min(job.height, height - job.top)
    above = min(max(0, -job.top), max(below, 0))
    whole = [j for j in range(job.count) if job.left(j) >= 0 and job.left(j) + job.strips.columns <= width]
    first, end = (whole[0], whole[-1] + 1) if whole and below > above else (0, 0)
    _fill(context, job, job.place(0), first * job.strip_bytes, [])
    _fill(context, job, job.place(end), (job.count - end) * job.strip_bytes, [])
    for row, rows in ((0, above), (below, job.height - below)):
        if end > first:
            _fill(context, job, job.place(first, row), rows * job.row_bytes, [(end - first, job.strip_bytes)])
    if below <= above:
        return
    inside = above, below
    for strip in range(first, min(first + job.strips.passes, end)):
        _copy(context, job, inside, strip, -(-(end - strip) // job.strips.passes), (0, job.strips.columns))
    for strip in (*range(first), *range(end, job.count)):
        columns = max(0, -job.left(strip)), min(job.strips.columns, width - job.left(strip))
        if columns[0] < columns[1]:
            _copy(context, job, inside, strip, 1, columns)


def _fill(context: Context, job: StripLoad, address: int, size: int, loops: Loops) -> None:
    """Padding: ``size`` bytes at each of the places of a nest, in all images."""
    if size <= 0:
        return
    (first, end) = job.tile.images
    access = written(isa.Target.INPUT, job.address, (end - first) * job.image_bytes)
    nest = [*loops, (end - first, job.image_bytes)]
    registers = fill(context, job.tensor, job.tensor.zero, isa.Target.INPUT, address, size, nest)
    context.builder.add(isa.Unit.LOAD, registers, [access], layer=job.layer, note="padding")


def _copy(
    context: Context, job: StripLoad, rows: tuple[int, int], strip: int, count: int, columns: tuple[int, int]
) -> None:
    """Some columns of ``count`` strips, every ``passes``-th one from ``strip`` on; several are whole ones."""
    (i0, i1), (above, below) = job.tile.images, rows
    _, height, width, _ = job.view.shape
    line, part = width * job.pixel, (columns[1] - columns[0]) * job.pixel
    x0 = job.left(strip) + columns[0]
    offset = (i0 * height + job.top + above) * line + x0 * job.pixel
    end = offset + ((i1 - i0 - 1) * height + below - above - 1) * line + count * part
    registers = {
        "source": context.source(job.view.tensor, offset),
        "row": {"bytes": count * part},
        **levels(ROWS, [(below - above, line), (i1 - i0, height * line)]),
        "destination": {"address": job.place(strip, above, columns[0]), "target": isa.Target.INPUT},
        "segment": {"bytes": part},
        **levels(SEGMENTS, list(_segments(job, count, below - above))),
    }
    access = written(isa.Target.INPUT, job.address, (i1 - i0) * job.image_bytes)
    note = f"{job.view.tensor} rows {job.top + above}..{job.top + below - 1}, strips of columns from {x0}"
    accesses = [access, context.dram(job.view.tensor, offset, end)]
    context.builder.add(isa.Unit.LOAD, registers, accesses, layer=job.layer, note=note)


def _segments(job: StripLoad, count: int, rows: int) -> Iterator[tuple[int, int]]:
    """Places of a copy: strips, rows, images."""
    yield count, job.strips.passes * job.strip_bytes
    yield rows, job.row_bytes
    yield job.tile.size[0], job.image_bytes
