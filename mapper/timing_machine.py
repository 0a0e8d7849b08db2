"""What the processes of the timing model share: clock, DRAM, tokens, command words, and the jobs engines have taken."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from dataflows import isa
from mapper.compile import Program
from mapper.kernel import Kernel, Process, Signal
from mapper.program import Job
from mapper.timing_bus import Dram

OPEN = {isa.Unit.LOAD: 5, isa.Unit.ACC: 2, isa.Unit.VECTOR: 2}
"""Most jobs an engine has taken and is not done with (LOAD: has not opened the last segment of). Others hold one."""


@dataclass(frozen=True)
class Span:
    """One job on the timeline: from the cycle its engine took it to the cycle its tokens are there."""

    unit: isa.Unit
    layer: int
    job: int
    start: int
    end: int
    note: str


@dataclass
class Prediction:
    """Cycles of a program; ``layer_end`` and the traffic are by schedule index."""

    cycles: int = 0
    layer_end: dict[int, int] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)
    dram_read_bytes: dict[int, int] = field(default_factory=dict)
    dram_write_bytes: dict[int, int] = field(default_factory=dict)


@dataclass
class Word:
    """A command word of one unit; ``time`` is when it is at the head of an empty queue."""

    waits: list[tuple[int, int]]  # (semaphore, count)
    job: Job | None = None
    time: float | None = None


def keeps(job: Job) -> bool:
    """Whether a VECTOR job keeps its words in the operand buffer."""
    return bool(job.registers["mode"].get("keep"))


def fills(job: Job) -> bool:
    """Whether a LOAD job makes its own bytes."""
    return bool(job.registers["destination"].get("fill"))


class Machine:
    """State of the accelerator as far as several units see it.

    Attributes
    ----------
    order : list of (Unit, Word), or None for a word of no unit
        The program.
    words : dict
        The same words by unit.
    opened : dict
        Jobs the front end has handed to an engine, and when; the engine removes them.
    open : dict
        Jobs that count against ``OPEN``.
    issuing : bool
        LOAD's address side is busy with a job.
    alone : bool
        The latest VECTOR job keeps its words, and runs alone.
    arrived, tokens, room, progress : Signal
        A word is in its queue; a semaphore has more tokens; a queue has room; an engine has moved on.
    """

    def __init__(self, program: Program, latency: int, bytes_per_cycle: float):
        self.program, self.cfg, self.bus = program, program.cfg, program.cfg.bus_bytes
        self.kernel = Kernel()
        self.dram = Dram(self.bus, latency, bytes_per_cycle)
        self.result = Prediction()
        self.semaphores = [0] * self.cfg.control.semaphores
        self.arrived, self.tokens, self.room, self.progress = (Signal(self.kernel) for _ in range(4))
        self.words: dict[isa.Unit, list[Word]] = {u: [] for u in isa.Unit}
        self.popped = dict.fromkeys(isa.Unit, 0)
        self.order = list(self._split())
        self.opened: dict[isa.Unit, deque[tuple[Job, float]]] = {u: deque() for u in isa.Unit}
        self.open: Counter[isa.Unit] = Counter()
        self.issuing = False
        self.alone = False

    def _split(self) -> Iterator[tuple[isa.Unit, Word] | None]:
        jobs = iter(self.program.jobs)
        for raw in (int(w) for w in self.program.words):
            op, unit = raw >> 60, raw >> 56 & 15
            if op in (isa.Op.HASH, isa.Op.END):
                yield None
                continue
            word = Word([])
            if op == isa.Op.WAIT:
                word.waits = [(raw >> 48 & 255, raw & 0xFFFF)]
            elif op == isa.Op.START:
                word.waits = [(s, 1) for s in range(16) if raw >> s & 1]
                word.job = next(jobs)
            self.words[isa.Unit(unit)].append(word)
            yield isa.Unit(unit), word

    def ready(self, unit: isa.Unit, job: Job) -> bool:
        """Whether a unit's engine takes a job."""
        if unit is isa.Unit.VECTOR and (self.alone or keeps(job)):
            return not self.open[unit]
        if unit not in OPEN:
            return not self.opened[unit]
        return self.open[unit] < OPEN[unit] and (unit is not isa.Unit.LOAD or fills(job) or not self.issuing)

    def take(self, unit: isa.Unit, job: Job) -> None:
        """The engine takes a job that it is ready for."""
        self.open[unit] += 1
        if unit is isa.Unit.VECTOR:
            self.alone = keeps(job)
        self.issuing |= unit is isa.Unit.LOAD and not fills(job)

    def close(self, unit: isa.Unit) -> None:
        """A job no longer counts against ``OPEN``."""
        self.open[unit] -= 1
        self.progress.fire()

    def close_at(self, unit: isa.Unit, time: float) -> None:
        """:meth:`close` at ``time``, without waiting for it."""

        def later() -> Process:
            yield time
            self.close(unit)

        self.kernel.schedule(self.kernel.now, later())

    def give(self, job: Job, taken: float, done: float) -> None:
        """Tokens of a job that was taken at ``taken`` and is done at ``done``; they can be taken one cycle later."""
        self.result.spans.append(Span(job.unit, job.layer, job.index, int(taken), int(done), job.note))

        def later() -> Process:
            yield done + 1
            for s in job.gives:
                self.semaphores[s] += 1
            self.tokens.fire()

        self.kernel.schedule(self.kernel.now, later())
