"""The array over the output plane in the timing model: a step per cycle, sums no closer than their drain."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from dataflows.config import Config
from dataflows.plane_order import PlaneOrder
from mapper.kernel import Process
from mapper.program import Job
from mapper.timing_array import Accumulator
from mapper.timing_machine import Machine
from mapper.timing_streamer import STREAM, STREAM_DEPTH, Streamer

SUM = 3  # last step of a sum, to its first word out of the array


@dataclass(frozen=True)
class Sums:
    """The sums of a job.

    Attributes
    ----------
    count, channels : int
        Sums, and channels of each.
    steps : int
        Steps of a channel.
    takes : tuple of int
        Steps of a channel that take an input word.
    rows : int
        Cycles that sums must end apart.
    """

    count: int
    channels: int
    steps: int
    takes: tuple[int, ...]
    rows: int

    @staticmethod
    def of(job: Job, cfg: Config) -> Sums:
        """From an INPUT job."""
        r = job.registers
        kernel, rows = r["kernel"], cfg.array.rows
        order = PlaneOrder(
            rows, cfg.array.cols, kernel["rows"], kernel["cols"], kernel["fresh_rows"], kernel["fresh_cols"]
        )
        takes = tuple(step for step, takes in enumerate(order.takes) if takes)
        count = prod(r[name]["count"] for name in cfg.dataflow.input_nest.levels[1:])
        return Sums(count, kernel["channels"], order.steps, takes, rows)

    @property
    def length(self) -> int:
        """Steps of a sum."""
        return self.channels * self.steps

    def last(self, number: int, start: int, free: int) -> int:
        """When sum ``number`` makes its last step, of a job that starts at ``start``; its first may end at ``free``.

        A sum's last step waits; the next sum's steps follow it.
        """
        return max(start + self.length - 1, free) + number * max(self.length, self.rows)

    def step(self, number: int, start: int, free: int) -> int:
        """When step ``number`` of the job is made."""
        of_sum, step = divmod(number, self.length)
        if step == self.length - 1:
            return self.last(of_sum, start, free)
        return step + (start if of_sum == 0 else self.last(of_sum - 1, start, free) + 1)

    def work(self, machine: Machine, start: int, free: int) -> None:
        """Say when the array works: not while the sum before is drained."""
        first = self.last(0, start, free) - self.length + 1
        if self.length >= self.rows:
            machine.work(first, self.count * self.length)
        else:
            for number in range(self.count):
                machine.work(first + number * self.rows, self.length)

    def word_step(self, number: int) -> int:
        """Step of the job that takes input word ``number``."""
        channel, word = divmod(number, len(self.takes))
        return channel * self.steps + self.takes[word]


class PlaneArray:
    """The array between streamers and accumulator; :meth:`run` is its process."""

    def __init__(self, machine: Machine, inputs: Streamer, weights: Streamer, acc: Accumulator):
        self.machine, self.inputs, self.weights, self.acc = machine, inputs, weights, acc

    def run(self) -> Process:
        """All jobs."""
        cfg, inputs, weights, acc = self.machine.cfg, self.inputs, self.weights, self.acc
        free = 0  # when a sum may end
        while True:
            while not (inputs.jobs and weights.jobs and acc.jobs):
                yield self.machine.streamed
            words, taps, (job, taken) = inputs.jobs.popleft(), weights.jobs.popleft(), acc.jobs.popleft()
            sums = Sums.of(words.job, cfg)
            start = max(max(words.taken, taps.taken) + STREAM, taken, weights.entered) + 1
            _enter(inputs, [sums.step(sums.word_step(n), start, free) for n in _ends(words.words)], words.words)
            _enter(weights, [sums.step(n, start, free) for n in _ends(taps.words)], taps.words)
            sums.work(self.machine, start, free)
            end = sums.last(sums.count - 1, start, free)
            free = end + sums.rows
            acc.summed(job, taken, end + SUM + sums.rows - 1)


def _ends(words: int) -> range:
    """The last words of a job: when these enter decides when its streamer is done."""
    return range(max(0, words - STREAM_DEPTH - 1), words)


def _enter(streamer: Streamer, ends: list[int], words: int) -> None:
    """Words enter, the last ones at the cycles ``ends``; the others some time before."""
    others = words - len(ends)
    if others:
        streamer.enter(others, ends[0] - others)
    for cycle in ends:
        streamer.enter(1, cycle)
