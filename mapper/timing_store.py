"""VECTOR and STORE in the timing model: vector words, bursts, write responses, marks."""

from __future__ import annotations

from collections import deque
from math import floor

from dataflows import isa
from mapper.kernel import Process
from mapper.loads import ROWS
from mapper.program import Job
from mapper.timing_bus import bursts, iterations, row_starts
from mapper.timing_machine import Machine

LANES = 15  # address of a vector word, to that word at STORE
PACK = 4  # vector word at STORE, to the address of the burst it completes
RECORD = 12  # last completion, to "done", beside the beats and the latency of its record


class Words:
    """Vector words of a job: ``cycles`` each; a pixel is ``blocks`` of them, all but the last of ``lanes`` bytes."""

    def __init__(self, job: Job, lanes: int, bus: int):
        r = job.registers
        taps = iterations(job, ("operand_tap_a", "operand_tap_b")) if r["mode"].get("from_operand") else 1
        self.lanes, self.blocks = lanes, r["param"]["blocks"]
        self.pixel_bytes = (self.blocks - 1) * lanes + r["param"]["tail"]
        self.cycles = max(taps, -(-lanes // bus))  # STORE takes a beat per cycle

    def holding(self, size: int) -> int:
        """Words that hold the job's first ``size`` bytes."""
        pixels, rest = divmod(size, self.pixel_bytes)
        return pixels * self.blocks + -(-rest // self.lanes)


class Writer:
    """STORE jobs and the VECTOR jobs they consume; :meth:`run` is its process.

    Attributes
    ----------
    word, address, write : float
        Cycles of the last vector word, write address and last beat of write data.
    waiting : deque of (last beat, beats)
        Bursts in the data queue, which holds two of the longest and two beats.
    """

    def __init__(self, machine: Machine):
        self.machine, self.most = machine, machine.cfg.bus.max_write_burst
        self.word = self.address = self.write = 0.0
        self.waiting: deque[tuple[float, int]] = deque()

    def run(self) -> Process:
        """One pair of jobs after the other, as the front ends hand them over."""
        machine, opened = self.machine, self.machine.opened
        while True:
            while not (opened[isa.Unit.STORE] and opened[isa.Unit.VECTOR]):
                yield machine.progress
            job, taken = opened[isa.Unit.STORE].popleft()
            vector, since = opened[isa.Unit.VECTOR].popleft()
            machine.progress.fire()
            self.word = max(self.word, since + LANES)
            yield from self._rows(job, vector, since)
            done = self.write + machine.dram.latency + 1
            machine.give(job, taken, done)
            if job.mark:
                machine.result.layer_end[job.layer] = int(done) - 1
            machine.result.cycles = int(done) + machine.dram.latency + RECORD + isa.MARK_BYTES // machine.bus

    def _rows(self, job: Job, vector: Job, since: float) -> Process:
        """All bursts of a STORE job."""
        machine, kernel = self.machine, self.machine.kernel
        words = Words(vector, machine.cfg.lanes, machine.bus)
        row = job.registers["row"]["bytes"]
        total, position = row * iterations(job, ROWS), 0
        for start in row_starts(job, job.registers["target"]["address"]):
            for _, beats, size in bursts(start, row, machine.bus, self.most):
                self.word += (words.holding(position + size) - words.holding(position)) * words.cycles
                position += size
                while sum(b for _, b in self.waiting) + beats > 2 * self.most + 2:
                    leaves, _ = self.waiting.popleft()
                    self.word = max(self.word, leaves)
                if position == total:
                    if self.word + 1 > kernel.now:
                        yield self.word + 1
                    machine.give(vector, since, self.word + 1)
                    machine.close(isa.Unit.VECTOR)
                self.address = max(self.word + PACK, self.address + 1)
                if self.address > kernel.now:
                    yield self.address
                self._burst(beats)
        written = machine.result.dram_write_bytes
        written[job.layer] = written.get(job.layer, 0) + total

    def _burst(self, beats: int) -> None:
        """Data of a burst whose address is out."""
        kernel, dram = self.machine.kernel, self.machine.dram
        while self.waiting and self.waiting[0][0] <= kernel.now:
            self.waiting.popleft()
        first, _ = dram.serve(beats, max(self.address + 1, self.write + 1))
        self.write = max(first, floor(dram.free - dram.cost)) if dram.cost > 1 else first + beats - 1
        self.waiting.append((self.write, beats))
