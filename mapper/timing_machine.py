"""What the processes of the timing model share: clock, DRAM, tokens, command words, and the engines of the units."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

from dataflows import isa
from mapper.compile import Program
from mapper.kernel import Kernel, Process, Signal
from mapper.program import Job
from mapper.timing_bus import Dram

COUNTED = 1
"""Tokens given in a cycle can be taken so many cycles later."""


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
    """Cycles of a program; ``layer_end``, traffic, stalls and ``array_busy`` are by schedule index.

    A layer's cycles, from the end of the one before to its own, are those in which the array works, and its stalls:
    cycles by :data:`~mapper.timing_causes.REASONS`. What the array does for the next layer meanwhile counts here too.
    """

    cycles: int = 0
    layer_end: dict[int, int] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)
    dram_read_bytes: dict[int, int] = field(default_factory=dict)
    dram_write_bytes: dict[int, int] = field(default_factory=dict)
    stalls: dict[int, dict[str, int]] = field(default_factory=dict)
    array_busy: dict[int, int] = field(default_factory=dict)

    def append(self, other: Prediction) -> None:
        """Another program runs when this one is through."""
        self.layer_end |= {index: self.cycles + end for index, end in other.layer_end.items()}
        self.spans += [replace(s, start=s.start + self.cycles, end=s.end + self.cycles) for s in other.spans]
        for name in ("dram_read_bytes", "dram_write_bytes", "stalls", "array_busy"):
            getattr(self, name).update(getattr(other, name))
        self.cycles += other.cycles


@dataclass(frozen=True)
class Cause:
    """Why something was not done before cycle ``time``: another job, or (None) words of the program were not there."""

    time: int
    job: int | None


@dataclass(frozen=True)
class Decision:
    """Whether to execute what is predicated: from when on the units know it, and of which job of the row engine."""

    time: int
    execute: bool
    job: int


@dataclass
class Word:
    """A command word of one unit; ``time`` is when it is at the head of an empty queue, ``cause`` why not before."""

    waits: list[tuple[int, int]]  # (semaphore, count)
    job: Job | None = None
    time: int | None = None
    cause: Cause = Cause(0, None)


class Engine(Protocol):
    """What a front end hands its jobs to. An engine fires the unit's ``progress`` when it may be ready again."""

    def accepts(self, job: Job) -> bool:
        """Whether it takes a job in this cycle."""

    def take(self, job: Job) -> None:
        """It takes a job that it is ready for."""


