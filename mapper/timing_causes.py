"""What the array waits for in each cycle in which nothing enters it: the critical path, walked back from its next word.

Work that the array waits for is charged to the unit that does it; what that work waited for, to the unit before, and so
on back to the cycle in which the array fell idle.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dataflows import isa
from mapper.program import Job
from mapper.timing_bus import iterations
from mapper.timing_machine import Cause
from mapper.timing_streamer import of_sparse
from mapper.timing_vector import LANES
from mapper.timing_vector_job import ACC_LEVELS, OPERAND_LEVELS, TAP_LEVELS, of_rows

REASONS = ("dram", "weights", "write_back", "vector", "rows", "commands", "fill", "imbalance")
"""Keys of a layer's stalls.

``dram``: LOAD of activations or operands, keys and values among them; ``weights``: LOAD of weights or parameters;
``write_back``: results that are on their way out, and VECTOR while these hold it up; ``vector``: VECTOR; ``rows``: the
row engine, and VECTOR while that holds it up; ``commands``: program words; ``fill``: the array's own pipelines, that is
first words, last sums, and tiles of fewer words than loading the next one takes;
``imbalance``: PEs of the sparse engine wait for those with more entries, or for an activation that is not zero. Else it
counts like the array: it works from the first activation of a job to its last entry.
"""

WEIGHTS = (
    isa.Target.WEIGHT, isa.Target.PARAM, isa.Target.ENTRIES, isa.Target.POINTERS, isa.Target.CODEBOOK,
    isa.Target.TABLE, isa.Target.GAIN,
)  # fmt: skip
"""Targets of what belongs to a layer's weights."""

OPERANDS = (isa.Unit.INPUT, isa.Unit.WEIGHT, isa.Unit.ACC, isa.Unit.SPARSE)
"""Units whose jobs the array or the sparse engine need to work."""

Interval = tuple[int, int, str]
"""First cycle, the one behind the last, reason."""

Busy = tuple[int, int, int]
"""First cycle, the one behind the last, number of the job among those of the array or of the sparse engine."""

Walked = tuple[int, int, int, int]
"""The same of the sparse engine, and how many cycles longer that is than its entries shared by all PEs alike."""


@dataclass(frozen=True)
class Taken:
    """A job: from when on its engine worked, and when it was done."""

    job: Job
    start: int
    end: int
    cause: Cause

    @property
    def reason(self) -> str:
        """What waiting for it is called."""
        match self.job.unit:
            case isa.Unit.LOAD:
                target = self.job.registers["destination"].get("target", 0)
                region = self.job.registers.get("source", {}).get("region", isa.Region.CONSTANT)
                return "weights" if target in WEIGHTS and region == isa.Region.CONSTANT else "dram"
            case isa.Unit.VECTOR:
                return "vector"
            case isa.Unit.STORE:
                return "write_back"
            case isa.Unit.ROWS:
                return "rows"
        return "fill"

    @property
    def least(self) -> int:
        """Cycles that a VECTOR job takes if nothing holds it up."""
        from_operand = self.job.registers["mode"].get("from_operand")
        return LANES + iterations(self.job, OPERAND_LEVELS + TAP_LEVELS if from_operand else ACC_LEVELS)


class Causes:
    """Reasons for every idle cycle of the array.

    Parameters
    ----------
    taken : mapping
        All jobs, by index.
    sources : mapping
        Of STORE jobs and those of the row engine: the job that their last words came from.
    """

    def __init__(self, taken: Mapping[int, Taken], sources: Mapping[int, int]):
        self.taken, self._source = taken, sources
        self._needed: dict[bool, dict[isa.Unit, list[int]]] = {False: {}, True: {}}  # for array, for sparse engine
        for index in sorted(taken):
            job = taken[index].job
            if job.unit in OPERANDS:
                sparse = job.unit is isa.Unit.SPARSE or of_sparse(job)
                self._needed[sparse].setdefault(job.unit, []).append(index)
        self._needed[True].pop(isa.Unit.ACC, None)  # it is needed for a job's end only

    def all(self, busy: Sequence[Busy], cycles: int, walks: Sequence[Walked] = ()) -> Iterator[Interval]:
        """Reasons for what lies between the ``busy`` intervals of the array and the ``walks`` of the sparse engine.

        How much longer these are than they had to be counts, too, where nothing else works in their last cycles.
        """
        before = 0
        both = [(*interval, 0, False) for interval in busy] + [(*interval, True) for interval in walks]
        for begin, end, number, longer, sparse in sorted(both):
            if before < begin:
                yield from self._gap(before, begin, number, sparse)
            if longer and before < end:
                yield max(before, end - longer), end, "imbalance"
            before = max(before, end)
        if before < cycles and self.taken:
            last = max(self.taken, key=lambda index: self.taken[index].end)
            yield from self._work(before, cycles, last)

    def _gap(self, first: int, end: int, number: int, sparse: bool) -> Iterator[Interval]:
        """Job ``number`` is waited for; what comes after the jobs of all units it needs are taken is the pipeline."""
        jobs = (indices[number] for indices in self._needed[sparse].values())
        late = max(jobs, key=lambda index: self.taken[index].start)
        start = max(self.taken[late].start, first)
        yield start, end, "fill"
        yield from self._wait(first, start, late)

    def _wait(self, first: int, end: int, index: int) -> Iterator[Interval]:
        """Why a job was not taken before ``end``."""
        cause = self.taken[index].cause
        time = min(end, first if cause.job is None else max(first, cause.time))
        yield time, end, "commands"
        if cause.job is not None:
            yield from self._work(first, time, cause.job)

    def _work(self, first: int, end: int, index: int) -> Iterator[Interval]:
        """A job that something waits for until ``end``, and all that was before it, back to ``first``."""
        while first < end:
            taken = self.taken[index]
            start = min(end, max(first, taken.start))
            source = self._source.get(index)
            if source is not None and start < self.taken[source].end < end:
                yield self.taken[source].end, end, taken.reason
                index, end = source, self.taken[source].end
                continue
            held = taken.end - taken.start - taken.least if taken.job.unit is isa.Unit.VECTOR else 0
            middle = max(start, end - max(0, held))
            yield middle, end, "rows" if of_rows(taken.job) else "write_back"
            yield start, middle, taken.reason
            cause = taken.cause
            end = min(start, first if cause.job is None else max(first, cause.time))
            yield end, start, "commands"
            if cause.job is None:
                return
            index = cause.job


def by_layer(intervals: Iterator[Interval], ends: Sequence[int]) -> list[dict[str, int]]:
    """Cycles by reason for each of the layers, the first of which begins in cycle 0 and which end at ``ends``."""
    found = [dict.fromkeys(REASONS, 0) for _ in ends]
    for first, end, reason in intervals:
        layer = bisect_right(ends, first)
        while first < end:
            behind = min(end, ends[layer])
            found[layer][reason] += behind - first
            first, layer = behind, layer + 1
    return found
