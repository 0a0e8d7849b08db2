"""Tiling of one convolution: every candidate that fits the buffers, costed, the cheapest kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from dataflows.errors import InputError
from dataflows.vocabulary import Dim
from mapper.conv_shape import ConvShape

WEIGHT_SLOTS = 4
"""A streamed weight chunk is at most this fraction of the buffer, so that loading runs ahead of computing."""

NEAR = 0.002
"""Plans this close in estimated cycles count as equal; then the one with less DRAM traffic is taken."""


@dataclass(frozen=True)
class Options:
    """What the planner may assume about the DRAM, for its choice only."""

    latency: int = 100
    bytes_per_cycle: float = 16


@dataclass(frozen=True)
class Tile:
    """Output pixels of one tile: half-open ranges of images, rows and columns."""

    images: tuple[int, int]
    rows: tuple[int, int]
    cols: tuple[int, int]

    @property
    def size(self) -> tuple[int, int, int]:
        """(images, rows, columns)."""
        return self.images[1] - self.images[0], self.rows[1] - self.rows[0], self.cols[1] - self.cols[0]


@dataclass(frozen=True)
class Grid:
    """How a tile's pixels are laid out in groups of ``group`` (1: any number of pixels).

    Pixels sit row after row in rows of ``pitch``; a group is ``across`` x ``down`` pixels and covers consecutive places.
    """

    group: int
    across: int
    down: int
    pitch: int
    height: int
    images: int

    @property
    def words(self) -> int:
        """Places, including those that hold no pixel."""
        return self.pitch * self.height * self.images


@dataclass(frozen=True)
class ConvPlan:
    """One way to run a layer. Sizes in bytes, lengths in words; cycles and traffic are estimates for choosing."""

    shape: ConvShape
    layout: str
    tile: tuple[int, int, int]  # images, rows, columns
    blocks: int  # blocks of output channels per accumulator bank
    slice_channels: int  # input channels on chip at a time
    channels_outer: bool
    input_resident: bool
    weights_resident: bool
    chunk_words: int
    cycles: float = 0
    dram_bytes: int = 0

    def tiles(self) -> list[Tile]:
        """All tiles in order."""
        s, (ni, ny, nx) = self.shape, self.tile
        return [
            Tile((i, min(i + ni, s.images)), (y, min(y + ny, s.out_height)), (x, min(x + nx, s.out_width)))
            for i in range(0, s.images, ni)
            for y in range(0, s.out_height, ny)
            for x in range(0, s.out_width, nx)
        ]


def grid(shape: ConvShape, size: tuple[int, int, int]) -> Grid:
    """Places of a tile's pixels in the accumulator."""
    images, rows, cols = size
    flow, array = shape.cfg.dataflow, shape.cfg.array
    group = array.rows if flow.rows is Dim.PIXEL else array.cols if flow.cols is Dim.PIXEL else 1
    across = next((d for d in range(min(cols, group), group) if group % d == 0), group) if group > 1 else 1
    down = group // across
    return Grid(group, across, down, ceil(cols / across) * across, ceil(rows / down) * down, images)


def window_extent(shape: ConvShape, rows: int, cols: int) -> tuple[int, int]:
    """Input rows and columns under ``rows`` x ``cols`` output pixels, padding included."""
    w = shape.layer.window
    return (
        (rows - 1) * w.stride[0] + w.dilation[0] * (w.kernel[0] - 1) + 1,
        (cols - 1) * w.stride[1] + w.dilation[1] * (w.kernel[1] - 1) + 1,
    )


def input_bytes(shape: ConvShape, layout: str, size: tuple[int, int, int], channels: int) -> int:
    """Bytes of one tile in the input buffer."""
    images, rows, cols = size
    height, width = window_extent(shape, rows, cols)
    if layout == "stacked":
        return images * rows * width * shape.layer.window.kernel[0] * channels
    return images * height * width * channels


def word_bytes(shape: ConvShape, blocks: int) -> int:
    """Weight bytes of one reduction word of the array."""
    per_block = shape.cfg.array.rows * shape.cfg.lanes
    return per_block * (blocks if shape.cfg.dataflow.temporal is Dim.CHANNEL else 1)


def plan(shape: ConvShape, options: Options) -> ConvPlan:
    """The cheapest plan. Raises :class:`InputError` naming the buffer when none fits."""
    candidates = list(_candidates(shape, options))
    if not candidates:
        raise InputError(_no_fit(shape))
    fastest = min(c.cycles for c in candidates)
    near = (c for c in candidates if c.cycles <= fastest * (1 + NEAR))
    return min(near, key=lambda c: (c.dram_bytes, c.cycles))


