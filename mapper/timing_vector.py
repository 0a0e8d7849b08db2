"""The VECTOR unit in the timing model: one read per cycle, words that leave in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import pairwise

from dataflows import isa
from dataflows.config import Config, ceil_pow2
from mapper.kernel import Process, Signal
from mapper.program import Job
from mapper.timing_bus import iterations
from mapper.timing_machine import Machine

LANES = 15  # last read of a word, to that word at the output
WINDOW = 4  # the same more behind a window, and before others may follow it
WINDOW_SIDE = 3  # rows and columns of a window
JOBS = 2  # jobs that are taken and not done
FREE = 2  # last word of a job out, to its end as others see it
ACC_LEVELS = ("acc_block", "acc_x", "acc_y", "acc_image")
OPERAND_LEVELS = ("operand_block", "operand_x", "operand_y", "operand_image")
TAP_LEVELS = ("operand_tap_a", "operand_tap_b")


def keeps(job: Job) -> bool:
    """Whether a VECTOR job keeps its words in the operand buffer."""
    return bool(job.registers["mode"].get("keep"))


class Words:
    """Output words of a job; a pixel is ``blocks`` of them, all but the last of an activation per lane.

    Attributes
    ----------
    count : int
        Output words.
    silent : bool
        The last read completes no word; what it leaves behind is dropped, and ends the job.
    window : bool
        Windows slide.
    keeps : bool
        The words go to the operand buffer, not to STORE.
    """

    def __init__(self, job: Job, taken: int, cfg: Config):
        self.job, self.taken = job, taken
        r = job.registers
        self.blocks, self.word_bytes = r["param"]["blocks"], cfg.vector_word_bytes
        self.tail_bytes = r["param"]["tail"] * cfg.act_bytes
        self.window = r["mode"].get("reduce") == isa.Reduce.WINDOW
        self.keeps, self.silent = keeps(job), False
        if self.window:
            reads = list(self._windows())
            self.count = len(reads)
            total = iterations(job, OPERAND_LEVELS)
            self.silent = not reads or reads[-1] != total
            self.reads = iter([b - a for a, b in pairwise([0, *reads, *([total] if self.silent else [])])])
        elif r["mode"].get("from_operand"):
            self.count, taps = iterations(job, OPERAND_LEVELS), iterations(job, TAP_LEVELS)
            self.reads = iter([taps] * self.count)
        else:
            self.count = iterations(job, ACC_LEVELS)
            self.reads = iter([1] * self.count)
        self.left = self.count  # words that are not out
        self.block = 0

    def _windows(self) -> Iterator[int]:
        """Reads up to that which completes a word, for each word."""
        r = self.job.registers
        window, columns, rows = r["window"], r["operand_x"]["count"], r["operand_y"]["count"]
        for y in range(window["skip"], rows, window["stride_y"]):
            for x in range(WINDOW_SIDE - 1, columns, window["stride_x"]):
                first = (y * columns + x) * self.blocks + 1
                yield from range(first, first + self.blocks)

    def next_bytes(self) -> int:
        """Bytes of the word that leaves next."""
        self.left -= 1
        self.block += 1
        if self.block == self.blocks:
            self.block = 0
            return self.tail_bytes
        return self.word_bytes


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
    """

    def __init__(self, machine: Machine):
        self.machine = machine
        self.progress = machine.progress[isa.Unit.VECTOR]
        self.arrivals: deque[int] = deque()
        self._kept: deque[int] = deque()  # arrivals that go to the operand buffer
        self.jobs: deque[Words] = deque()
        self._reading: deque[Words] = deque()
        self._room = ceil_pow2(LANES + (WINDOW if machine.cfg.vector else 0) + 1) + 1  # words let in
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
        left = self._left
        while self._reading:
            words = self._reading[0]
            arrivals = self._kept if words.keeps else self.arrivals
            latency = LANES + WINDOW if words.window else LANES
            time, room, reads = self._time, self._room, self._reads or next(words.reads, 0)
            while reads and (room or left):
                if room:
                    room -= 1
                else:
                    time = max(time, left.popleft())
                time += reads
                arrivals.append(time + latency)
                reads = next(words.reads, 0)
            self._time, self._room, self._reads = time, room, reads
            if reads:
                break
            if words.window:
                self._window_end = time
            self._reading.popleft()
            self.machine.at(time, self.progress)
        self._drop()

    def leave(self, time: int) -> None:
        """A word leaves at ``time``."""
        self._gone = time
        self._left.append(time)
        if not self.jobs[0].left and not self.jobs[0].silent:
            self._end()
        self._drop()

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

    def _drop(self) -> None:
        """What is no word leaves by itself, and ends its job."""
        while self.arrivals and not self.jobs[0].left:
            self._gone = max(self._gone + 1, self.arrivals.popleft())
            self._left.append(self._gone)
            self._end()

    def _end(self) -> None:
        """The last word of the oldest job leaves."""
        words, time = self.jobs.popleft(), self._gone
        self.machine.give(words.job, words.taken, time + 1)

        def closed() -> Process:
            self._open -= 1
            self.progress.fire()
            return
            yield

        self.machine.kernel.schedule(time + FREE, closed())
