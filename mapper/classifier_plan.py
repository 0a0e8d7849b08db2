"""Classifier layers on the array over the output plane: PEs hold output channels of one pixel.

Operands change places: the stream with an element for every PE brings weights, the broadcast one an input. So a layer
with hardly any pixels fills the array; in return every weight passes it once per pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, gcd

import numpy as np
from numpy.typing import NDArray

from dataflows.plane_order import PlaneOrder
from mapper.conv_plan import Options
from mapper.conv_shape import ConvShape
from mapper.plane_plan import folds, spread
from mapper.search import Search

Range = tuple[int, int]
"""(first, count)."""

MOST_COUNT = (1 << 16) - 1
"""Largest count of a loop level."""


@dataclass(frozen=True)
class ClassifierPlan:
    """One way to run a layer. Cycles and traffic are estimates for choosing.

    Sums are those of all PEs; their words are counted over all sums. ``cols`` words make a block of ``cols ** 2``
    output channels: channel ``j * cols + i`` of a block is in lane j of its word i, so that turned words hold
    neighbouring channels.

    Attributes
    ----------
    shape : ConvShape
        Its pixels are one row.
    batch_sums : int
        Most sums in an accumulator bank: whole blocks.
    slice_inputs : int
        Most input channels of a job.
    job_sums : int
        Most sums of a job.
    """

    shape: ConvShape
    batch_sums: int
    slice_inputs: int
    job_sums: int
    cycles: float = 0
    dram_bytes: int = 0
    search: Search | None = None

    @property
    def order(self) -> PlaneOrder:
        """A step is a word."""
        return PlaneOrder(self.shape.cfg.array.rows, self.shape.cfg.array.cols, 1, 1, 1, 1)

    @property
    def blocks(self) -> int:
        """Blocks of output channels."""
        return ceil(self.shape.out_channels / self.shape.cfg.lanes**2)

    @property
    def sums(self) -> int:
        """Sums of one pixel."""
        return ceil(self.blocks * self.shape.cfg.lanes / self.shape.cfg.array.rows)

    @property
    def batches(self) -> list[Range]:
        """Sums that share an accumulator bank."""
        return _ranges(self.sums, self.batch_sums)

    @property
    def slices(self) -> list[Range]:
        """Input channels of a job."""
        return _ranges(self.shape.channels, self.slice_inputs)

    def jobs(self, batch: Range) -> list[Range]:
        """Sums of the jobs of a batch and slice, counted in the batch."""
        return _ranges(batch[1], self.job_sums)

    def weight_bytes(self, sums: int, inputs: int) -> int:
        """Weights of some sums, those of channels that do not exist included."""
        return sums * inputs * self.order.elements * self.shape.cfg.act_bytes

    @cached_property
    def channels(self) -> NDArray[np.int64]:
        """Output channel of every PE, (sums, rows, columns); numbers beyond the last channel are none."""
        lanes, rows = self.shape.cfg.lanes, self.shape.cfg.array.rows
        word = np.arange(self.sums * rows)
        block, place = word // lanes, word % lanes
        channel = block[:, None] * lanes**2 + np.arange(lanes) * lanes + place[:, None]
        return channel.reshape(self.sums, rows, lanes)

    @property
    def steps(self) -> int:
        """Cycles of the array, but for fill and drain."""
        rows = self.shape.cfg.array.rows
        return self.shape.out_width * self.sums * sum(max(rows, count) for _, count in self.slices)

    @property
    def summary(self) -> dict[str, object]:
        """What is worth telling about the plan."""
        return {
            "operands": "weights private, inputs broadcast", "pixels": self.shape.out_width, "sums": self.sums,
            "batch_sums": self.batch_sums, "slice_inputs": self.slice_inputs, "job_sums": self.job_sums,
        }  # fmt: skip


def _ranges(extent: int, most: int) -> list[Range]:
    return [(first, min(most, extent - first)) for first in range(0, extent, most)]


def classifier_plan(shape: ConvShape, options: Options) -> ClassifierPlan | None:
    """How a layer without neighbourhoods runs this way; None if it cannot."""
    cfg, memory = shape.cfg, shape.cfg.memory
    rows, lanes = cfg.array.rows, cfg.lanes
    if not folds(shape) or shape.layer.groups > 1:
        return None
    pitch = ClassifierPlan(shape, 1, 1, 1).weight_bytes(1, 1)
    unit = lanes // gcd(rows, lanes)  # sums that are whole blocks
    room = min(cfg.acc_bank_words // rows, cfg.param_entries // 2 // rows) // unit * unit
    depth = min(shape.channels, MOST_COUNT, memory.input_bytes // 2 // pitch, memory.weight_bytes // 2 // cfg.act_bytes)
    if not room or not depth:
        return None
    inputs = spread(shape.channels, depth)
    sums = min(room, ceil(ClassifierPlan(shape, 1, 1, 1).sums / unit) * unit)
    plan = ClassifierPlan(shape, sums, inputs, max(1, min(sums, memory.input_bytes // 2 // (pitch * inputs))))
    bus = min(cfg.bus_bytes, options.bytes_per_cycle)
    traffic = shape.out_width * (plan.weight_bytes(plan.sums, shape.channels) + shape.channels * cfg.act_bytes)
    first = options.latency + plan.weight_bytes(plan.job_sums, inputs) / bus
    cycles = first + max(plan.steps, traffic / bus) + rows * plan.batch_sums + 2 * options.latency
    traffic += shape.out_width * shape.out_channels * cfg.act_bytes
    return replace(plan, cycles=cycles, dram_bytes=traffic, search=Search(options.objective, 1, 1))