def _no_fit(shape: ConvShape) -> str:
    """Which buffer is too small for the smallest tile, and what would do."""
    cfg, memory = shape.cfg, shape.cfg.memory
    layouts = [name for name in shape.layouts() if name != "stacked"]
    depth = shape.channels if shape.layer.groups > 1 else min(shape.channels, cfg.array.rows)
    needs = {
        "acc_bytes": 2 * grid(shape, (1, 1, 1)).words * cfg.acc_word_bytes,
        "weight_bytes": word_bytes(shape, 1),
        "input_bytes": 2 * min(input_bytes(shape, name, (1, 1, 1), depth) for name in layouts),
    }
    short = [(key, need, getattr(memory, key)) for key, need in needs.items() if need > getattr(memory, key)]
    key, need, have = short[0] if short else ("input_bytes", 2 * memory.input_bytes, memory.input_bytes)
    return (
        f"layer {shape.layer.name}: its smallest tile needs {need} bytes of the {key.removesuffix('_bytes')} buffer, which has "
        f"{have}; raise memory.{key} in configuration {cfg.name!r} to at least {need}"
    )


def _sizes(extent: int, most: int) -> list[int]:
    """Candidate tile extents: equal divisions, largest first, at most ``most``."""
    return sorted({ceil(extent / k) for k in range(1, extent + 1) if ceil(extent / k) <= most}, reverse=True)


