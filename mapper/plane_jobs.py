"""The three jobs of a run of the array over the output plane, its weights, and the drains of a tile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataflows import isa
from mapper.builder import Builder
from mapper.conv_jobs import SUM_LEVELS
from mapper.nests import levels
from mapper.plane_plan import Batch, Chunk, Part, PlanePlan
from mapper.scoreboard import Access
from mapper.tiles import Tile


@dataclass(frozen=True)
class PlaneRun:
    """One job of the array.

    Attributes
    ----------
    tile, batch, part, chunk
        Pixels, output channels of the bank, input channels, output channels of the job.
    input_at, weight_at : int
        Byte addresses of the part's inputs and of the chunk's weights.
    bank : int
        Accumulator bank.
    """

    plan: PlanePlan
    tile: Tile
    batch: Batch
    part: Part
    chunk: Chunk
    input_at: int
    weight_at: int
    bank: int

    @property
    def inputs(self) -> int:
        """Input channels of a sum."""
        return self.plan.group_inputs if self.batch.groups > 1 else self.part.channels


def array_jobs(builder: Builder, run: PlaneRun, layer: int) -> None:
    """ACC, WEIGHT and INPUT jobs of a run; all but the first part of a batch add to what is there."""
    cfg, flow, plan, order = builder.cfg, builder.cfg.dataflow, run.plan, run.plan.order
    rows, element, chunk = cfg.array.rows, cfg.act_bytes, run.chunk
    first = run.batch.first + chunk.first
    note = (
        f"{plan.shape.layer.name}: rows {run.tile.rows[0]}..{run.tile.rows[1] - 1}, "
        f"channels {first}..{first + chunk.count - 1}, inputs from {run.batch.source + run.part.first}"
    )
    builder.add(
        isa.Unit.ACC,
        {
            "base": {"address": run.bank * cfg.acc_bank_words + chunk.first * rows + rows - 1},
            "mode": {"keep": int(run.part.first > 0)},
            **levels(SUM_LEVELS, [(rows, -1), (chunk.count, rows)]),
        },
        [Access("acc", run.bank, run.bank + 1, write=True)], layer=layer, note=note,
    )  # fmt: skip
    steps = run.inputs * order.steps
    builder.add(
        isa.Unit.WEIGHT,
        {
            "base": {"address": run.weight_at},
            **levels(flow.weight_nest.levels, [(steps, element), (chunk.count, steps * element)]),
        },
        [Access("weight", run.weight_at, run.weight_at + chunk.count * steps * element)], layer=layer, note=note,
    )  # fmt: skip
    group = plan.group_inputs * plan.channel_bytes  # between channel groups on chip
    start = chunk.first // plan.group_outputs * group if run.batch.groups > 1 else 0
    loops = [
        (run.inputs * order.words, order.elements * element), (chunk.count // chunk.groups, 0), (chunk.groups, group)
    ]  # fmt: skip
    builder.add(
        isa.Unit.INPUT,
        {
            "base": {"address": run.input_at + start},
            **levels(flow.input_nest.levels, loops),
            "kernel": {
                "rows": order.kernel_rows, "cols": order.kernel_cols, "fresh_rows": order.fresh_rows,
                "fresh_cols": order.fresh_cols, "channels": run.inputs,
            },
        },
        [Access("input", run.input_at, run.input_at + run.part.channels * plan.channel_bytes)],
        layer=layer, note=note,
    )  # fmt: skip


def packed_weights(plan: PlanePlan) -> NDArray[np.signedinteger]:
    """All weights of a layer, batch by batch, part by part: (output channel, input channel, kernel row, column)."""
    return np.concatenate([
        _slab(plan, batch, part).ravel() for batch in plan.batches for part in plan.parts(batch)
    ])


def _slab(plan: PlanePlan, batch: Batch, part: Part) -> NDArray[np.signedinteger]:
    weights = plan.shape.layer.weight[batch.first : batch.first + batch.count]
    return weights if batch.groups > 1 else weights[:, part.first : part.first + part.channels]


@dataclass(frozen=True)
class Rectangle:
    """Pixels of a tile that are drained together: ``rows`` accumulator words from ``word``, ``pixels`` of each.

    ``start`` is the first pixel in the tensor, counted as the tensor has them; ``row_pitch`` the pixels between words.
    """

    word: int
    rows: int
    pixels: int
    start: int
    row_pitch: int


def rectangles(plan: PlanePlan, tile: Tile) -> Iterator[Rectangle]:
    """A tile's pixels: one rectangle, or, of pixels row after row, whole rows and what is left."""
    s, cols = plan.shape, plan.shape.cfg.array.cols
    start = (tile.images[0] * s.out_height + tile.rows[0]) * s.out_width + tile.cols[0]
    _, rows, pixels = tile.size
    if not plan.folded:
        yield Rectangle(0, rows, pixels, start, s.out_width)
        return
    whole, rest = divmod(pixels, cols)
    if whole:
        yield Rectangle(0, whole, cols, start, cols)
    if rest:
        yield Rectangle(whole, 1, rest, start + whole * cols, cols)
