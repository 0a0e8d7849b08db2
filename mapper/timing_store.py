"""The STORE unit in the timing model: words become beats, beats become bursts."""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple

from dataflows import isa
from mapper.kernel import Process, Signal
from mapper.loads import ROWS
from mapper.program import Job
from mapper.timing_bus import bursts, iterations, row_starts
from mapper.timing_machine import Machine
from mapper.timing_vector import Lanes
from mapper.timing_write import Burst, WriteMaster

FIRST_ROW = 1  # job taken, to its first row
SPLIT = 1  # row, to its first burst
JOBS = 32  # open jobs


class StoreJob:
    """A job that has been taken, and its rows that the splitter has not."""

    def __init__(self, job: Job, taken: int):
        self.job, self.taken = job, taken
        self.row_bytes, self.rows = job.registers["row"]["bytes"], iterations(job, ROWS)
        self.bytes = self.row_bytes * self.rows
        self.starts = row_starts(job, job.registers["target"]["address"])


class Row(NamedTuple):
    """A row in the splitter: its job, its address, when its first burst can be packed, whether it is the last."""

    store: StoreJob
    start: int
    ready: int
    last: bool


class Packer:
    """Engine of STORE; :meth:`run` is the process that packs its words.

    A step takes a word, or a piece of one where words are wider than the bus, or sends what is left of a row. Between
    bursts, records of the mark table go first.
    """

    def __init__(self, machine: Machine, lanes: Lanes, master: WriteMaster):
        self.machine, self.lanes, self.master = machine, lanes, master
        self.most = machine.cfg.bus.max_write_burst
        self.piece = min(machine.cfg.vector_word_bytes, machine.bus)
        self.progress, self.wake = machine.progress[isa.Unit.STORE], master.wake
        lanes.wake = master.wake
        self._step = -1  # the last one
        self._full = False  # it has made a beat, which is not known to have entered the data queue
        self._entered = -1  # when the last beat has entered it
        self._cut = 0  # bytes of the present word that have not been taken; 0: it has not begun
        self._row: Row | None = None
        self._waiting: StoreJob | None = None  # in the address generator
        self._consumed = -1  # when the last burst of a row left the splitter
        self._free: int | None = 0  # from when on the address generator takes a job

    # -- front end, rows -----------------------------------------------------------------------

    def accepts(self, _job: Job) -> bool:
        """Whether the last row of the job before has gone to the splitter, and not too many jobs are open."""
        return self.master.open < JOBS and self._free is not None and self._free <= self.machine.kernel.cycle

    def take(self, job: Job) -> None:
        """A job that it is ready for."""
        self.master.open += 1
        self._waiting, self._free = StoreJob(job, self.machine.kernel.cycle), None
        if self._row is None:
            self._next_row(None)
        self.wake.fire()

    def _next_row(self, store: StoreJob | None) -> None:
        """The next row of the job, or of the one after it, goes to the splitter."""
        time = self._consumed
        if store is None or not store.rows:
            store, self._waiting = self._waiting, None
            if store is None:
                self._row = None
                return
            time = max(time, store.taken + FIRST_ROW)
        store.rows -= 1
        self._row = Row(store, next(store.starts), time + SPLIT, not store.rows)
        if not store.rows:
            self._free = time
            self.machine.at(time, self.progress)

    # -- packing -------------------------------------------------------------------------------

    def run(self) -> Process:
        """All rows."""
        bus, written = self.machine.bus, self.machine.result.dram_write_bytes
        while True:
            while self._row is None:
                yield from self._pause(border=True)
            row, have, end = self._row, 0, self._row.start + self._row.store.row_bytes
            for address, beats, part in bursts(row.start, row.store.row_bytes, bus, self.most):
                have = (yield from self._pack(address, beats, part, have, row.ready)) - part
                ends = None
                if address + part == end:
                    ends = row.store if row.last else None
                    self._consumed = self._step
                    self._next_row(row.store)
                while self._full and not self._enters():
                    yield from self._pause(border=False)
                if ends is None:
                    self.master.send(Burst(self._entered, beats))
                else:
                    self.master.send(Burst(self._entered, beats, ends.job, ends.taken))
            if row.last:
                job = row.store.job
                written[job.layer] = written.get(job.layer, 0) + row.store.bytes

    def _pack(self, address: int, beats: int, size: int, have: int, ready: int) -> Generator[float | Signal, None, int]:
        """Steps of a burst of ``size`` bytes, of which ``have`` are taken; returns how many are in the end."""
        bus, arrivals, lanes, master = self.machine.bus, self.lanes.arrivals, self.lanes, self.master
        records = master.records
        for beat in range(beats):
            need, border = min((beat + 1) * bus - address % bus, size), beat == 0
            flush = have >= need
            while flush or have < need:
                while self._full and not self._enters():
                    yield from self._pause(border=False)
                if not (flush or arrivals):
                    lanes.read()
                    if not arrivals:
                        yield from self._pause(border=border)
                        continue
                time = self._step + 1
                if time < self._entered:
                    time = self._entered
                if not flush and time < arrivals[0]:
                    time = arrivals[0]
                if time < ready:
                    time = ready
                if border and (records or master.record_unknown(time)):
                    if not records:
                        yield from self._pause(border=False)
                        continue
                    if records[0] <= time:
                        yield from self._record()
                        continue
                self._step = time
                if flush:
                    break
                cut = self._cut or lanes.jobs[0].next_bytes()
                size_taken = min(cut, self.piece)
                have += size_taken
                self._cut = cut - size_taken
                if not self._cut:
                    arrivals.popleft()
                    lanes.leave(time)
            self._full = True
        return have

    def _enters(self) -> bool:
        """Whether it is known when the last beat enters the data queue, where the next step is to find it."""
        room = self.master.room()
        if room is None:
            return False
        self._entered, self._full = max(self._step + 1, room), False
        return True

    def _record(self) -> Process:
        """A record of the mark table, as one burst if that may be so long."""
        ready, beats = self.master.records.popleft(), max(1, isa.MARK_BYTES // self.machine.bus)
        for beat in range(beats):
            while self._full and not self._enters():
                yield from self._pause(border=False)
            self._step = max(self._step + 1, self._entered, ready)
            self._full = True
            if beats > self.most or beat == beats - 1:
                while self._full and not self._enters():
                    yield from self._pause(border=False)
                length = 1 if beats > self.most else beats
                self.master.send(Burst(self._entered, length, record=beat == beats - 1))

    def _pause(self, *, border: bool) -> Process:
        """Do what does not depend on the packer, then wait for something to happen.

        At the ``border`` of bursts, records go while no word is there.
        """
        lanes, records = self.lanes, self.master.records
        lanes.read()
        if border and records and records[0] <= self.machine.kernel.now:
            yield from self._record()
        else:
            yield self.wake
