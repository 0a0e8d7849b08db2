"""The three jobs of a run of the row-stationary array: which words of the buffers meet, and where their sums go."""

from __future__ import annotations

from dataclasses import dataclass

from dataflows import isa
from mapper.builder import Builder
from mapper.conv_jobs import SUM_LEVELS
from mapper.loads import Layout
from mapper.nests import Loops, levels
from mapper.row_plan import FilterTile, Part, RowPlan
from mapper.scoreboard import Access
from mapper.tiles import Tile

ADDRESS_MASK = (1 << isa.STEP_BITS) - 1
"""Addresses are counted modulo this range: a row's stream may begin before the first byte of the buffer."""


@dataclass(frozen=True)
class RowRun:
    """One job of the array.

    Attributes
    ----------
    tile : Tile
        Output pixels.
    filters : FilterTile
        Output channels.
    part : Part
        Passes and part of the kernel.
    input_at, weight_at : int
        Byte addresses of the input tile (or slice) and of the job's weights.
    bank : int
        Accumulator bank.
    first : bool
        Sums are written, not added to what is there.
    """

    plan: RowPlan
    tile: Tile
    filters: FilterTile
    part: Part
    input_at: int
    weight_at: int
    bank: int
    first: bool


def tile_layout(plan: RowPlan, size: tuple[int, int, int], channels: int) -> Layout:
    """Where pixels of an input tile lie: ``size`` of the output tile, ``channels`` per pixel; in bytes."""
    height, width = plan.shape.extent(*size[1:])
    pixel = channels * plan.shape.cfg.act_bytes
    return Layout(pixel, width * pixel, height * width * pixel, height * width * pixel)


def array_jobs(builder: Builder, run: RowRun, layer: int) -> None:
    """ACC, WEIGHT and INPUT jobs of a run."""
    cfg, flow, plan, part = builder.cfg, builder.cfg.dataflow, run.plan, run.part
    sets = plan.sets_of(part.kernel)
    positions = run.tile.size[2]
    (y0, y1), channels = run.tile.rows, run.filters
    note = (
        f"{plan.shape.layer.name}: rows {y0}..{y1 - 1}, channels from {channels.first}, "
        f"passes {part.first}..{part.first + part.passes - 1}"
    )
    words = sets.sums * channels.groups
    passes: Loops = [(part.passes, 0)] if plan.together == 1 else [(1, 0), (part.passes, sets.sums)]
    builder.add(
        isa.Unit.ACC,
        {
            "base": {"address": run.bank * cfg.acc_bank_words},
            "mode": {"keep": int(not run.first)},
            **levels(SUM_LEVELS, [(sets.sums, 1), (positions, words), *passes]),
        },
        [Access("acc", run.bank, run.bank + 1, write=True)], layer=layer, note=note,
    )  # fmt: skip
    size = part.words * plan.word_bytes
    loops: Loops = [(sets.weight_words, plan.word_bytes), (part.passes, sets.weight_words * plan.word_bytes)]
    builder.add(
        isa.Unit.WEIGHT,
        {"base": {"address": run.weight_at}, **levels(flow.weight_nest.levels, loops)},
        [Access("weight", run.weight_at, run.weight_at + size)], layer=layer, note=note,
    )  # fmt: skip
    layout = tile_layout(plan, run.tile.size, part.slice[1])
    builder.add(
        isa.Unit.INPUT,
        {
            "base": {"address": (run.input_at + _start(run, layout)) & ADDRESS_MASK},
            **levels(flow.input_nest.levels, _input_loops(run, layout)),
            **sets.registers(positions, part.passes),
        },
        [Access("input", run.input_at, run.input_at + layout.size)], layer=layer, note=note,
    )  # fmt: skip


def _start(run: RowRun, layout: Layout) -> int:
    """First byte of the stream, from the first of the tile; it may lie before that, with words that nobody uses."""
    plan, part = run.plan, run.part
    dy, dx = plan.shape.layer.window.dilation
    sets = plan.sets_of(part.kernel)
    channel = part.first * plan.pass_channels - part.slice[0]
    row, column = part.kernel.rows[0] * dy, part.kernel.cols[0] * dx - sets.lead
    return row * layout.row + column * layout.col + channel * plan.shape.cfg.act_bytes


def _input_loops(run: RowRun, layout: Layout) -> Loops:
    """The nest in bytes: channel, column, row, slot, position, pass."""
    plan, positions = run.plan, run.tile.size[2]
    sets, element = plan.sets_of(run.part.kernel), plan.shape.cfg.act_bytes
    return [
        (sets.channels, element),
        (sets.fresh_columns, layout.col),
        (sets.input_rows, layout.row),
        (sets.chained, sets.channels * element),
        (sets.preload + positions - 1, sets.stride[1] * layout.col),
        (run.part.passes, plan.pass_channels * element),
    ]
