"""A plan for the row-stationary array: how one convolution is divided over sets, tiles, filters and passes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil

from dataflows.row_sets import RowSets
from mapper.conv_shape import ConvShape
from mapper.search import Search
from mapper.tiles import Tile

Span = tuple[int, int]
"""(first, count)."""


@dataclass(frozen=True)
class KernelPart:
    """A piece of the kernel that one job computes: rows and columns as (first, count)."""

    rows: Span
    cols: Span


@dataclass(frozen=True)
class FilterTile:
    """Output channels of one job.

    ``source`` is the first input channel they depend on; with ``groups`` > 1 each pass is a channel group of its own.
    """

    number: int
    first: int
    count: int
    source: int
    groups: int


@dataclass(frozen=True)
class Part:
    """The share of one job in the sums of a tile: passes from ``first`` over a slice of the channels on chip.

    ``slice`` is (first, count) of the input channels on chip, relative to those of the filter tile; ``word`` is the
    first of its ``words`` weight words, counted over all parts of a filter tile.
    """

    kernel: KernelPart
    slice: Span
    first: int
    passes: int
    word: int
    words: int


def spans(extent: int, pieces: int) -> list[Span]:
    """``pieces`` parts of a loop of ``extent``, sizes differ by one at most, the largest first."""
    size, more = divmod(extent, pieces)
    result, first = [], 0
    for i in range(pieces):
        count = size + (i < more)
        result.append((first, count))
        first += count
    return result


@dataclass(frozen=True)
class RowPlan:
    """One way to run a layer on sets of PEs. Cycles and traffic are estimates for choosing.

    Attributes
    ----------
    sets : RowSets
        Geometry for the largest part of the kernel.
    kernel_parts : tuple of int
        Parts that the kernel's rows and columns are cut into.
    positions : int
        Output columns per tile; its rows are ``sets.output_rows``.
    together : int
        Channel groups per job, each a pass of its own.
    slice_passes, chunk_passes : int
        Passes whose input channels are on chip at a time, and passes per job.
    channels_outer : bool
        Filter tiles are the outer loop, tiles of pixels the inner one.
    input_resident, weights_resident : bool
        All tiles stay on chip; the weights (of a filter tile, if ``channels_outer``) stay on chip.
    """

    shape: ConvShape
    sets: RowSets
    kernel_parts: tuple[int, int]
    positions: int
    together: int = 1
    slice_passes: int = 1
    chunk_passes: int = 1
    channels_outer: bool = False
    input_resident: bool = False
    weights_resident: bool = False
    cycles: float = 0
    dram_bytes: int = 0
    search: Search | None = None
    on_chip: float = 0  # not estimated

    # -- pixels -----------------------------------------------------------------------------------

    @property
    def tile(self) -> tuple[int, int, int]:
        """Images, rows and columns of output pixels per tile."""
        return 1, min(self.sets.output_rows, self.shape.out_height), self.positions

    @property
    def tile_count(self) -> int:
        """Number of tiles."""
        s, (images, rows, cols) = self.shape, self.tile
        return ceil(s.images / images) * ceil(s.out_height / rows) * ceil(s.out_width / cols)

    def tiles(self) -> list[Tile]:
        """All tiles in order."""
        s, (_, rows, cols) = self.shape, self.tile
        return [
            Tile((i, i + 1), (y, min(y + rows, s.out_height)), (x, min(x + cols, s.out_width)))
            for i in range(s.images)
            for y in range(0, s.out_height, rows)
            for x in range(0, s.out_width, cols)
        ]

    # -- channels ---------------------------------------------------------------------------------

    @property
    def group_inputs(self) -> int:
        """Input channels of a channel group."""
        return self.shape.channels // self.shape.layer.groups

    @property
    def group_outputs(self) -> int:
        """Output channels of a channel group."""
        return self.shape.out_channels // self.shape.layer.groups

    @cached_property
    def filter_tiles(self) -> tuple[FilterTile, ...]:
        """All filter tiles in the order of their output channels."""
        per_in, per_out, size = self.group_inputs, self.group_outputs, self.sets.job_filters
        tiles: list[FilterTile] = []
        for g in range(0, self.shape.layer.groups, self.together):
            groups = min(self.together, self.shape.layer.groups - g)
            for first in range(0, per_out, size):
                count = min(size, per_out - first) if groups == 1 else groups * per_out
                tiles.append(FilterTile(len(tiles), g * per_out + first, count, g * per_in, groups))
        return tuple(tiles)

    @property
    def pass_channels(self) -> int:
        """Input channels from one pass to the next."""
        return self.sets.pass_channels if self.together == 1 else self.group_inputs

    def passes(self, groups: int) -> int:
        """Passes of a filter tile of ``groups`` channel groups."""
        return self.sets.passes(self.group_inputs) if self.together == 1 else groups

    @property
    def words(self) -> int:
        """Accumulator words per output column."""
        return self.sets.sums * self.together

    # -- jobs -------------------------------------------------------------------------------------

    @cached_property
    def kernels(self) -> tuple[KernelPart, ...]:
        """Parts of the kernel, the largest first."""
        (kh, kw), (down, across) = self.shape.layer.window.kernel, self.kernel_parts
        return tuple(KernelPart(r, c) for r in spans(kh, down) for c in spans(kw, across))

    def sets_of(self, kernel: KernelPart) -> RowSets:
        """Geometry for one part of the kernel."""
        return replace(self.sets, kernel=(kernel.rows[1], kernel.cols[1]))

    def slices(self, groups: int) -> Iterator[tuple[Span, Span]]:
        """Slices of a filter tile's input: (first, count) of channels and of passes."""
        total, depth, size = self.passes(groups), self.group_inputs * groups, self.pass_channels
        for first in range(0, total, self.slice_passes):
            passes = min(self.slice_passes, total - first)
            start = first * size
            yield (start, min(passes * size, depth - start)), (first, passes)

    def parts(self, groups: int) -> Iterator[Part]:
        """Jobs of a tile and a filter tile of ``groups`` channel groups, in order."""
        word = 0
        for channels, (first, passes) in self.slices(groups):
            for begin in range(first, first + passes, self.chunk_passes):
                count = min(self.chunk_passes, first + passes - begin)
                for kernel in self.kernels:
                    words = count * self.sets_of(kernel).weight_words
                    yield Part(kernel, channels, begin, count, word, words)
                    word += words

    @property
    def word_bytes(self) -> int:
        """Bytes of a weight word: an element per PE row."""
        return self.shape.cfg.array.rows * self.shape.cfg.act_bytes

    @cached_property
    def filter_bytes(self) -> int:
        """Weight bytes of a full filter tile."""
        words = sum(self.sets_of(kernel).weight_words for kernel in self.kernels)
        return self.passes(self.together) * words * self.word_bytes

    @cached_property
    def job_count(self) -> int:
        """Jobs of a tile and a full filter tile for each part of the kernel."""
        return sum(ceil(passes / self.chunk_passes) for _, (_, passes) in self.slices(self.together))

    @cached_property
    def chunk_bytes(self) -> int:
        """Weight bytes of the largest job."""
        return self.chunk_passes * self.sets.weight_words * self.word_bytes

    @property
    def sliced(self) -> bool:
        """Whether only a slice of a tile's input channels is on chip at a time."""
        return self.slice_passes < self.passes(self.together)

    @property
    def whole(self) -> bool:
        """Whether tiles are whole rows of all channels of a group, which compressed tensors are made of."""
        return self.positions == self.shape.out_width and not self.sliced

    @property
    def slice_channels(self) -> int:
        """Input channels on chip at a time."""
        return min(self.slice_passes * self.pass_channels, self.group_inputs * self.together)

    @property
    def tile_bytes(self) -> int:
        """Input buffer bytes of a full tile, or of a slice of it."""
        height, width = self.shape.extent(*self.tile[1:])
        return height * width * self.slice_channels * self.shape.cfg.act_bytes

    @property
    def input_bytes(self) -> int:
        """Input buffer bytes of all tiles of all channels."""
        return self.tile_count * self.tile_bytes * ceil(self.shape.layer.groups / self.together)

    @property
    def summary(self) -> dict[str, object]:
        """What is worth telling about the plan."""
        s = self.sets
        return {
            "p": s.filters, "q": s.channels, "r": s.chained, "units": s.units, "across": s.across,
            "columns": s.columns, "folded": s.folded, "active_pes": s.active, "kernel_parts": list(self.kernel_parts),
            "tile": list(self.tile), "together": self.together, "slice_passes": self.slice_passes,
            "chunk_passes": self.chunk_passes, "channels_outer": self.channels_outer,
            "input_resident": self.input_resident, "weights_resident": self.weights_resident,
        }  # fmt: skip
