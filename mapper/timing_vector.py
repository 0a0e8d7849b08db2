"""The VECTOR unit in the timing model: one read per cycle, words that leave in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from dataflows import isa
from dataflows.config import Config
from dataflows.formats import ceil_pow2
from mapper.kernel import Process, Signal
from mapper.program import Job
from mapper.timing_machine import Machine
from mapper.timing_turned import Pixels, Turner
from mapper.timing_vector_job import Words, keeps

LANES = 19  # last read of a word, to that word at the output
TABLES = 2  # the same more where tables are behind the lanes
WINDOW = 4  # the same more behind a window, and before others may follow it
TURNED = 3  # last pixel out of the turner, counted as if it were read, to the last cycle in which operands are not
JOBS = 2  # jobs that are taken and not done
FREE = 2  # last word of a job out, to its end as others see it


def latency(cfg: Config) -> int:
    """Cycles from the last read of a word to that word at the output."""
    return LANES + (TABLES if cfg.attention else 0)


class Lanes:
    """Engine of VECTOR: reads, until words wait in the queue behind it.

    Attributes
    ----------
    arrivals : deque of cycles
        When words are at the output, but for those before them. Dropped ones count.
    jobs : deque of Words
        Jobs with words that have not left.
    wake : Signal
        There are more arrivals.
    ended : callable or None
        Is told of each job when its last word leaves.
    """

    ended: Callable[[Job, int], None] | None = None

    def __init__(self, machine: Machine):
        self.machine = machine
        self.progress = machine.progress[isa.Unit.VECTOR]
        self.arrivals: deque[int] = deque()
        self._wanted: deque[bool] = deque()  # for each arrival whether it is a word; else it is dropped
        self._turner = Turner(machine.cfg.lanes)
        self._looking = -1  # when the turner is looked at again
        self._kept: deque[int] = deque()  # arrivals that go to the operand buffer
        self.jobs: deque[Words] = deque()
        self._reading: deque[Words] = deque()
        self._latency = latency(machine.cfg)
        longest = self._latency + (WINDOW if machine.cfg.vector else 0)
        if machine.cfg.dataflow.output_turned_late:
            longest += 2 * machine.cfg.lanes
        self._room = ceil_pow2(longest + 1) + 1  # words let in
        self._left: deque[int] = deque()  # when words left that have not made room yet
        self._reads = 0  # up to the next word, which waits for room
        self._time = self._window_end = -1  # last read; last read for a window
        self._gone = -1  # when the last word left
        self._open = 0
        self._alone = False  # the latest job keeps its words
        self.wake = Signal(machine.kernel)  # more arrivals

    def accepts(self, job: Job) -> bool:
        """Whether all is read of the job before, and the one before that is done; jobs that keep words run alone."""
        most = 1 if self._alone or keeps(job) else JOBS
        return self._open < most and not self._reading and self._time <= self.machine.kernel.cycle

    def take(self, job: Job) -> None:
        """A job that it is ready for."""
        now = self.machine.kernel.cycle
        self._open += 1
        words = Words(job, now, self.machine.cfg)
        self._time = max(self._time, now)
        if not words.window:
            self._time = max(self._time, self._window_end + WINDOW)
        self.jobs.append(words)
        self._reading.append(words)
        self._alone = words.keeps
        if words.keeps:
            self.machine.kernel.schedule(now, self._keep(words))
        self.read()
        self.wake.fire()

    def read(self) -> None:
        """Make all reads that nothing holds up, as far as that is known."""
        while self._reading and self._read(self._reading[0]):
            words = self._reading.popleft()
            if words.window:
                self._window_end = self._time
            self.machine.at(self._time, self.progress)
        if self._turner.alone:
            self._settle()
        self._drop()

    def _read(self, words: Words) -> bool:
        """Reads of a job; False if the next one waits for room."""
        left, arrivals = self._left, self._kept if words.keeps else self.arrivals
        latency = self._latency + (WINDOW if words.window else 0)
        if words.turn is None and self.machine.cfg.dataflow.output_turned_late:
            self._pass_turner()
        time, room, reads = self._time, self._room, self._reads or next(words.reads, 0)
        while reads and (room or left):
            if room:
                room -= 1
            else:
                time = max(time, left.popleft())
            time += reads
            if words.turn is None:
                arrivals.append(time + latency)
            else:
                self._out(self._turner.read(time, words.turn))
            reads = next(words.reads, 0)
        self._time, self._room, self._reads = time, room, reads
        self._wanted.extend([True] * (len(self.arrivals) - len(self._wanted)))
        if not reads and words.silent:
            self._wanted[-1] = False
        return not reads

    # -- turned accumulators -------------------------------------------------------------------

    def _out(self, pixels: Pixels) -> None:
        """Pixels leave the turner."""
        for time, wanted in pixels:
            self.arrivals.append(time + self._latency)
            self._wanted.append(wanted)

    def _pass_turner(self) -> None:
        """Operands are not read before the turner is empty: they would overtake what is inside."""
        self._out(self._turner.settle(self._turner.next + self._turner.lanes))
        self._time = max(self._time, self._turner.last + TURNED)

    def _settle(self) -> None:
        """Pixels that no read can hold up any more leave the turner; the next one is looked at in its time."""
        kernel = self.machine.kernel
        self._out(self._turner.settle(kernel.cycle + 1))
        self.wake.fire()
        if self._turner.alone and self._looking < self._turner.next - 1:
            self._looking = self._turner.next - 1

            def later() -> Process:
                self.read()
                return
                yield

            kernel.schedule(self._looking, later())

    # -- leaving -------------------------------------------------------------------------------

    def offered(self, *, rows: bool = False) -> int | None:
        """From when on the next word is at the output, if that is known and it goes to STORE, or to the row engine."""
        return self.arrivals[0] if self.arrivals and self.jobs[0].rows == rows else None

    def next_word(self) -> tuple[int, int]:
        """Bytes of the next word, and its job."""
        return self.jobs[0].next_bytes(), self.jobs[0].job.index

    def pop(self, time: int) -> None:
        """The next word is taken at ``time``."""
        self.arrivals.popleft()
        self.leave(time)
        self.read()

    def leave(self, time: int) -> None:
        """A word leaves at ``time``."""
        if not self.jobs[0].keeps:
            self._wanted.popleft()
        self._go(time)
        self._drop()

    def _go(self, time: int) -> None:
        """A word, or what is dropped, leaves."""
        self._gone = time
        self._left.append(time)
        self.jobs[0].entries -= 1
        if not self.jobs[0].entries:
            self._end()

    def _drop(self) -> None:
        """What is no word leaves by itself."""
        while self._wanted and not self._wanted[0]:
            self._wanted.popleft()
            self._go(max(self._gone + 1, self.arrivals.popleft()))
        if self.arrivals:
            self.arrivals[0] = max(self.arrivals[0], self._gone + 1)

    def _keep(self, words: Words) -> Process:
        """Words go to the operand buffer, where LOAD does not write in that cycle."""
        for _ in range(words.count):
            time = max(self._kept.popleft(), self._gone + 1)
            yield time
            while time in self.machine.operand_writes:
                time += 1
                yield time
            words.next_bytes()
            self.leave(time)
            self.read()

    def _end(self) -> None:
        """The last word of the oldest job leaves."""
        words, time = self.jobs.popleft(), self._gone
        if self.ended:
            self.ended(words.job, time)
        self.machine.give(words.job, words.taken, time + 1)

        def closed() -> Process:
            self._open -= 1
            self.progress.fire()
            return
            yield

        self.machine.kernel.schedule(time + FREE, closed())
