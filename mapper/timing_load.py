"""The LOAD unit in the timing model: addresses on one side, data on the other."""

from __future__ import annotations

from collections import deque

from dataflows import isa
from mapper.kernel import Process
from mapper.loads import ROWS, SEGMENTS
from mapper.program import Job
from mapper.timing_bus import bursts, iterations, pieces, row_starts
from mapper.timing_machine import Machine, fills

REQUEST = 3  # job taken, to its first request on the bus
WRITTEN = 3  # last beat on the bus, to the tokens of its job
FILLED = 4  # job of fill bytes taken, to its first write
ROWS_AHEAD = 2  # rows of a job between address generator and bus
NEXT_SEGMENT = 2  # last segment of a job open, to room for another job


class Loader:
    """Jobs of LOAD from the front end to their tokens; :meth:`run` is its process."""

    def __init__(self, machine: Machine):
        self.machine, self.cfg = machine, machine.cfg
        self.write_end = 0.0  # last write to an on-chip memory
        self.in_flight: deque[float] = deque()  # last beats of the latest bursts

    def run(self) -> Process:
        """One job after the other, as the front end hands them over."""
        opened = self.machine.opened[isa.Unit.LOAD]
        while True:
            while not opened:
                yield self.machine.progress
            job, taken = opened.popleft()
            if fills(job):
                self._fill(job, taken)
            else:
                yield from self._read(job, taken)

    def _fill(self, job: Job, taken: float) -> None:
        """A job that makes its own bytes: a write per cycle."""
        segments = iterations(job, SEGMENTS)
        writes = -(-job.registers["segment"]["bytes"] // self.machine.bus)  # per segment
        before = self.write_end
        self.write_end = max(self.write_end, taken + FILLED - 1) + segments * writes
        self._last_segment(before if segments == 1 else self.write_end - writes)
        self.machine.give(job, taken, self.write_end + WRITTEN)

    def _read(self, job: Job, taken: float) -> Process:
        """Requests of one job; the front end goes on meanwhile."""
        machine, kernel = self.machine, self.machine.kernel
        size, segment = job.registers["row"]["bytes"], job.registers["segment"]["bytes"]
        rows, segments = iterations(job, ROWS), iterations(job, SEGMENTS)
        early = rows <= ROWS_AHEAD  # the next job is taken when the last row is on its way to the bus
        if early:
            yield taken + rows
            self._issued()
        yield taken + REQUEST
        if segments == 1:  # it opens when the job before has ended
            self._last_segment(self.write_end)
        position = beats_read = 0
        for row, start in enumerate(row_starts(job, job.registers["source"]["address"])):
            if row == rows - 1 - ROWS_AHEAD and not early:
                self._issued()
            for address, beats, part in bursts(start, size, machine.bus, self.cfg.bus.max_read_burst):
                if len(self.in_flight) == self.cfg.bus.reads_in_flight:
                    landed = self.in_flight.popleft()
                    if landed > kernel.now:
                        yield landed
                self._request(beats, pieces(position, part, segment, address % machine.bus, machine.bus))
                position += part
                beats_read += beats
                yield kernel.now + 1
        if segments > 1:
            self._last_segment(self.write_end - -(-segment // machine.bus))
        machine.give(job, taken, self.write_end + WRITTEN)
        read = machine.result.dram_read_bytes
        read[job.layer] = read.get(job.layer, 0) + beats_read * machine.bus

    def _request(self, beats: int, writes: int) -> None:
        """Issue a burst; its beats become ``writes`` writes, one per cycle."""
        kernel, dram = self.machine.kernel, self.machine.dram
        _, last = dram.serve(beats, kernel.now)
        self.write_end = max(max(self.write_end, dram.read_end) + writes, last + dram.latency)
        dram.read_end = self.write_end
        self.in_flight.append(self.write_end)

    def _issued(self) -> None:
        """The address side can take another job."""
        self.machine.issuing = False
        self.machine.progress.fire()

    def _last_segment(self, time: float) -> None:
        """The last segment of a job opens at ``time``: the next job moves up, and one more can be taken."""
        self.machine.close_at(isa.Unit.LOAD, time + NEXT_SEGMENT)
