"""The array in the timing model: INPUT, WEIGHT and ACC jobs in step, word by word in closed form."""

from __future__ import annotations

from dataclasses import dataclass

from dataflows import isa
from dataflows.config import Config
from dataflows.vocabulary import Dim
from mapper.kernel import Process
from mapper.timing_bus import iterations
from mapper.timing_machine import Machine

STREAM = 4  # address of an operand word, to that word at the array
STREAM_DEPTH = 5  # operand words between address and array
GRID = 3  # word at the array to its sum, beside one cycle per row and column
PRODUCT = 4  # word at the array to its products, where an adder tree follows, counted as for GRID
TREE_RADIX = 4  # numbers that a stage of an adder tree adds
SUMMED = 2  # sum out of the array, to the tokens of its ACC job

_IDLE = -1.0


@dataclass(frozen=True)
class Stream:
    """Words of one operand in one set of array jobs, and the cycle in which its streamer took its job."""

    words: int
    taken: float


@dataclass
class Pace:
    """When the last words have entered the array.

    Attributes
    ----------
    loaded : float
        Cycle of the last stationary word.
    tile, entered : float
        Cycles of the first and of the last moving word of the last tile.
    """

    loaded: float = _IDLE
    tile: float = _IDLE
    entered: float = _IDLE

    def together(self, first: Stream, second: Stream, now: float) -> float:
        """Both operands move, a word of each per cycle; returns when both streamers are done."""
        taken = max(first.taken, second.taken)
        start = max(max(taken, now - STREAM) + 1 + STREAM, self.entered + 1)
        self.entered = start + first.words - 1
        return max(self.entered - STREAM, taken + 1) + 1

    def tiles(self, tiles: int, still: Stream, moving: Stream, now: float) -> tuple[float, float]:
        """Tiles of a stationary and a moving operand; returns when the streamers of both are done.

        The next tile's stationary words enter once the present tile's moving words have begun: a PE holds two.
        """
        per_tile, moves = still.words // tiles, moving.words // tiles
        ready_still, ready_moving = still.taken + 1 + STREAM, max(moving.taken + 1 + STREAM, now)
        begins = []  # first stationary word of each tile
        for _ in range(tiles):
            begins.append(max(self.tile, self.loaded + 1, ready_still))
            self.loaded = begins[-1] + per_tile - 1
            self.tile = max(self.entered + 1, self.loaded + 1, ready_moving)
            self.entered = self.tile + moves - 1
        last = still.taken + still.words  # last address
        waits_for = still.words - 1 - STREAM_DEPTH  # the word that must have entered before
        if waits_for >= 0:
            last = max(last, begins[waits_for // per_tile] + waits_for % per_tile + 1)
        return last + 1, max(moving.taken + moving.words, self.entered - STREAM) + 1


def depth(cfg: Config) -> int:
    """Cycles from the last word at the array to the last sum out of it."""
    rows, cols, flow = cfg.array.rows, cfg.array.cols, cfg.dataflow
    if flow.output.delay == 0:
        stages: int = sum(TREE_RADIX**stage < rows for stage in range(rows))
        return PRODUCT + stages
    turned = cols if flow.output_transposed else 0
    shifted = rows if flow.temporal is Dim.REDUCTION else 0
    return GRID + rows + cols + turned + shifted


def array(machine: Machine) -> Process:
    """INPUT, WEIGHT and ACC jobs, always one of each, from the front ends to their tokens."""
    kernel, flow, opened = machine.kernel, machine.cfg.dataflow, machine.opened
    latency = depth(machine.cfg)
    pace = Pace()
    while True:
        while not all(opened[unit] for unit in (isa.Unit.INPUT, isa.Unit.WEIGHT, isa.Unit.ACC)):
            yield machine.progress
        job, taken = opened[isa.Unit.INPUT][0]
        weight, weight_taken = opened[isa.Unit.WEIGHT][0]
        acc, acc_taken = opened[isa.Unit.ACC].popleft()
        inputs = Stream(iterations(job, flow.input_nest.levels), taken)
        weights = Stream(iterations(weight, flow.weight_nest.levels), weight_taken)
        if flow.temporal is Dim.REDUCTION or flow.stationary is None:
            input_done = weight_done = pace.together(inputs, weights, kernel.now)
        elif flow.temporal is Dim.PIXEL:
            tiles = inputs.words // iterations(job, flow.input_nest.levels[: flow.input_nest.inner])
            weight_done, input_done = pace.tiles(tiles, weights, inputs, kernel.now)
        else:
            tiles = weights.words // iterations(weight, flow.weight_nest.levels[: flow.weight_nest.inner])
            input_done, weight_done = pace.tiles(tiles, inputs, weights, kernel.now)
        ends = [(weight_done, weight, weight_taken), (input_done, job, taken)]
        for done, which, since in sorted(ends, key=lambda end: end[0]):
            if done - 1 > kernel.now:
                yield done - 1
            opened[which.unit].popleft()
            machine.progress.fire()
            machine.give(which, since, done)
        summed = pace.entered + latency
        machine.give(acc, acc_taken, summed + SUMMED)
        machine.close_at(isa.Unit.ACC, summed)
