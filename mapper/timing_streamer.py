"""INPUT and WEIGHT engines in the timing model: when their words are asked for, and when they enter the array."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from dataflows import isa
from mapper.program import Job
from mapper.timing_bus import iterations
from mapper.timing_machine import Machine

STREAM = 5  # address of an operand word, to that word at the array
STREAM_DEPTH = 6  # operand words between address and array


def of_sparse(job: Job) -> bool:
    """Whether an INPUT or ACC job is for the sparse engine, not for the array."""
    return bool(job.registers.get("mode", {}).get("sparse"))


@dataclass(frozen=True)
class Stream:
    """A job of a streamer: its words, when it was taken, and the number of its last word among all words."""

    job: Job
    words: int
    taken: int
    last: int


@dataclass(frozen=True)
class Run:
    """Words that have entered the array.

    Attributes
    ----------
    ahead : int
        Words before them.
    start : int
        When the first one entered.
    words, burst, every : int
        How many they are, and how many at a time, one per cycle; cycles from one such burst to the next.
    """

    ahead: int
    start: int
    words: int
    burst: int
    every: int

    @property
    def behind(self) -> int:
        """Number of the first word behind them."""
        return self.ahead + self.words

    def time(self, number: int) -> int:
        """When word ``number`` entered."""
        burst, place = divmod(number - self.ahead, self.burst)
        return self.start + burst * self.every + place


class Streamer:
    """Engine of INPUT or WEIGHT.

    Attributes
    ----------
    jobs : deque of Stream
        Jobs whose words have not been asked for.
    entered : int
        When the latest word entered the array.
    """

    def __init__(self, machine: Machine, unit: isa.Unit, levels: tuple[str, ...]):
        self.machine, self.unit, self.levels = machine, unit, levels
        self.jobs: deque[Stream] = deque()
        self.entered = -1
        self._busy: Stream | None = None  # its last address is not known to be out
        self._free = 0  # when the last address of the job before was out
        self._total = 0  # words of all jobs so far
        self._runs: deque[Run] = deque([Run(0, 0, 0, 1, 1)])  # latest words in the array
        self._shared = unit is isa.Unit.INPUT and machine.cfg.sparse is not None

    def accepts(self, _job: Job) -> bool:
        """Whether the last address of the job before is out."""
        return self._busy is None and self._free <= self.machine.kernel.cycle

    def take(self, job: Job) -> None:
        """A job that it is ready for."""
        words = iterations(job, self.levels)
        self._total += words
        self._busy = Stream(job, words, self.machine.kernel.cycle, self._total - 1)
        self.jobs.append(self._busy)
        self._finish()
        self.machine.streamed.fire()

    def next(self, *, sparse: bool = False) -> bool:
        """Whether a job is there whose words go to the array, or to the sparse engine; those before it have entered."""
        if not self._shared or not self.jobs:
            return bool(self.jobs)
        stream = self.jobs[0]
        return of_sparse(stream.job) == sparse and stream.last - stream.words < self._runs[-1].behind

    def leave(self) -> None:
        """All words of the oldest job have entered the sparse engine."""
        self.jobs.popleft()
        self.machine.streamed.fire()

    def enter(self, words: int, start: int, burst: int = 0, every: int = 0) -> None:
        """Words enter the array from cycle ``start`` on: one per cycle, or only ``burst`` of them ``every`` so many."""
        run = Run(self._runs[-1].behind, start, words, burst or words, every)
        self.entered = run.time(run.behind - 1)
        self._runs.append(run)
        self._finish()
        while len(self._runs) > 2 and self._busy is None and self._runs[1].behind < self._total - STREAM_DEPTH:
            self._runs.popleft()
        if self._shared:
            self.machine.streamed.fire()

    def _finish(self) -> None:
        """The job is done when its last address is out: for that, the word so many before must have entered."""
        stream = self._busy
        if stream is None:
            return
        end, before = stream.taken + stream.words, stream.last - STREAM_DEPTH
        if before >= 0:
            if before >= self._runs[-1].behind:
                return
            end = max(end, next(run for run in self._runs if run.behind > before).time(before) + 1)
        self._busy, self._free = None, end
        self.machine.at(end, self.machine.progress[self.unit])
        self.machine.give(stream.job, stream.taken, end + 1)
