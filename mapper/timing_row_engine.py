"""The row engine in the timing model: the law of ``rtl/rows.py``, word by word."""

from __future__ import annotations

from collections import deque

from dataflows import isa
from mapper.kernel import Process, Signal
from mapper.program import Job
from mapper.timing_array import TREE_RADIX
from mapper.timing_machine import Machine
from mapper.timing_pack import Packing
from mapper.timing_row_job import Room, RowJob, alone, packs, searches
from mapper.timing_search import Searches, Searching
from mapper.timing_select import Observed, Quiet, Selections
from mapper.timing_vector import Lanes

JOBS = 4  # open jobs
PREPARE = 3  # job taken, to its begin
COLLECT = 5  # last word of a row taken, to its collection, beside the adder tree
ROWS = 8  # rows between their first take and their first read
FINISH_INTERVAL, FINISH = 23, 43  # norm collected, to the next one; to its completion
SOFTMAX, NORM = 8, 16  # word read, to that word at the output
QUEUE = 33  # words between their read and their leave
SWITCH = NORM - SOFTMAX + 1  # last word of a norm, to the first one of a softmax
SCALED = 4  # rows of softmax between their first read and their division
DIVIDE_INTERVAL, DIVIDE = 12, 15  # division, to the next one; to the row scale
DECIDE = 2  # last division of a job, to its decision
DECIDED = 2  # decision, to the units
DONE = 1  # last word out, and last scale there, to the tokens


