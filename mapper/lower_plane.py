"""A convolution on the array over the output plane as steps: loads, array jobs, drains."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from dataflows import isa
from dataflows.network import Conv
from mapper import loads
from mapper.context import Context
from mapper.lowering import Lowering
from mapper.pipeline import Load, Step
from mapper.plane_jobs import PlaneRun, array_jobs, packed_weights, rectangles
from mapper.plane_loads import load_tile
from mapper.plane_plan import Batch, Chunk, Part, PlanePlan
from mapper.requantization import Requantization
from mapper.turned import TurnedDrain, turned_drain


@dataclass(frozen=True)
class Lanes:
    """At most ``lanes`` output channels of a batch, drained together, and their parameter entry."""

    first: int
    count: int
    entry: int


class PlaneLowering(Lowering[Conv]):
    """Steps of one convolution.

    Parameters
    ----------
    layer : Conv
        The layer.
    index : int
        Number under which its jobs are marked.
    plan : PlanePlan
        How it runs.
    """

    def __init__(self, context: Context, layer: Conv, index: int, plan: PlanePlan):
        super().__init__(context, layer, index)
        self.plan = plan
        self.blocks = self._blocks()
        self.first_bank = context.bank
        self._parts = [self._input_load(0, plan.batches[0], plan.parts(plan.batches[0])[0])]  # the last two

    @property
    def drains(self) -> int:
        """Accumulator banks used, one after the other."""
        return len(self.plan.tiles) * len(self.plan.batches)

    def steps(self) -> Iterator[Step]:
        """All steps in program order."""
        for t in range(len(self.plan.tiles)):
            for batch in self.plan.batches:
                yield from self._accumulate(t, batch)
                yield from self._drain(t, batch)

    def _number(self, t: int, batch: Batch) -> int:
        """Drains before that of a tile and batch."""
        return t * len(self.plan.batches) + batch.number

    def _bank(self, t: int, batch: Batch) -> int:
        """Accumulator bank of a tile and batch."""
        return (self.first_bank + self._number(t, batch)) % 2

    # -- array ------------------------------------------------------------------------------------

    def _accumulate(self, t: int, batch: Batch) -> Iterator[Step]:
        """One step per job of the array.

        Loads of a tile are many commands, which fill the queue of LOAD until their memory is free. Not to stand in the
        way of the array's commands they come one part later: the inputs of the part before stay as long as this
        one's, where there is room.
        """
        for part in self.plan.parts(batch):
            inputs = self._input_load(t, batch, part)
            if inputs.key != self._parts[-1].key:
                self._parts = [self._parts[-1], inputs]
            stay = 3 * inputs.size <= self.cfg.memory.input_bytes and self._parts[0].size <= inputs.size
            for chunk in self.plan.chunks(batch):
                needed = (self._weight_load(t, batch, part, chunk), inputs, *(self._parts[:1] if stay else ()))
                yield Step(self.index, needed, partial(self._run, t, batch, part, chunk))

    def _run(self, t: int, batch: Batch, part: Part, chunk: Chunk, at: list[int]) -> None:
        """Array jobs, given where weights and inputs are."""
        weight_at, input_at = at[:2]
        bank = self._bank(t, batch)
        run = PlaneRun(self.plan, self.plan.tiles[t], batch, part, chunk, input_at, weight_at, bank)
        array_jobs(self.context.builder, run, self.index)

    @cached_property
    def _weight_offset(self) -> int:
        """Constant-region offset of the layer's weights."""
        return self.context.constants.add(packed_weights(self.plan))

    def _weight_load(self, t: int, batch: Batch, part: Part, chunk: Chunk) -> Load:
        """Weights of one job."""
        p = self.plan
        inputs = p.group_inputs if batch.groups > 1 else part.channels
        before = p.weight_bytes(batch.first, p.group_inputs) + p.weight_bytes(batch.count, part.first)
        inside = before + p.weight_bytes(chunk.first, inputs)
        size = p.weight_bytes(chunk.count, inputs)
        key = (self.index, "weight", inside, 0 if p.weights_resident else t)
        first = batch.first + chunk.first
        note = f"weights of channels {first}..{first + chunk.count - 1}"

        def emit(address: int) -> None:
            offset = self._weight_offset + inside
            loads.constant(self.context, isa.Target.WEIGHT, address, offset, size, self.index, note)

        return Load(key, "weight", size, emit, reserve=p.layer_bytes if p.weights_resident and not inside else 0)

    def _input_load(self, t: int, batch: Batch, part: Part) -> Load:
        """Inputs of a part: for all batches that need them, unless slices of them take turns."""
        p, first = self.plan, batch.source + part.first
        key: Hashable = (self.index, "input", t, first)
        if p.sliced:
            key = (self.index, "input", t, first, batch.number)

        def emit(address: int) -> None:
            load_tile(self.context, p, p.tiles[t], first, part.channels, address, self.index)

        return Load(key, "input", part.channels * p.channel_bytes, emit, layer_bound=True)

    # -- epilogue ---------------------------------------------------------------------------------

    def _blocks(self) -> dict[Batch, list[Lanes]]:
        """What each batch is drained in, with parameter entries in the same order."""
        lanes, entry = self.cfg.lanes, 0
        blocks: dict[Batch, list[Lanes]] = {}
        for batch in self.plan.batches:
            blocks[batch] = []
            for place in range(0, batch.count, lanes):
                blocks[batch].append(Lanes(batch.first + place, min(lanes, batch.count - place), entry))
                entry += 1
        return blocks

    @cached_property
    def _parameter_offset(self) -> int:
        """Constant-region offset of the layer's parameter entries."""
        requantization = Requantization.of(self.layer, self.source, self.target)
        blocks = [block for batch in self.plan.batches for block in self.blocks[batch]]
        entries = [requantization.entry(self.cfg, block.first, block.count) for block in blocks]
        return self.context.constants.add(np.concatenate(entries))

    @cached_property
    def _entries(self) -> int:
        """Parameter entries of the layer."""
        return sum(map(len, self.blocks.values()))

    @property
    def _parameters_stay(self) -> bool:
        """Whether all entries are loaded once, leaving as much room for the next layer's."""
        return 2 * self._entries <= self.cfg.param_entries

    def _drain(self, t: int, batch: Batch) -> Iterator[Step]:
        """Accumulators of a batch to DRAM: a step for all blocks whose parameters are on chip together."""
        blocks = self.blocks[batch]
        size = len(blocks) if self._parameters_stay else max(1, self.cfg.param_entries // 2)
        for start in range(0, len(blocks), size):
            part = blocks[start : start + size]
            first, count, key = 0, self._entries, (self.index, "param", 0, 0)
            if not self._parameters_stay:
                first, count, key = part[0].entry, len(part), (self.index, "param", self._number(t, batch), start)
            offset = self._parameter_offset + first * self.cfg.param_entry_bytes
            needed = loads.parameter_load(self.context, key, offset, count, self.index)
            yield Step(self.index, (needed,), partial(self._store, t, batch, part, first, count))

    def _store(self, t: int, batch: Batch, blocks: list[Lanes], first: int, count: int, at: list[int]) -> None:
        """VECTOR and STORE jobs of some blocks, given where ``count`` parameter entries from ``first`` are."""
        cfg, s, tile = self.cfg, self.plan.shape, self.plan.tiles[t]
        entry = at[0] // cfg.param_entry_bytes - first
        pairs = [(block, area) for block in blocks for area in rectangles(self.plan, tile)]
        last = (t, batch) == (len(self.plan.tiles) - 1, self.plan.batches[-1]) and blocks[-1].entry == self._entries - 1
        for block, area in pairs:
            channels = f"channels {block.first}..{block.first + block.count - 1}"
            turned_drain(self.context, TurnedDrain(
                bank=self._bank(t, batch), address=(block.first - batch.first) * cfg.array.rows + area.word,
                step=cfg.array.rows, words=[(area.rows, 1)], pixels=(0, area.pixels), channels=block.count,
                entry=entry + block.entry, param_at=at[0], entries=count, output=self.target.name,
                start=area.start * s.out_channels + block.first,
                pitches=[s.out_channels, area.row_pitch * s.out_channels],
                requantize={"zero": self.target.zero, "low": self.layer.low, "high": self.layer.high},
                index=self.index, note=f"{self.layer.name}: rows {tile.rows[0]}..{tile.rows[1] - 1}, {channels}",
                mark=last and (block, area) == pairs[-1],
            ))  # fmt: skip
