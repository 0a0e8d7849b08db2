"""A classifier layer on the array over the output plane as steps: loads, array jobs, drains."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, partial

import numpy as np

from dataflows import isa
from dataflows.network import Conv
from mapper import loads
from mapper.classifier_plan import ClassifierPlan, Range
from mapper.context import Context
from mapper.conv_jobs import SUM_LEVELS
from mapper.lowering import Lowering
from mapper.nests import levels
from mapper.pipeline import Load, Step
from mapper.requantization import Requantization
from mapper.scoreboard import Access
from mapper.tiles import Tile
from mapper.vector_jobs import ACC_LEVELS, store


class ClassifierLowering(Lowering[Conv]):
    """Steps of one layer.

    Parameters
    ----------
    layer : Conv
        The layer.
    index : int
        Number under which its jobs are marked.
    plan : ClassifierPlan
        How it runs.
    """

    def __init__(self, context: Context, layer: Conv, index: int, plan: ClassifierPlan):
        super().__init__(context, layer, index)
        self.plan = plan
        self.first_bank = context.bank

    @property
    def drains(self) -> int:
        """Accumulator banks used, one after the other."""
        return self.plan.shape.out_width * len(self.plan.batches)

    def steps(self) -> Iterator[Step]:
        """All steps in program order."""
        pairs = [(pixel, batch) for pixel in range(self.plan.shape.out_width) for batch in self.plan.batches]
        for number, (pixel, batch) in enumerate(pairs):
            bank = (self.first_bank + number) % 2
            for part in self.plan.slices:
                for job in self.plan.jobs(batch):
                    needed = (self._inputs(pixel, part, number), self._weights(number, batch, part, job))
                    yield Step(self.index, needed, partial(self._run, part, job, bank))
            emit = partial(self._store, pixel, batch, bank, number == len(pairs) - 1)
            yield Step(self.index, (self._parameters(batch, number),), emit)

    # -- array ------------------------------------------------------------------------------------

    def _inputs(self, pixel: int, part: Range, number: int) -> Load:
        """Input channels of a pixel, to the buffer that is broadcast."""
        first, count = part
        size = count * self.cfg.act_bytes
        view = loads.View(self.source.name, self.plan.shape.source_view)
        area = loads.Area((0, 1), (0, 1), (pixel, pixel + 1), (first, first + count))

        def emit(address: int) -> None:
            to = loads.Destination(isa.Target.WEIGHT, address, loads.Layout(size, size, size, size))
            loads.rectangle(self.context, to, view, area, self.source.zero, self.index)

        return Load((self.index, "inputs", first, number), "weight", size, emit, layer_bound=True)

    @cached_property
    def _weight_offset(self) -> int:
        """Constant-region offset of the weights: batch by batch, slice by slice, (sum, input, row, column)."""
        p = self.plan
        matrix = self.layer.weight.reshape(p.shape.out_channels, -1)
        exists = p.channels < p.shape.out_channels
        chosen = matrix[np.where(exists, p.channels, 0)] * exists[..., None].astype(matrix.dtype)
        words = chosen.transpose(0, 3, 1, 2)
        parts = [
            words[first : first + count, start : start + inputs].ravel()
            for first, count in p.batches
            for start, inputs in p.slices
        ]
        return self.context.constants.add(np.concatenate(parts))

    def _weights(self, number: int, batch: Range, part: Range, job: Range) -> Load:
        """Weights of a job, to the buffer with an element for every PE."""
        p = self.plan
        size = p.weight_bytes(job[1], part[1])
        inside = p.weight_bytes(batch[0], p.shape.channels) + p.weight_bytes(batch[1], part[0])
        inside += p.weight_bytes(job[0], part[1])

        def emit(address: int) -> None:
            offset, note = self._weight_offset + inside, f"weights of sums from {batch[0] + job[0]}"
            loads.constant(self.context, isa.Target.INPUT, address, offset, size, self.index, note)

        return Load((self.index, "weights", inside, number), "input", size, emit)

    def _run(self, part: Range, job: Range, bank: int, at: list[int]) -> None:
        """ACC, WEIGHT and INPUT jobs."""
        cfg, flow, rows, element = self.cfg, self.cfg.dataflow, self.cfg.array.rows, self.cfg.act_bytes
        inputs_at, weights_at = at
        (first, inputs), (place, sums), builder = part, job, self.context.builder
        note = f"{self.layer.name}: sums {place}..{place + sums - 1} of a bank, inputs from {first}"
        builder.add(
            isa.Unit.ACC,
            {
                "base": {"address": bank * cfg.acc_bank_words + place * rows + rows - 1},
                "mode": {"keep": int(first > 0)},
                **levels(SUM_LEVELS, [(rows, -1), (sums, rows)]),
            },
            [Access("acc", bank, bank + 1, write=True)], layer=self.index, note=note,
        )  # fmt: skip
        builder.add(
            isa.Unit.WEIGHT,
            {"base": {"address": inputs_at}, **levels(flow.weight_nest.levels, [(inputs, element), (sums, 0)])},
            [Access("weight", inputs_at, inputs_at + inputs * element)], layer=self.index, note=note,
        )  # fmt: skip
        word = self.plan.weight_bytes(1, 1)
        builder.add(
            isa.Unit.INPUT,
            {
                "base": {"address": weights_at},
                **levels(flow.input_nest.levels, [(inputs, word), (sums, inputs * word)]),
                "kernel": {"rows": 1, "cols": 1, "fresh_rows": 1, "fresh_cols": 1, "channels": inputs},
            },
            [Access("input", weights_at, weights_at + sums * inputs * word)], layer=self.index, note=note,
        )  # fmt: skip

    # -- epilogue ---------------------------------------------------------------------------------

    @cached_property
    def _parameter_offset(self) -> int:
        """Constant-region offset of the parameter entries, one per ``lanes`` output channels, blocks filled up."""
        requantization, lanes = Requantization.of(self.layer, self.source, self.target), self.cfg.lanes
        channels = self.plan.shape.out_channels
        entries = [
            requantization.entry(self.cfg, first, max(0, min(lanes, channels - first)))
            for first in range(0, self.plan.blocks * lanes**2, lanes)
        ]
        return self.context.constants.add(np.concatenate(entries))

    def _entries(self, batch: Range) -> Range:
        """Parameter entries of a batch: one per accumulator word, as far as there are blocks."""
        rows, most = self.cfg.array.rows, self.plan.blocks * self.cfg.lanes
        return batch[0] * rows, min(batch[1] * rows, most - batch[0] * rows)

    def _parameters(self, batch: Range, number: int) -> Load:
        """Entries of a batch."""
        first, count = self._entries(batch)
        offset = self._parameter_offset + first * self.cfg.param_entry_bytes
        return loads.parameter_load(self.context, (self.index, "param", number), offset, count, self.index)

    def _store(self, pixel: int, batch: Range, bank: int, last: bool, at: list[int]) -> None:
        """VECTOR and STORE jobs: whole blocks, then what is left of the last one."""
        cfg, lanes, channels = self.cfg, self.cfg.lanes, self.plan.shape.out_channels
        entry, (first, entries) = at[0] // cfg.param_entry_bytes, self._entries(batch)
        begin, end = first * lanes, min((first + entries) * lanes, channels)
        tile = Tile((0, 1), (0, 1), (pixel, pixel + 1))
        whole = (end - begin) // lanes**2
        areas = [(begin, whole, lanes, lanes)] if whole else []
        if begin + whole * lanes**2 < end:
            rest = end - begin - whole * lanes**2
            areas.append((begin + whole * lanes**2, 1, -(-rest // lanes), rest - (-(-rest // lanes) - 1) * lanes))
        for start, blocks, words, tail in areas:
            count = (blocks * words - 1) * lanes + tail
            place = (start - begin) // lanes
            note = f"{self.layer.name}: pixel {pixel}, channels {start}..{start + count - 1}"
            registers = {
                "mode": {},
                "param": {"entry": entry + place, "blocks": blocks * words, "tail": tail},
                "requantize": {"zero": self.target.zero, "low": self.layer.low, "high": self.layer.high},
                "acc_base": {"address": bank * cfg.acc_bank_words + place},
                **levels(ACC_LEVELS, [(lanes, 1), (blocks, lanes)], "acc_"),
                "turn": {"first": 0, "count": words},
            }
            accesses = [
                Access("acc", bank, bank + 1), Access("param", at[0], at[0] + entries * cfg.param_entry_bytes)
            ]  # fmt: skip
            self.context.builder.add(isa.Unit.VECTOR, registers, accesses, layer=self.index, note=note)
            store(
                self.context, self.target.name, self.plan.shape.target_view, tile, start, count, self.index, note,
                mark=last and start == areas[-1][0],
            )  # fmt: skip