class Machine:
    """State of the accelerator as far as several units see it.

    Times are cycles since the start. What an engine finds out it may find out in advance; what others do about it
    happens in its cycle, through :meth:`at`.

    Attributes
    ----------
    position : int
        Tokens before those of the run.
    order : list of (Unit, Word), or None for a word of no unit
        The program.
    words : dict
        The same words by unit.
    popped : dict
        When the words of a unit have left its queue.
    begun : dict
        The last job of the unit when each of them did, if any.
    engines : dict
        By unit.
    arrived, tokens, room, progress : dict of Signal, by unit
        A word is on its way through the queue; a semaphore the unit waits for has more tokens; a word has left the
        queue; the engine has moved on.
    streamed : Signal
        INPUT, WEIGHT or ACC has taken a job.
    operand_writes : set of cycles
        When LOAD writes to the operand buffer.
    given, causes : dict
        The last job that gave a token to a unit; why each job was not taken before. By index.
    sources : dict
        Of STORE jobs and those of the row engine: the job that their last words came from. By index.
    busy : list
        Intervals in which the array works: first cycle, end, number of its first job.
    summed : int
        Jobs of the array whose sums are complete.
    decisions : list of Decision
    decided : Signal
        There is another.
    undone, finished : dict
        Jobs of a unit that its engine has taken and that are not done; told when there are fewer. Only where jobs are
        predicated.
    walks : list
        Intervals in which the sparse engine works: first cycle, end, number of the SPARSE job, and how much longer that
        is than its entries shared by all PEs alike.
    """

    def __init__(
        self, program: Program, latency: int, bytes_per_cycle: float, position: int = 0, decisions: Iterable[bool] = ()
    ):
        self.program, self.cfg, self.bus = program, program.cfg, program.cfg.bus_bytes
        self.kernel, self.position = Kernel(), position
        self.dram = Dram(self.bus, latency, bytes_per_cycle)
        self.result = Prediction()
        self.idle = 0  # first cycle in which no unit is busy
        self.semaphores = [0] * self.cfg.control.semaphores
        self.words: dict[isa.Unit, list[Word]] = {u: [] for u in isa.units(program.cfg)}
        self.popped: dict[isa.Unit, list[int]] = {u: [] for u in isa.units(program.cfg)}
        self.order = list(self._split())
        self.begun: dict[isa.Unit, list[int | None]] = {u: [] for u in isa.units(program.cfg)}
        self.engines: dict[isa.Unit, Engine] = {}
        self.arrived, self.tokens, self.room, self.progress = (
            {u: Signal(self.kernel) for u in isa.units(program.cfg)} for _ in range(4)
        )
        self.streamed = Signal(self.kernel)
        self.operand_writes: set[int] = set()
        self.given: dict[isa.Unit, int] = {}
        self.causes: dict[int, Cause] = {}
        self.sources: dict[int, int] = {}
        self.busy: list[tuple[int, int, int]] = []
        self.summed = 0
        self.walks: list[tuple[int, int, int, int]] = []
        self.decisions: list[Decision] = []
        self.decided = Signal(self.kernel)
        self.undone = dict.fromkeys(isa.units(program.cfg), 0)
        self.finished = {unit: Signal(self.kernel) for unit in isa.units(program.cfg)}
        self._wanted = iter(decisions)
        self._predicated = any(job.predicated for job in program.jobs)
        self._taker = {s: unit for unit, words in self.words.items() for word in words for s, _ in word.waits}

    def _split(self) -> Iterator[tuple[isa.Unit, Word] | None]:
        jobs = iter(self.program.jobs)
        for raw in self.program.words.tolist():
            op = raw >> 60
            if op in (isa.Op.HASH, isa.Op.END):
                yield None
                continue
            unit, word = isa.Unit(raw >> 56 & 15), Word([])
            if op == isa.Op.WAIT:
                word.waits = [(raw >> 48 & 255, raw & 0xFFFF)]
            elif op == isa.Op.START:
                word.waits = [(s, 1) for s in range(16) if raw >> s & 1]
                word.job = next(jobs)
            self.words[unit].append(word)
            yield unit, word

    def at(self, time: int, signal: Signal) -> None:
        """Fire a signal at ``time``, without waiting for it."""

        def later() -> Process:
            signal.fire()
            return
            yield

        self.kernel.schedule(time, later())

    def work(self, begin: int, cycles: int) -> None:
        """The array works for the first job whose sums are not complete: words enter it, or steps are made."""
        if self.busy and self.busy[-1][1] == begin:
            first, _, number = self.busy.pop()
            self.busy.append((first, begin + cycles, number))
        else:
            self.busy.append((begin, begin + cycles, self.summed))

    def give(self, job: Job, taken: int, done: int) -> None:
        """Tokens of a job that was taken at ``taken`` and is done at ``done``."""
        self.result.spans.append(Span(job.unit, job.layer, job.index, taken, done, job.note))
        if self._predicated:
            self.kernel.schedule(done + COUNTED, self._finish(job.unit))
        self.tell(job, job.index, done)
        if job.unit is not isa.Unit.STORE:  # which knows itself when it is not busy
            self.idle = max(self.idle, done + 1)

    def _finish(self, unit: isa.Unit) -> Process:
        """A job of a unit is done."""
        self.undone[unit] -= 1
        self.finished[unit].fire()
        return
        yield

    def decide(self, job: Job, time: int) -> None:
        """A job of the row engine decides; the units know it at ``time``. What is not told is to be executed."""
        self.decisions.append(Decision(time, next(self._wanted, True), job.index))
        self.decided.fire()

    def tell(self, job: Job, cause: int, done: int) -> None:
        """Tokens of a job that is done, or is skipped; ``cause`` is the job that others then waited for."""
        if not job.gives:
            return

        def later() -> Process:
            for s in job.gives:
                self.semaphores[s] += 1
            for unit in {self._taker[s] for s in job.gives if s in self._taker}:
                self.given[unit] = cause
                self.tokens[unit].fire()
            return
            yield

        self.kernel.schedule(done + COUNTED, later())
