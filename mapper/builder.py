"""Jobs in program order, with dependencies found from the addresses they touch.

Every job tells which bytes (or words) of which memory it reads and writes.  A scoreboard derives the
dependencies (read after write, write after read, write after write) and each one that crosses units becomes
tokens of the semaphore that belongs to that ordered pair of units.  So double buffering, rings and
layer-to-layer overlap need no protocol of their own, and a wrong one cannot be written.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dataflows import isa
from dataflows.config import Config
from mapper.program import Job, Registers

CHANNELS = (
    (isa.Unit.LOAD, isa.Unit.INPUT),
    (isa.Unit.INPUT, isa.Unit.LOAD),
    (isa.Unit.LOAD, isa.Unit.WEIGHT),
    (isa.Unit.WEIGHT, isa.Unit.LOAD),
    (isa.Unit.LOAD, isa.Unit.VECTOR),
    (isa.Unit.VECTOR, isa.Unit.LOAD),
    (isa.Unit.ACC, isa.Unit.VECTOR),
    (isa.Unit.VECTOR, isa.Unit.ACC),
    (isa.Unit.STORE, isa.Unit.LOAD),
    (isa.Unit.LOAD, isa.Unit.STORE),
)
"""Semaphore number = position: (unit that gives, unit that takes)."""


@dataclass(frozen=True)
class Access:
    """Half-open interval of one memory, read or written by a job."""

    memory: str
    start: int
    end: int
    write: bool = False


@dataclass
class _Span:
    start: int
    end: int
    writer: int | None = None
    readers: tuple[int, ...] = ()


@dataclass
class Scoreboard:
    """Who wrote and who has since read every interval of every memory."""

    spans: dict[str, list[_Span]] = field(default_factory=dict)

    def _cut(self, memory: str, start: int, end: int) -> list[_Span]:
        """Spans that tile exactly [start, end)."""
        old, new, inside, position = self.spans.get(memory, []), [], [], start
        for span in old:
            if span.end <= start or span.start >= end:
                new.append(span)
                continue
            for a, b in ((span.start, start), (max(span.start, start), min(span.end, end)), (end, span.end)):
                if a < b:
                    piece = _Span(a, b, span.writer, span.readers)
                    new.append(piece)
                    if start <= a and b <= end:
                        inside.append(piece)
        for span in sorted(inside, key=lambda s: s.start):
            if position < span.start:
                new.append(_Span(position, span.start))
            position = span.end
        if position < end:
            new.append(_Span(position, end))
        new.sort(key=lambda s: s.start)
        self.spans[memory] = new
        return [s for s in new if start <= s.start and s.end <= end]

    def touch(self, job: int, access: Access) -> set[int]:
        """Record an access; returns the jobs it must come after."""
        before: set[int] = set()
        spans = self._cut(access.memory, access.start, access.end)
        for span in spans:
            if access.write:
                before.update(span.readers)
                if span.writer is not None:
                    before.add(span.writer)
            else:
                if span.writer is not None:
                    before.add(span.writer)
                span.readers = (*span.readers, job)
        if access.write and spans:
            kept = [s for s in self.spans[access.memory] if not (access.start <= s.start and s.end <= access.end)]
            kept.append(_Span(access.start, access.end, job))
            kept.sort(key=lambda s: s.start)
            self.spans[access.memory] = kept
        return before


class Builder:
    """Collects jobs and turns their dependencies into semaphore traffic."""

    def __init__(self, cfg: Config):
        self.cfg = cfg
        self.jobs: list[Job] = []
        self._board = Scoreboard()
        self._needs: list[set[int]] = []

    def add(
        self, unit: isa.Unit, registers: Registers, accesses: list[Access], *, layer: int, note: str, mark: bool = False
    ) -> Job:
        """Append a job; the order of calls is the program's order."""
        job = Job(unit, registers, layer, note, mark, index=len(self.jobs))
        before: set[int] = set()
        for access in accesses:
            before |= self._board.touch(job.index, access)
        before.discard(job.index)
        self.jobs.append(job)
        self._needs.append(before)
        return job

    def finish(self) -> list[Job]:
        """Assign waits and gives. A unit runs its jobs in order, so only the last one needed of each unit counts."""
        number = {pair: i for i, pair in enumerate(CHANNELS)}
        wanted: list[dict[isa.Unit, int]] = []
        for job, needs in zip(self.jobs, self._needs, strict=True):
            latest: dict[isa.Unit, int] = {}
            for other in needs:
                unit = self.jobs[other].unit
                if unit is not job.unit:
                    latest[unit] = max(other, latest.get(unit, -1))
            wanted.append(latest)
        reached: dict[tuple[isa.Unit, isa.Unit], int] = {}
        for job, latest in zip(self.jobs, wanted, strict=True):
            for unit, other in list(latest.items()):
                pair = (unit, job.unit)
                if other <= reached.get(pair, -1):
                    del latest[unit]  # an earlier job of this unit already waited for it
                else:
                    reached[pair] = other
                    self.jobs[other].gives.add(number[pair])
        given: dict[int, int] = {}
        position: dict[tuple[int, int], int] = {}
        for job in self.jobs:
            for semaphore in job.gives:
                given[semaphore] = given.get(semaphore, 0) + 1
                position[job.index, semaphore] = given[semaphore]
        taken: dict[int, int] = {}
        for job, latest in zip(self.jobs, wanted, strict=True):
            for unit, other in latest.items():
                semaphore = number[unit, job.unit]
                need = position[other, semaphore]
                job.waits.append((semaphore, need - taken.get(semaphore, 0)))
                taken[semaphore] = need
        return self.jobs
