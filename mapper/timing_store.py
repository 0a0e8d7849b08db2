"""VECTOR and STORE in the timing model: vector words, bursts, write responses, marks."""

from __future__ import annotations

from collections import deque
from math import floor

from dataflows import isa
from dataflows.config import Config
from mapper.kernel import Process
from mapper.loads import ROWS
from mapper.program import Job
from mapper.timing_bus import bursts, iterations, row_starts
from mapper.timing_machine import Machine, keeps

LANES = 15  # address of a vector word, to that word at STORE
PACK = 4  # vector word at STORE, to the address of the burst it completes
AHEAD = 17  # vector words between address and STORE
WINDOW_AHEAD = 33  # the same where the vector unit has windows
WINDOW_SIDE = 3  # rows and columns of a window
RECORD = 12  # last completion, to "done", beside the beats and the latency of its record


class Words:
    """Vector words of a job; a pixel is ``blocks`` of them, all but the last of an activation per lane.

    Where windows slide, not each of the ``read`` words completes one.
    """

    def __init__(self, job: Job, cfg: Config, bus: int):
        r = job.registers
        taps = iterations(job, ("operand_tap_a", "operand_tap_b")) if r["mode"].get("from_operand") else 1
        self.word_bytes, self.blocks = cfg.vector_word_bytes, r["param"]["blocks"]
        self.pixel_bytes = (self.blocks - 1) * self.word_bytes + r["param"]["tail"] * cfg.act_bytes
        self.taps = taps  # reads per word
        self.left_in = -(-self.word_bytes // bus)  # cycles per word at STORE, which takes a beat per cycle
        self.window = r["window"] if r["mode"].get("reduce") == isa.Reduce.WINDOW else {}
        self.read = 0
        if self.window:
            self.columns = r["operand_x"]["count"]
            self.across = (self.columns - WINDOW_SIDE) // self.window["stride_x"] + 1  # windows of a row
            self.read = iterations(job, ("operand_block", "operand_x", "operand_y"))
            self.silent = self.window["skip"] >= r["operand_y"]["count"]  # nothing to store

    def holding(self, size: int) -> int:
        """Words that hold the job's first ``size`` bytes."""
        pixels, rest = divmod(size, self.pixel_bytes)
        return pixels * self.blocks + -(-rest // self.word_bytes)

    def until(self, count: int) -> int:
        """Reads, one per cycle, up to that which completes word number ``count``, from 1 on."""
        if not self.window or not count:
            return count * self.taps
        pixel, block = divmod(count - 1, self.blocks)
        row, column = divmod(pixel, self.across)
        y = self.window["skip"] + row * self.window["stride_y"]
        x = WINDOW_SIDE - 1 + column * self.window["stride_x"]
        return (y * self.columns + x) * self.blocks + block + 1


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
        self.ahead = WINDOW_AHEAD if machine.cfg.vector else AHEAD
        self.left: deque[float] = deque(maxlen=self.ahead)
        self.beats = 0
        self.leaving: deque[float] = deque()

    def run(self) -> Process:
        """One pair of jobs after the other, as the front ends hand them over."""
        machine, opened = self.machine, self.machine.opened
        while True:
            while not opened[isa.Unit.VECTOR]:
                yield machine.progress
            vector, since = opened[isa.Unit.VECTOR].popleft()
            words = Words(vector, machine.cfg, machine.bus)
            machine.progress.fire()
            if keeps(vector):
                self.made = max(self.made, since + LANES) + iterations(vector, ("acc_block", "acc_x", "acc_y"))
                yield from self._close(vector, since)
                continue
            if words.window and words.silent:
                self.made = max(self.made, since + LANES) + words.read
                yield from self._close(vector, since)
                continue
            while not opened[isa.Unit.STORE]:
                yield machine.progress
            job, taken = opened[isa.Unit.STORE].popleft()
            machine.progress.fire()
            self.made = max(self.made, since + LANES)
            yield from self._rows(job, vector, words, since)
            done = self.write + machine.dram.latency + 1
            machine.give(job, taken, done)
            if job.mark:
                machine.result.layer_end[job.layer] = int(done) - 1
            machine.result.cycles = int(done) + machine.dram.latency + RECORD + isa.MARK_BYTES // machine.bus

    def _rows(self, job: Job, vector: Job, words: Words, since: float) -> Process:
        """All bursts of a STORE job."""
        machine, kernel = self.machine, self.machine.kernel
        row = job.registers["row"]["bytes"]
        total, position = row * iterations(job, ROWS), 0
        for start in row_starts(job, job.registers["target"]["address"]):
            for _, beats, size in bursts(start, row, machine.bus, self.most):
                self._make(words.holding(position), words.holding(position + size), beats, words)
                position += size
                rest = words.read - words.until(words.holding(total)) if words.window else 0  # reads that complete none
                if position == total and not rest:
                    yield from self._close(vector, since)
                self.address = max(self.word + PACK, self.address + 1)
                if self.address > kernel.now:
                    yield self.address
                self._burst(beats)
        if rest:
            self.made += rest
            yield from self._close(vector, since)
        written = machine.result.dram_write_bytes
        written[job.layer] = written.get(job.layer, 0) + total

    def _close(self, vector: Job, since: float) -> Process:
        """Tokens of a VECTOR job, at its last word."""
        end = max(self.made, self.word) + 1
        if end > self.machine.kernel.now:
            yield end
        self.machine.give(vector, since, end)
        self.machine.close(isa.Unit.VECTOR)

    def _make(self, first: int, last: int, beats: int, words: Words) -> None:
        """The lanes make words [first, last), which fill ``beats``; each waits for room in the queues around it."""
        held = 2 * self.most + 2  # beats in the data queue
        number, pushed = last - first, 0
        for i in range(number):
            room = self.left[0] + 1 + LANES if len(self.left) == self.ahead else 0.0
            self.made = max(self.made + words.until(first + i + 1) - words.until(first + i), room)
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
