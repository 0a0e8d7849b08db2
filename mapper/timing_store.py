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
AHEAD = 17  # vector words between address and STORE
RECORD = 12  # last completion, to "done", beside the beats and the latency of its record


class Words:
    """Vector words of a job; a pixel is ``blocks`` of them, all but the last of ``lanes`` bytes."""

    def __init__(self, job: Job, lanes: int, bus: int):
        r = job.registers
        taps = iterations(job, ("operand_tap_a", "operand_tap_b")) if r["mode"].get("from_operand") else 1
        self.lanes, self.blocks = lanes, r["param"]["blocks"]
        self.pixel_bytes = (self.blocks - 1) * lanes + r["param"]["tail"]
        self.made_in = taps  # cycles per word in the lanes
        self.left_in = -(-lanes // bus)  # and at STORE, which takes a beat per cycle

    def holding(self, size: int) -> int:
        """Words that hold the job's first ``size`` bytes."""
        pixels, rest = divmod(size, self.pixel_bytes)
        return pixels * self.blocks + -(-rest // self.lanes)


class Writer:
    """STORE jobs and the VECTOR jobs they consume; :meth:`run` is its process.

    Attributes
    ----------
    made, word, address, write : float
        Cycles of the last vector word out of the lanes and at STORE, write address and last beat of write data.
    left : deque of cycles
        When the latest words were at STORE.
    beats, leaving : int, deque of cycles
        Beats so far, and when they leave the data queue, which holds two of the longest bursts and two beats.
    """

    def __init__(self, machine: Machine):
        self.machine, self.most = machine, machine.cfg.bus.max_write_burst
        self.made = self.word = self.address = self.write = 0.0
        self.left: deque[float] = deque(maxlen=AHEAD)
        self.beats = 0
        self.leaving: deque[float] = deque()

    def run(self) -> Process:
        """One pair of jobs after the other, as the front ends hand them over."""
        machine, opened = self.machine, self.machine.opened
        while True:
            while not (opened[isa.Unit.STORE] and opened[isa.Unit.VECTOR]):
                yield machine.progress
            job, taken = opened[isa.Unit.STORE].popleft()
            vector, since = opened[isa.Unit.VECTOR].popleft()
            machine.progress.fire()
            self.made = max(self.made, since + LANES)
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
                self._make(words.holding(position + size) - words.holding(position), beats, words)
                position += size
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

    def _make(self, number: int, beats: int, words: Words) -> None:
        """The lanes make ``number`` words, which fill ``beats``; each waits for room in the queues around it."""
        held = 2 * self.most + 2  # beats in the data queue
        pushed = 0
        for i in range(number):
            room = self.left[0] + 1 + LANES if len(self.left) == AHEAD else 0.0
            self.made = max(self.made + words.made_in, room)
            self.word = max(self.made, self.word + words.left_in)
            for _ in range((i + 1) * beats // number - pushed):
                pushed += 1
                if self.beats >= held:
                    self.word = max(self.word, self.leaving.popleft())
                self.beats += 1
            self.left.append(self.word)

    def _burst(self, beats: int) -> None:
        """Data of a burst whose address is out."""
        dram = self.machine.dram
        start = max(self.address + 1, self.write + 1)
        first, _ = dram.serve(beats, start)
        times = [floor(first + i * max(dram.cost, 1)) for i in range(beats)]
        self.write = times[-1]
        self.leaving.extend(times)
