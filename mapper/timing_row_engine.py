"""The row engine in the timing model: the law of ``rtl/rows.py``, word by word."""

from __future__ import annotations

from collections import deque

from dataflows import isa, top_k
from mapper.kernel import Process, Signal
from mapper.program import Job
from mapper.timing_array import TREE_RADIX
from mapper.timing_machine import Machine
from mapper.timing_row_job import Room, RowJob, searches, selects
from mapper.timing_search import Searches, Searching
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
ELEMENT = 2  # cycles of an element that stays, for its two lists
DONE = 1  # last word out, and last scale there, to the tokens


class RowEngine:
    """Engine of ROWS: it takes words of VECTOR, and offers its own to STORE."""

    def __init__(self, machine: Machine, lanes: Lanes, searches: Searches):
        cfg, self.searches = machine.cfg, searches
        self.machine, self.lanes, self.wake = machine, lanes, Signal(machine.kernel)
        self.progress = machine.progress[isa.Unit.ROWS]
        tree = sum(TREE_RADIX**stage < cfg.lanes for stage in range(cfg.lanes))
        self._collect, self._total = COLLECT + tree, SOFTMAX + tree
        self._ring, self._rows, self._queue, self._scales = map(Room, (2 * cfg.row_blocks, ROWS, QUEUE, SCALED))
        self._open = 0
        self._searching: Searching | None = None
        self._begun: int | None = -1  # the last job taken
        self._collecting, self._emitting, self._leaving = deque[RowJob](), deque[RowJob](), deque[RowJob]()
        self._taken = self._read = self._done = -1  # the last word taken, word read, job done
        self._finished = self._divided = -DIVIDE_INTERVAL - FINISH_INTERVAL  # the last row of a norm, of a softmax
        self._norm, self._decided = -SWITCH, -1  # the last word read of a norm; the last decision
        self._complete: deque[int] = deque()  # when rows are complete that are not read
        self._offered: deque[int] = deque()  # when words are at the output

    # -- front end -----------------------------------------------------------------------------

    def accepts(self, job: Job) -> bool:
        """Whether the job before was begun, and not too many are open; a selection has the engine alone."""
        if (selects(job) or searches(job)) and self._open:
            return False
        return self._open < JOBS and self._begun is not None and self._begun < self.machine.kernel.cycle

    def take(self, job: Job) -> None:
        """A job that it is ready for."""
        if selects(job):
            self._select(job)
            return
        if searches(job):
            self._searching = Searching(job, self.machine.kernel.cycle, self.lanes, self.searches)
            self._open += 1
            self._begun = None
            self.wake.fire()
            return
        found = RowJob(job, self.machine.kernel.cycle, self.machine.cfg.lanes)
        self._open += 1
        self._begun = None
        for jobs in (self._collecting, self._emitting, self._leaving):
            jobs.append(found)
        self.wake.fire()

    # -- words ---------------------------------------------------------------------------------

    def work(self) -> None:
        """Take words from VECTOR and read them, as far as it is known when."""
        while True:
            self.lanes.read()
            self._search()
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
        return self._offered[0] if self._offered else None

    def next_word(self) -> tuple[int, int]:
        """Bytes of the next word, and its job."""
        job = self._leaving[0]
        return job.bytes[job.last(job.unsent)], job.job.index

    def pop(self, time: int) -> None:
        """The next word is taken at ``time``."""
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

    def _search(self) -> None:
        """The open search, if there is one, which has the engine alone."""
        search = self._searching
        if search is None:
            return
        search.work()
        if search.ended is None:
            return
        self._searching, self._begun, self._done = None, search.ended, search.ended
        self._taken = max(self._taken, search.last)
        self.machine.sources[search.job.index] = search.source
        self.machine.give(search.job, search.taken, search.ended)
        self._close(search.ended + 1)

    def _select(self, job: Job) -> None:
        """A selection: as long as one of random values takes, as importance is not known."""
        now, fields, lanes = self.machine.kernel.cycle, job.registers["select"], self.machine.cfg.lanes
        count, keep = fields["count"], fields["keep"]
        self._open += 1
        self._begun = self._done = now + ELEMENT * keep + top_k.mean_cycles(count, keep, lanes) + DONE
        self.machine.give(job, now, self._done)
        self._close(self._done + 1)
