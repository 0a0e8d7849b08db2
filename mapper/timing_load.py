"""The LOAD unit in the timing model: addresses on one side, data on the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from dataflows import isa
from mapper.program import Job
from mapper.timing_bus import QUEUE, bursts, pieces
from mapper.timing_gather import Lists, counted, gathered
from mapper.timing_load_job import LoadJob, fills, writes_list
from mapper.timing_machine import Machine
from mapper.timing_read import ADDRESS, SPLIT, ReadMaster

JOBS = 4  # jobs in the queue between the two sides
OPEN = 1  # job out of that queue, to its first segment
WRITE = 1  # piece taken, to its write
DONE = 2  # last write of a job taken, to its tokens
LENGTH = 4  # job by a list with a length there, to its take
LISTED = 1  # tokens of a job that has written a list, to a job that may go by it


class Loader:
    """Engine of LOAD.

    Attributes
    ----------
    end : int
        Last write to an on-chip memory, of all that has been asked for.
    ready : int or None
        When the next burst can be chosen by the read master.
    """

    def __init__(self, machine: Machine, reads: ReadMaster, lists: Lists):
        self.machine, self.reads, self.lists = machine, reads, lists
        self.progress = machine.progress[isa.Unit.LOAD]
        self.end = -1
        self.ready: int | None = None
        # Address side.
        self._waiting: LoadJob | None = None  # in the address generator, behind the one that is being asked for
        self._asking: LoadJob | None = None
        self._free: int | None = 0  # from when on the address generator takes a job
        self._gathering: LoadJob | None = None  # a gathered job that is not in the address generator
        self._idle: int | None = 0  # from when on no gathered job has addresses left that the generator does not have
        self._unlisted = 0  # jobs that write lists and are not done as far as that is known
        self._listed = 0  # from when on all lists are there otherwise
        self._known: int | None = None  # when the length of the next job's list is
        self._bursts: Iterator[tuple[int, int, int]] = iter(())
        self._burst = (0, 0, 0)
        # Data side, by number of the job: taken; out of the queue; last segment open.
        self._jobs: deque[LoadJob] = deque()  # not completely written
        self._taken: list[int] = []
        self._popped: list[int] = []
        self._opened: list[int] = []
        self._ended = 0

    # -- front end -----------------------------------------------------------------------------

    def accepts(self, job: Job) -> bool:
        """Whether the queue of jobs has room, and the address generator for a job that reads."""
        now, number = self.machine.kernel.cycle, len(self._taken) - JOBS
        if counted(job) and not self._has_length(now):
            return False
        if number >= 0 and (number >= len(self._popped) or self._popped[number] >= now):
            return False
        if fills(job):
            return True
        if self._idle is None or self._idle > now:
            return False
        if gathered(job):
            return self._all_listed(now)
        return self._free is not None and self._free <= now

    def _has_length(self, now: int) -> bool:
        """Whether the length of a list has been read, which begins when all lists are there and none is gone by."""
        if self._known is None and self._idle is not None and self._idle <= now and self._all_listed(now):
            self._known = now + LENGTH
            self.machine.at(self._known, self.progress)
        return self._known is not None and self._known <= now

    def _all_listed(self, now: int) -> bool:
        """Whether all lists are there that LOAD jobs write."""
        return not self._unlisted and self._listed <= now

    def take(self, job: Job) -> None:
        """A job that it is ready for."""
        now, self._known = self.machine.kernel.cycle, None
        load = LoadJob(job, now, self.lists)
        self._jobs.append(load)
        self._taken.append(now)
        if writes_list(job):
            self._unlisted += 1
            self.lists.write(job)
        if gathered(job):
            self._gathering, self._idle = load, None
            self._gather()
        elif not fills(job):
            self._wait(load)
        self._settle()

    # -- addresses -----------------------------------------------------------------------------

    def _wait(self, load: LoadJob) -> None:
        """A job goes to the address generator."""
        self._waiting, self._free = load, None
        if self._asking is None:
            self._begin(load.earliest)

    def _gather(self) -> None:
        """A gathered job goes to the address generator when it is known when that is free."""
        load = self._gathering
        if load is not None and self._free is not None:
            self._gathering = None
            self._next_nest(load, self._free)
            self._wait(load)

    def _next_nest(self, load: LoadJob, free: int) -> None:
        """The next index of a gathered job; behind the last one other jobs can come."""
        time = load.next_nest(free)
        if not load.nests:
            self._idle = time + 1
            self.machine.at(time + 1, self.progress)

    def _begin(self, time: int) -> None:
        """The first row of the waiting job goes to the splitter."""
        self._asking, self._waiting = self._waiting, None
        self._row(time)

    def _row(self, time: int) -> None:
        """The next row of the job goes to the splitter, at ``time``; with the last one, another job can be taken."""
        load = self._asking
        if load is None:
            raise ValueError("no job to ask for")
        load.rows -= 1
        self._bursts = bursts(next(load.starts), load.row_bytes, self.machine.bus, self.reads.most)
        self._burst = next(self._bursts)
        self.ready = time + SPLIT
        self.reads.work.fire()
        if not load.rows and load.nests:
            self._next_nest(load, time)
        elif not load.rows:
            self._free = time
            self.machine.at(time, self.progress)
            self._gather()

    def issue(self) -> int:
        """The present burst is chosen in this cycle; returns the cycle in which its last beat is taken."""
        load, now = self._asking, self.machine.kernel.cycle
        if load is None:
            raise ValueError("no burst to choose")
        address, beats, size = self._burst
        landed = self._land(load, address % self.machine.bus, beats, size)
        following = next(self._bursts, None)
        if following:
            self._burst, self.ready = following, now + 1
        elif load.rows:
            self._row(max(now, load.earliest))
        else:
            self.ready = self._asking = None
            self._finish(load)
            if self._waiting is not None:
                self._begin(max(now, self._waiting.earliest))
        self._settle()
        return landed

    # -- data ----------------------------------------------------------------------------------

    def _land(self, load: LoadJob, offset: int, beats: int, size: int) -> int:
        """Beats of a burst are taken and written; returns when the last one is taken.

        A relay holds two beats: one is taken behind the cycle in which the one before the last is written. It is
        written in one cycle for each piece.
        """
        dram, bus, reads = self.machine.dram, self.machine.bus, self.reads
        start = dram.read(beats, self.machine.kernel.cycle + ADDRESS)
        position = load.position
        load.position += 2 * size if load.halves else size
        load.beats += beats
        # The last segment opens when what is before it is written.
        border = load.last if position < load.last <= load.position else 0
        if not load.halves and pieces(position, size, load.segment, offset, bus) == beats:
            before = max(reads.left, self.end)
            if border:
                self._opened.append(self._written(start, (offset + border - position - 1) // bus, before))
            taken = max(dram.offered(start, beats - 1), reads.gate)
            if beats > 1:
                place = self._written(start, beats - 3, before) if beats > 2 else reads.left
                taken = max(taken, place + 1, dram.offered(start, beats - 2) + 1)
            if load.operands:
                writes = (self._written(start, beat, before) + WRITE for beat in range(beats))
                self.machine.operand_writes.update(writes)
            reads.gate = max(taken, self._written(start, beats - 2, before) if beats > 1 else reads.left) + 1
            self.end = reads.left = self._written(start, beats - 1, before)
            return taken
        taken = 0
        for beat in range(beats):
            taken = max(dram.offered(start, beat), reads.gate)
            first = done = max(taken, reads.left, self.end)
            length = min(bus - offset, size)  # bytes of the beat
            for part in load.parts(offset, length, bus):
                behind = position + part
                if position < border <= behind:
                    self._opened.append(done - (-border // load.segment) - position // load.segment)
                done += (behind - 1) // load.segment - position // load.segment + 1
                position = behind
            reads.gate = max(taken, reads.left) + 1
            self.end = reads.left = done
            if load.operands:
                self.machine.operand_writes.update(range(first + 1 + WRITE, done + 1 + WRITE))
            size, offset = size - length, 0
        return taken

    def _written(self, start: int, beat: int, before: int) -> int:
        """When a beat is written, if each is one piece, and the last one of another burst was written at ``before``.

        What comes first counts where the memory is fast, what comes last where it is slow.
        """
        dram = self.machine.dram
        offered = dram.offered(start, beat) if dram.slow else dram.offered(start, 0) + beat
        return (offered if offered > before + beat else before + beat) + 1

    def _finish(self, load: LoadJob) -> None:
        """All of a job is asked for, and so it is known when it is done."""
        self._ended += 1
        self._jobs.popleft()
        self.machine.give(load.job, load.taken, self.end + DONE)
        if writes_list(load.job):
            self._unlisted -= 1
            self._listed = self.end + DONE + LISTED
            self.machine.at(self._listed, self.progress)
        read = self.machine.result.dram_read_bytes
        read[load.job.layer] = read.get(load.job.layer, 0) + load.beats * self.machine.bus

    def _settle(self) -> None:
        """Whatever follows for the order of jobs on the data side: they leave the queue, open segments, fill."""
        moved = True
        while moved:
            moved = False
            number = len(self._popped)
            if number < len(self._taken) and number <= len(self._opened):
                before = self._opened[number - 1] if number else -1
                self._popped.append(max(self._taken[number] + QUEUE, before))
                self.machine.at(self._popped[number] + 1, self.progress)
                moved = True
            number = self._ended
            if number < len(self._popped):
                load, first = self._jobs[0], max(self._popped[number] + OPEN, self.end)
                if len(self._opened) == number and load.segments == 1:
                    self._opened.append(first)
                    moved = True
                if fills(load.job):
                    self._fill(load, first)
                    moved = True

    def _fill(self, load: LoadJob, first: int) -> None:
        """A job whose first segment opens at ``first`` makes its own bytes: a write per cycle."""
        writes = -(-load.segment // self.machine.bus)
        self.end = first + load.segments * writes
        if load.operands:
            self.machine.operand_writes.update(range(first + 1 + WRITE, self.end + 1 + WRITE))
        if load.segments > 1:
            self._opened.append(self.end - writes)
        self._finish(load)
