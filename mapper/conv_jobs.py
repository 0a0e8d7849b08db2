"""The three jobs of an array run: which words of the buffers meet, and where their sums go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from dataflows import isa
from dataflows.vocabulary import Dim, Kind
from mapper.builder import Builder
from mapper.conv_plan import ConvPlan
from mapper.conv_shape import Block
from mapper.loads import Layout
from mapper.nests import Box, Loops, levels, split
from mapper.scoreboard import Access
from mapper.tiles import Tile

SUM_LEVELS = ("word", "block", "pass", "group")


@dataclass(frozen=True)
class Chunk:
    """Consecutive reduction words of a block: a box of the nest of one slice of the channels."""

    first_channel: int
    channels: int
    box: Box
    word: int  # first reduction word, counted over all slices
    words: int


def chunks(plan: ConvPlan) -> Iterator[Chunk]:
    """The reduction of a block, cut into pieces of which the weight buffer can hold several."""
    word = 0
    for first, channels in plan.slices():
        for box in split(plan.shape.nest(plan.layout, channels), plan.chunk_words):
            words = prod(count for _, count in box)
            yield Chunk(first, channels, box, word, words)
            word += words


def tile_layout(plan: ConvPlan, size: tuple[int, int, int], channels: int) -> Layout:
    """Where pixels (or columns of strips) of an input tile lie: ``size`` of output, ``channels`` per pixel."""
    _, rows, cols = size
    height, width = plan.shape.extent(rows, cols)
    total = plan.shape.input_bytes(plan.layout, size, channels)
    pixel = plan.shape.pixel_bytes(channels)
    strips = plan.shape.strips(plan.layout)
    if strips:  # side by side, each with all rows
        row = strips.columns * pixel
        return Layout(height * row, row, total // size[0], total)
    if plan.layout == "stacked":  # a row of pixels per output row, the kernel's rows side by side in each
        pixel *= plan.shape.layer.window.kernel[0]
        height = rows
    return Layout(pixel, width * pixel, height * width * pixel, total)


@dataclass(frozen=True)
class Run:
    """One set of array jobs.

    Attributes
    ----------
    tile : Tile
        Output pixels.
    blocks : tuple of Block
        Blocks of output channels: one, or those of a whole group where channels run in time.
    chunk : Chunk
        Part of the reduction.
    input_at, weight_at : int
        Byte addresses of the input tile and of the chunk's weights.
    bank, place : int
        Accumulator bank, and the first word in it.
    """

    plan: ConvPlan
    tile: Tile
    blocks: tuple[Block, ...]
    chunk: Chunk
    input_at: int
    weight_at: int
    bank: int
    place: int

    @property
    def channels(self) -> int:
        """Channels of a pixel on chip."""
        return self.chunk.channels if self.plan.sliced else self.plan.shape.channels

    @property
    def note(self) -> str:
        """What the run computes, for people."""
        (y0, y1), chunk = self.tile.rows, self.chunk
        words = f"words {chunk.word}..{chunk.word + chunk.words - 1}"
        return f"{self.plan.shape.layer.name}: rows {y0}..{y1 - 1}, channels from {self.blocks[0].first}, {words}"


def array_jobs(builder: Builder, run: Run, layer: int) -> None:
    """ACC, WEIGHT and INPUT jobs of a run; all but the first chunk add to what is there."""
    cfg, flow, chunk = builder.cfg, builder.cfg.dataflow, run.chunk
    place, sums = _sum_loops(run)
    sum_at = run.bank * cfg.acc_bank_words + run.place + place
    builder.add(
        isa.Unit.ACC,
        {"base": {"address": sum_at}, "mode": {"keep": int(chunk.word > 0)}, **levels(SUM_LEVELS, sums)},
        [Access("acc", run.bank, run.bank + 1, write=True)], layer=layer, note=run.note,
    )  # fmt: skip
    size = chunk.words * run.plan.shape.word_bytes(len(run.blocks))
    builder.add(
        isa.Unit.WEIGHT,
        {
            "base": {"address": run.weight_at}, **levels(flow.weight_nest.levels, _weight_loops(run)),
            **_precision(run, isa.Unit.WEIGHT),
        },
        [Access("weight", run.weight_at, run.weight_at + size)], layer=layer, note=run.note,
    )  # fmt: skip
    start, loops = _input_loops(run)
    size = tile_layout(run.plan, run.tile.size, run.channels).size
    builder.add(
        isa.Unit.INPUT,
        {
            "base": {"address": run.input_at + start}, **levels(flow.input_nest.levels, loops),
            **_precision(run, isa.Unit.INPUT),
        },
        [Access("input", run.input_at, run.input_at + size)], layer=layer, note=run.note,
    )  # fmt: skip


def _precision(run: Run, unit: isa.Unit) -> dict[str, dict[str, int]]:
    """Widths of the operands, where they can differ; of one-bit inputs also how many count in the last word."""
    shape, chunk = run.plan.shape, run.chunk
    if shape.cfg.multiplier is None:
        return {}
    fields = {"a_bits": shape.bits[0], "w_bits": shape.bits[1], "a_unsigned": 0, "w_unsigned": 0}
    if shape.binary and unit is isa.Unit.INPUT:
        depth, (first, count) = shape.reduction.depth, chunk.box[0]
        fields["tail"] = min(depth, shape.run(run.plan.layout, chunk.channels) - (first + count - 1) * depth)
    return {"precision": fields}


def _input_loops(run: Run) -> tuple[int, Loops]:
    """First byte in the input tile, and the nest in bytes: pixels of a tile or group, reduction words, groups."""
    shape, layout = run.plan.shape, tile_layout(run.plan, run.tile.size, run.channels)
    window, word_bytes = shape.layer.window, shape.reduction.input_bytes
    x = window.stride[1] * layout.col
    if run.plan.layout not in ("rows", "taps"):
        y, kernel_x, kernel_y = layout.row, 0, 0
    else:
        y = window.stride[0] * layout.row
        kernel_x, kernel_y = window.dilation[1] * layout.col, window.dilation[0] * layout.row
    (word, words), (kx, width), (ky, height) = run.chunk.box
    # a slice holds only its own channels
    source = 0 if run.plan.sliced else shape.pixel_bytes(run.blocks[0].source)
    start = source + word * word_bytes + kx * kernel_x + ky * kernel_y
    taps = [(words, word_bytes), (width, kernel_x), (height, kernel_y)]
    images, out_rows, out_cols = run.tile.size
    strips = shape.strips(run.plan.layout)
    if strips:
        x, y = layout.col, window.stride[0] * layout.row
    if strips and strips.outputs > 1:
        within = window.stride[1] * shape.pixel_bytes(run.channels)
        return start, [(strips.outputs, within), (out_cols // strips.outputs, x), (out_rows, y), *taps]
    if shape.cfg.dataflow.temporal is Dim.PIXEL:
        return start, [(out_cols, x), (out_rows, y), (images, layout.image), *taps]
    places = shape.grid(run.tile.size)
    across, down = places.across, places.down
    groups = [(places.pitch // across, across * x), (places.height // down, down * y), (images, layout.image)]
    return start, [(across, x), (down, y), (1, 0), *taps, *groups]


def _weight_loops(run: Run) -> Loops:
    """The nest in bytes, as ``docs/architecture.md`` section 2 counts words: words of a tile, tiles, repetitions."""
    shape, words, blocks = run.plan.shape, run.chunk.words, len(run.blocks)
    steps, step, whole = shape.reduction.steps, shape.reduction.step_bytes, shape.word_bytes(blocks)
    groups = shape.grid(run.tile.size).groups
    match shape.cfg.dataflow.temporal:
        case Dim.PIXEL if shape.cfg.dataflow.weight.kind is Kind.PRIVATE:  # one word, again for every pixel
            return [(shape.grid(run.tile.size).words, 0), (words, whole)]
        case Dim.PIXEL:
            return [(steps, step), (words, whole)]
        case Dim.REDUCTION:
            return [(words * steps, step), (1, 0), (groups, 0)]
        case _:  # output channels
            return [(blocks * shape.cfg.lanes, shape.reduction.input_bytes), (words, whole), (groups, 0)]


def _sum_loops(run: Run) -> tuple[int, Loops]:
    """First place of the sums, and the nest in places: word, block, pass, group."""
    places = run.plan.shape.grid(run.tile.size)
    group = places.group
    match run.plan.shape.cfg.dataflow.temporal:
        case Dim.PIXEL:  # a tile's pixels for each reduction word
            return 0, [(places.words, 1), (1, 0), (run.chunk.words, 0)]
        case Dim.REDUCTION:  # sums leave the array from its last row on
            return group - 1, [(group, -1), (1, 0), (1, 0), (places.groups, group)]
        case _:  # output channels
            blocks = (len(run.blocks), places.words)
            return 0, [(group, 1), blocks, (run.chunk.words, 0), (places.groups, group)]