def _candidates(shape: ConvShape, options: Options) -> Iterator[ConvPlan]:
    cfg = shape.cfg
    bank = cfg.acc_bank_words
    for layout in shape.layouts():
        for blocks in sorted({min(b, len(shape.blocks)) for b in (1, 2, 4, 8, 16, 32, 64)}):
            if blocks > 1 and not shape.uniform:
                continue
            for size in _tile_sizes(shape, bank // blocks):
                if grid(shape, size).words * blocks > bank:
                    continue
                yield from _residencies(shape, layout, size, blocks, options)
    # only when nothing above fitted does a slice of the channels help
    if shape.layer.groups == 1:
        for channels in (c for c in (shape.channels // d for d in (2, 4, 8, 16, 32, 64)) if c > 0):
            for size in _tile_sizes(shape, bank):
                if grid(shape, size).words > bank:
                    continue
                need = input_bytes(shape, "taps", size, channels)
                full = min(input_bytes(shape, name, (1, 1, 1), shape.channels) for name in shape.layouts())
                if full > cfg.memory.input_bytes and 2 * need <= cfg.memory.input_bytes:
                    yield from _residencies(shape, "taps", size, 1, options, channels)


def _tile_sizes(shape: ConvShape, words: int) -> Iterator[tuple[int, int, int]]:
    group = grid(shape, (1, 1, 1)).group
    for cols in _sizes(shape.out_width, max(words, group)):
        if cols == shape.out_width:
            for rows in _sizes(shape.out_height, max(words // cols, 1)):
                yield 1, rows, cols
                if rows == shape.out_height and shape.images > 1:
                    for images in _sizes(shape.images, max(words // (cols * rows), 1)):
                        yield images, rows, cols
        elif cols * 4 >= min(shape.out_width, words) or cols <= 2 * group:
            yield 1, 1, cols


def _residencies(
    shape: ConvShape, layout: str, size: tuple[int, int, int], blocks: int, options: Options, channels: int = 0
) -> Iterator[ConvPlan]:
    memory = shape.cfg.memory
    sliced = channels > 0
    channels = channels or shape.channels
    tile_count = (
        ceil(shape.images / size[0]) * ceil(shape.out_height / size[1]) * ceil(shape.out_width / size[2])
    )
    tile_bytes = input_bytes(shape, layout, size, channels)
    words = _words(shape, layout, channels)
    per_word = word_bytes(shape, blocks)
    group_bytes = words * per_word * (1 if shape.cfg.dataflow.temporal is Dim.CHANNEL else blocks)
    all_bytes = group_bytes * ceil(len(shape.blocks) / blocks)
    chunk = max(1, min(words, memory.weight_bytes // WEIGHT_SLOTS // per_word))
    if chunk * per_word > memory.weight_bytes or tile_bytes > memory.input_bytes:
        return
    input_fits = tile_count * tile_bytes <= memory.input_bytes and not sliced
    alone = tile_bytes * 2 > memory.input_bytes and tile_count > 1 and not input_fits  # no room to load ahead
    for outer in (False, True):
        for input_resident in {False, input_fits}:
            if tile_count > 1 and outer and not input_resident and sliced:
                continue
            unit = group_bytes if outer else all_bytes
            fits = unit * (2 if outer else 1) <= memory.weight_bytes and tile_count > 1 and not sliced
            for weights_resident in {False, fits}:
                yield _costed(
                    ConvPlan(
                        shape, layout, size, blocks, channels, outer, input_resident or tile_count == 1,
                        weights_resident, chunk,
                    ),
                    tile_count, tile_bytes, words, all_bytes, options, alone,
                )  # fmt: skip


def _words(shape: ConvShape, layout: str, channels: int) -> int:
    """Reduction words of one block over all channel slices."""
    if channels < shape.channels:
        return sum(_product(shape.nest(layout, min(channels, shape.channels - c))) for c in range(0, shape.channels, channels))
    return _product(shape.nest(layout, shape.depth))


def _product(counts: tuple[int, int, int]) -> int:
    return counts[0] * counts[1] * counts[2]


def _costed(
    p: ConvPlan, tiles: int, tile_bytes: int, words: int, weight_bytes: int, options: Options, alone: bool
) -> ConvPlan:
    """Fill in estimated cycles and DRAM bytes."""
    shape, cfg = p.shape, p.shape.cfg
    bus = min(cfg.bus_bytes, options.bytes_per_cycle)
    groups = ceil(len(shape.blocks) / p.blocks)
    g = grid(shape, p.tile)
    rows = cfg.array.rows
    steps = {
        Dim.PIXEL: lambda: words * max(g.words, rows),
        Dim.REDUCTION: lambda: g.words // g.group * words * rows,
        Dim.CHANNEL: lambda: g.words // g.group * words * cfg.lanes,
    }[cfg.dataflow.temporal]()
    compute = tiles * len(shape.blocks) * steps

    kernel_rows = shape.layer.window.kernel[0]
    images, out_rows, cols = p.tile
    height, width = window_extent(shape, out_rows, cols)
    reloaded = (p.channels_outer and not p.input_resident) or p.slice_channels < shape.channels
    loads = groups if reloaded else 1
    whole_rows = p.slice_channels == shape.channels
    if p.layout == "stacked":
        pieces = images * out_rows * kernel_rows * width
        load_rows = images * out_rows * kernel_rows
        row_bytes = min(width, shape.width) * shape.channels
        load_cycles = pieces * ceil(shape.channels / cfg.bus_bytes) + load_rows * ceil(row_bytes / cfg.bus_bytes)
    else:
        load_rows = images * height * (1 if whole_rows else width)
        row_bytes = (min(width, shape.width) if whole_rows else 1) * p.slice_channels
        load_cycles = tile_bytes / cfg.bus_bytes
    beats = ceil(row_bytes / cfg.bus_bytes) + (row_bytes % cfg.bus_bytes > 0)
    flight = options.latency / cfg.bus.reads_in_flight  # short rows are bound by latency
    load_cycles = max(load_cycles, load_rows * max(beats * cfg.bus_bytes / bus, flight))
    slices = ceil(shape.channels / p.slice_channels)
    input_traffic = tiles * loads * slices * load_rows * beats * cfg.bus_bytes
    weight_traffic = weight_bytes * (1 if p.weights_resident or tiles == 1 else tiles)

    lanes_out = p.blocks * cfg.lanes
    run = shape.out_channels if lanes_out >= shape.out_channels else lanes_out
    out_rows_count = shape.images * shape.out_height * shape.out_width * ceil(shape.out_channels / lanes_out)
    if lanes_out >= shape.out_channels:
        out_beats = shape.images * shape.out_height * shape.out_width * shape.out_channels / cfg.bus_bytes
    else:
        out_beats = out_rows_count * (ceil(run / cfg.bus_bytes) + (run % cfg.bus_bytes > 0))
    output_traffic = int(out_beats * cfg.bus_bytes)

    dma = (input_traffic + weight_traffic + output_traffic) / bus
    loading = tiles * loads * slices * load_cycles + weight_traffic / bus
    first = options.latency + load_cycles + min(words, p.chunk_words) * rows * cfg.lanes / bus
    last = g.words * p.blocks + 2 * options.latency
    jobs = tiles * len(shape.blocks) * ceil(words / p.chunk_words) * slices
    cycles = first + (compute + loading if alone else max(compute, dma, loading)) + last + 4 * jobs
    return ConvPlan(
        p.shape, p.layout, p.tile, p.blocks, p.slice_channels, p.channels_outer, p.input_resident,
        p.weights_resident, p.chunk_words, cycles, input_traffic + weight_traffic + output_traffic,
    )  # fmt: skip