class RowEngine:
    """Engine of ROWS: it takes words of VECTOR, and offers its own to STORE.

    Parameters
    ----------
    machine : Machine
    lanes : Lanes
        VECTOR, where words come from.
    found : Searches
    observed : mapping
        What selections choose from.
    """

    def __init__(self, machine: Machine, lanes: Lanes, found: Searches, observed: Observed):
        cfg, self.searches = machine.cfg, found
        self.machine, self.lanes, self.wake = machine, lanes, Signal(machine.kernel)
        self.progress = machine.progress[isa.Unit.ROWS]
        tree = sum(TREE_RADIX**stage < cfg.lanes for stage in range(cfg.lanes))
        self._collect, self._total = COLLECT + tree, SOFTMAX + tree
        self._ring, self._rows, self._queue, self._scales = map(Room, (2 * cfg.row_blocks, ROWS, QUEUE, SCALED))
        self._selections = Selections(observed, cfg.lanes, found.lists)
        self._quiet = Quiet(cfg.lanes)
        lanes.ended = self._quiet.head
        self._alone: Packing | Searching | None = None  # a job with words that has the engine alone
        self._open = 0
        self._begun: int | None = -1  # the last job taken
        self._collecting, self._emitting, self._leaving = deque[RowJob](), deque[RowJob](), deque[RowJob]()
        self._taken = self._read = self._done = -1  # the last word taken, word read, job done
        self._finished = self._divided = -DIVIDE_INTERVAL - FINISH_INTERVAL  # the last row of a norm, of a softmax
        self._norm, self._decided = -SWITCH, -1  # the last word read of a norm; the last decision
        self._complete: deque[int] = deque()  # when rows are complete that are not read
        self._offered: deque[int] = deque()  # when words are at the output

    # -- front end -----------------------------------------------------------------------------

    def accepts(self, job: Job) -> bool:
        """Whether the job before was begun, and not too many are open; some jobs have the engine alone."""
        now = self.machine.kernel.cycle
        if alone(job):
            quiet = self._quiet.since(now)
            if quiet > now:
                self.machine.at(quiet, self.progress)
            if self._open or quiet > now:
                return False
        return self._open < JOBS and self._begun is not None and self._begun < now

    def take(self, job: Job) -> None:
        """A job that it is ready for."""
        now, lanes = self.machine.kernel.cycle, self.machine.cfg.lanes
        self._open += 1
        self._begun = None
        if packs(job):
            self._alone = Packing(job, now, self.lanes, lanes, self._selections.kept)
        elif searches(job):
            self._alone = Searching(job, now, self.lanes, self.searches)
        elif alone(job):
            self._end_alone(job, now, self._selections.take(job, now))
            return
        else:
            found = RowJob(job, now, lanes)
            for jobs in (self._collecting, self._emitting, self._leaving):
                jobs.append(found)
        self.wake.fire()

    # -- words ---------------------------------------------------------------------------------

    def work(self) -> None:
        """Take words from VECTOR and read them, as far as it is known when."""
        if self._alone:
            self.lanes.read()
            self._alone.work()
            self._ended(self._alone)
            return
        while True:
            self.lanes.read()
            before = self._taken, self._read
            while self._collecting and self._take_word(self._collecting[0]):
                pass
            while self._emitting and self._read_word(self._emitting[0]):
                pass
            if (self._taken, self._read) == before:
                return

    def _take_word(self, job: RowJob) -> bool:
        """The next word of a job comes from VECTOR, or an element of it, if it is known when."""
        if job.begun is None:
            job.begun = self._begun = max(job.taken + PREPARE, self._taken)
            self.machine.at(job.begun + 1, self.progress)
        offered = self.lanes.offered(rows=True)
        if offered is None or not (job.coming or self._has_room(job)):
            return False
        time = self._taken = max(job.earliest, self._taken + 1, offered)
        source = self.lanes.jobs[0].job.index
        self.lanes.pop(time)
        job.coming -= 1
        if job.coming:
            return True
        job.uncollected -= 1
        if job.uncollected % job.blocks == 0:
            self._complete.append(self._completion(job, time + self._collect))
        if not job.uncollected:
            self.machine.sources[job.job.index] = source
            self._collecting.popleft()
        return True

    def _has_room(self, job: RowJob) -> bool:
        """Whether it is known when there is room for the next word of a job; it is taken."""
        first = job.uncollected % job.blocks == 0
        if job.begun is None or not self._ring or (first and not self._rows):
            return False
        job.earliest = max(job.begun + 1, self._ring.take(), self._rows.take() if first else 0)
        job.coming = job.transfers[job.last(job.uncollected)]
        return True

    def _completion(self, job: RowJob, collected: int) -> int:
        """When a row is complete."""
        if job.softmax:
            return collected
        self._finished = max(collected, self._finished + FINISH_INTERVAL)
        return self._finished + FINISH

    def _read_word(self, job: RowJob) -> bool:
        """The next word of a job is read, if it is known when."""
        first = job.unread % job.blocks == 0
        if not self._queue or (first and (not self._complete or (job.softmax and not self._scales))):
            return False
        time = max(self._read + 1, self._queue.take())
        if first:
            time = max(time, self._complete.popleft())
            if job.softmax:
                time = max(time, self._norm + SWITCH, self._scales.take())
            self._rows.free(time)
        self._read = time
        self._ring.free(time)
        self._offered.append(time + (SOFTMAX if job.softmax else NORM))
        job.unread -= 1
        if not job.softmax:
            self._norm = time
        elif job.unread % job.blocks == 0:
            self._divided = max(time + self._total, self._divided + DIVIDE_INTERVAL)
            self._scales.free(self._divided)
            self._quiet.row(job.job, self._divided, job.blocks)
            job.scaled = self._divided + DIVIDE
        if not job.unread:
            self._emitting.popleft()
            if job.decides:
                self._decided = max(self._divided + DECIDE, self._decided + 1)
                job.scaled = max(job.scaled, self._decided)
                self.machine.decide(job.job, self._decided + DECIDED)
        return True

    # -- leaving -------------------------------------------------------------------------------

    def offered(self) -> int | None:
        """From when on the next word is at the output, if that is known."""
        if isinstance(self._alone, Packing):
            return self._alone.offered()
        return self._offered[0] if self._offered else None

    def next_word(self) -> tuple[int, int]:
        """Bytes of the next word, and its job."""
        if isinstance(self._alone, Packing):
            return self._alone.next_bytes(), self._alone.job.index
        job = self._leaving[0]
        return job.bytes[job.last(job.unsent)], job.job.index

    def pop(self, time: int) -> None:
        """The next word is taken at ``time``."""
        if isinstance(self._alone, Packing):
            self._alone.pop(time)
            self._ended(self._alone)
            return
        job = self._leaving[0]
        self._offered.popleft()
        self._queue.free(time)
        job.unsent -= 1
        if job.unsent:
            return
        self._leaving.popleft()
        self._done = max(time, job.scaled, self._done) + DONE
        self.machine.give(job.job, job.taken, self._done)

        self._close(self._done + 1)

    def _close(self, time: int) -> None:
        """A job is open no longer."""

        def closed() -> Process:
            self._open -= 1
            self.progress.fire()
            return
            yield

        self.machine.kernel.schedule(time, closed())

    # -- jobs that have the engine alone ---------------------------------------------------------

    def _ended(self, job: Packing | Searching) -> None:
        """A job with words is done as soon as it is known when."""
        if job.ended is not None:
            self._alone = None
            self.machine.sources[job.job.index] = job.source
            self._end_alone(job.job, job.taken, job.ended)

    def _end_alone(self, job: Job, taken: int, done: int) -> None:
        """A job that had the engine alone is done."""
        self._begun = self._done = done
        self.machine.give(job, taken, done)
        self._close(done + 1)
