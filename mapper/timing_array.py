"""The array in the timing model: INPUT, WEIGHT and ACC jobs in step, tile by tile in closed form."""

from __future__ import annotations

from collections import deque

from dataflows import isa
from dataflows.config import Config
from dataflows.vocabulary import Dim, Operand
from mapper.kernel import Process
from mapper.program import Job
from mapper.timing_bus import iterations
from mapper.timing_machine import Machine
from mapper.timing_streamer import STREAM, Streamer, of_sparse

GRID = 2  # word at the array to its sum, beside one cycle per row and column
PRODUCT = 3  # word at the array to its products, where an adder tree follows, counted as for GRID
PIECES = {"table": 2}  # longer way to the sum where words are taken apart into pieces; 1 for other kinds
TREE_RADIX = 4  # numbers that a stage of an adder tree adds
SUMMED = 3  # last sum out of the array, to the tokens of its ACC job


class Accumulator:
    """Engine of ACC: a job that runs, and one that waits.

    Attributes
    ----------
    jobs : deque of (Job, taken)
        Jobs without operands yet.
    """

    def __init__(self, machine: Machine):
        self.machine = machine
        self.jobs: deque[tuple[Job, int]] = deque()
        self._waiting: deque[int] = deque()  # jobs taken and not begun: when
        self._begun = -1  # when the last one began
        self._end: int | None = -1  # the running job; None if that is not known
        self._sparse = False  # the latest job is for the sparse engine

    def accepts(self, job: Job) -> bool:
        """Whether no job waits, and none is there of the other source."""
        now = self.machine.kernel.cycle
        if of_sparse(job) != self._sparse and (self._end is None or self._end >= now):
            return False
        return not self._waiting and self._begun < now

    def next(self, *, sparse: bool = False) -> bool:
        """Whether a job without operands is there, for the array or for the sparse engine."""
        return bool(self.jobs) and of_sparse(self.jobs[0][0]) == sparse

    def take(self, job: Job) -> None:
        """A job that it is ready for."""
        now = self.machine.kernel.cycle
        self._sparse = of_sparse(job)
        self.jobs.append((job, now))
        self._waiting.append(now)
        self._begin()
        self.machine.streamed.fire()

    def _begin(self) -> None:
        """The waiting job follows the one that has ended."""
        if self._waiting and self._end is not None:
            self._begun = max(self._waiting.popleft() + 1, self._end)
            self._end = None
            self.machine.at(self._begun + 1, self.machine.progress[isa.Unit.ACC])

    def summed(self, job: Job, taken: int, time: int) -> None:
        """The last sum of the running job comes at ``time``."""
        self._end = time
        if self.machine.cfg.sparse:
            self.machine.at(time + 1, self.machine.progress[isa.Unit.ACC])  # a job of the other source can follow
        self.machine.summed += not of_sparse(job)
        self.machine.give(job, taken, time + SUMMED)
        self._begin()


def depth(cfg: Config) -> int:
    """Cycles from the last word at the array to the last sum out of it."""
    rows, cols, flow = cfg.array.rows, cfg.array.cols, cfg.dataflow
    if flow.output.delay == 0:
        stages: int = sum(TREE_RADIX**stage < rows for stage in range(rows))
        return PRODUCT + stages
    turned = cols if flow.output_transposed else 0
    shifted = rows - 1 if flow.temporal is Dim.REDUCTION else 0
    kind = cfg.multiplier.kind if cfg.multiplier else None
    pieces = PIECES.get(kind, 1) if kind and flow.temporal is Dim.REDUCTION else 0
    return GRID + rows + cols + turned + shifted + pieces


class Array:
    """The streamers, the accumulator, and between them the array; :meth:`run` is its process."""

    def __init__(self, machine: Machine):
        self.machine, flow = machine, machine.cfg.dataflow
        self.acc = Accumulator(machine)
        self.input = Streamer(machine, isa.Unit.INPUT, flow.input_nest.levels)
        self.weight = Streamer(machine, isa.Unit.WEIGHT, flow.weight_nest.levels)
        machine.engines |= {isa.Unit.INPUT: self.input, isa.Unit.WEIGHT: self.weight, isa.Unit.ACC: self.acc}

    def run(self) -> Process:
        """All jobs."""
        flow = self.machine.cfg.dataflow
        if flow.temporal is Dim.REDUCTION and self.machine.cfg.multiplier:
            return self._steps()
        if flow.temporal is Dim.REDUCTION or flow.stationary is None:
            return self._pairs()
        return self._tiles()

    def _pairs(self) -> Process:
        """Both operands move, a word of each per cycle."""
        first, second, acc = self.input, self.weight, self.acc
        while True:
            while not (first.next() and second.next() and acc.next()):
                yield self.machine.streamed
            one, two, (job, taken) = first.jobs.popleft(), second.jobs.popleft(), acc.jobs.popleft()
            start = max(max(one.taken, two.taken) + STREAM, taken, first.entered) + 1
            self.machine.work(start, one.words)
            first.enter(one.words, start)
            second.enter(two.words, start)
            acc.summed(job, taken, first.entered + depth(self.machine.cfg))

    def _steps(self) -> Process:
        """Reduction words: ``rows`` input words in their first cycles, a weight word every few cycles."""
        first, second, acc, cfg = self.input, self.weight, self.acc, self.machine.cfg
        free = 0  # first cycle in which the array has no word
        while True:
            while not (first.next() and second.next() and acc.next()):
                yield self.machine.streamed
            one, two, (job, taken) = first.jobs.popleft(), second.jobs.popleft(), acc.jobs.popleft()
            told = one.job.registers["precision"]
            reduction = cfg.reduction(told["a_bits"], told["w_bits"])
            cycles = one.words // cfg.array.rows * reduction.word_cycles
            start = max(max(one.taken, two.taken) + STREAM + 1, taken + 1, free)
            free = start + cycles
            self.machine.work(start, cycles)
            first.enter(one.words, start, cfg.array.rows, reduction.word_cycles)
            second.enter(two.words, start, 1, reduction.cycles)
            acc.summed(job, taken, free - 1 + depth(cfg))

    def _tiles(self) -> Process:
        """Tiles of a stationary and a moving operand.

        The next tile's stationary words enter once the present tile's moving words have begun: a PE holds two.
        """
        cfg, acc, streamed = self.machine.cfg, self.acc, self.machine.streamed
        flow, latency = cfg.dataflow, depth(cfg)
        per_tile = flow.load_cycles(cfg.array.rows, cfg.array.cols)
        still, moving, nest = self.weight, self.input, flow.input_nest
        if flow.moving is Operand.WEIGHT:
            still, moving, nest = self.input, self.weight, flow.weight_nest
        loads = tiles = moves = 0  # tiles of the present jobs to come, words of a tile
        loading = begin = -1
        while True:
            if not loads:
                while not still.next():
                    yield streamed
                stream = still.jobs.popleft()
                loads, loading = stream.words // per_tile, stream.taken + STREAM + 1
            loads -= 1
            still.enter(per_tile, max(begin, still.entered + 1, loading))
            ready = 0
            if not tiles:
                while not (moving.next() and acc.next()):
                    yield streamed
                stream, (job, taken) = moving.jobs.popleft(), acc.jobs.popleft()
                moves = iterations(stream.job, nest.levels[: nest.inner])
                tiles, ready = stream.words // moves, max(stream.taken + STREAM, taken) + 1
            tiles -= 1
            begin = max(moving.entered + 1, still.entered + 1, ready)
            self.machine.work(begin, moves)
            moving.enter(moves, begin)
            if not tiles:
                acc.summed(job, taken, moving.entered + latency)
