"""The row-stationary array in the timing model: groups of input words, filter words and steps, each when it can."""

from __future__ import annotations

from collections import deque

from dataflows import isa
from dataflows.config import Config
from mapper.kernel import Process
from mapper.program import Job
from mapper.timing_array import Accumulator
from mapper.timing_machine import Machine
from mapper.timing_row_plans import Geometry, Plans, Told
from mapper.timing_streamer import STREAM, Streamer

JOB_GAP = 3  # last row's end of a job, to the plan of the next one taken
SUM = 4  # last product of a filter in the last row but its skew, to its sum out of the array


class Inputs:
    """Groups of input words: each begins when the last row has room for it."""

    def __init__(self, cfg: Config, streamer: Streamer, plans: Plans):
        self.streamer, self.plans = streamer, plans
        self.room = 3 * (cfg.stores.input or 0)
        self.frees: deque[tuple[int, int]] = deque()  # (cycle, words) in order
        self.delivered: deque[int] = deque()  # last cycles of groups not used yet
        self._number = 0
        self._groups = 0
        self._ready = 0
        self._geometry: Geometry | None = None

    def advance(self) -> bool:
        """The next group; False if it is not known yet when it begins."""
        if not self._groups and not self._open():
            return False
        g = self._geometry
        assert g is not None
        begin = max(self._ready, self.streamer.entered + 1)
        while self.room < g.fresh:
            if not self.frees:
                return False
            time, words = self.frees.popleft()
            self.room += words
            self._ready = begin = max(begin, time)
        self.room -= g.fresh
        self._groups -= 1
        self.streamer.enter(g.group, begin)
        self.delivered.append(self.streamer.entered)
        return True

    def _open(self) -> bool:
        """The next job."""
        if not self.streamer.jobs:
            return False
        found = self.plans.take(self._number, self.streamer.entered + 1)
        if found is None:
            return False
        self._geometry, time = found
        stream = self.streamer.jobs.popleft()
        self._number += 1
        self._groups = stream.words // self._geometry.group
        self._ready = max(time, stream.taken + STREAM) + 1
        return True


class Weights:
    """Filter words: pass after pass; those of the first side begin when the last row has room."""

    def __init__(self, cfg: Config, streamer: Streamer, plans: Plans):
        self.streamer, self.plans = streamer, plans
        self.room = cfg.stores.weight or 0
        self.frees: deque[tuple[int, int]] = deque()  # (first cycle, words): one per cycle
        self.loaded: deque[int] = deque()  # last cycles of passes not used yet
        self._number = 0
        self._passes = 0
        self._left = 0  # words of the first side of the present pass to come
        self._ready = 0
        self._geometry: Geometry | None = None

    def advance(self) -> bool:
        """Some more words; False if it is not known yet when they enter."""
        if not self._left:
            if not self._passes and not self._open():
                return False
            assert self._geometry is not None
            self._left = self._geometry.cycles
            self._passes -= 1
        g = self._geometry
        assert g is not None
        begin = max(self._ready, self.streamer.entered + 1)
        if not self.room:
            if not self.frees:
                return False
            time, words = self.frees.popleft()
            begin = max(begin, time)
            if words > self._left:
                self.frees.appendleft((time + self._left, words - self._left))
            self.room += min(words, self._left)
        words = min(self.room, self._left)
        self.room -= words
        self._left -= words
        self.streamer.enter(words, begin)
        if not self._left:
            if g.across > 1:
                self.streamer.enter((g.across - 1) * g.cycles, self.streamer.entered + 1)
            self.loaded.append(self.streamer.entered)
        return True

    def _open(self) -> bool:
        """The next job."""
        if not self.streamer.jobs:
            return False
        found = self.plans.take(self._number, self.streamer.entered + 1)
        if found is None:
            return False
        self._geometry, time = found
        stream = self.streamer.jobs.popleft()
        self._number += 1
        self._passes = self._geometry.passes
        self._ready = max(time, stream.taken + STREAM) + 1
        return True


class Rows:
    """Inputs, weights, and the steps that use them."""

    def __init__(self, machine: Machine, inputs: Streamer, weights: Streamer, acc: Accumulator):
        self.machine, self.acc, cfg = machine, acc, machine.cfg
        self.rows = cfg.array.rows
        self.plans = Plans(machine)
        self.inputs, self.weights = Inputs(cfg, inputs, self.plans), Weights(cfg, weights, self.plans)
        machine.engines[isa.Unit.INPUT] = Told(inputs, self.plans)
        self._number = 0
        self._geometry: Geometry | None = None
        self._job: tuple[Job, int] | None = None
        self._ready = self._finished = 0  # when the next step can begin; when the last job had left the rows
        self._position = self._pass = 0  # those done

    def run(self) -> Process:
        """All jobs."""
        while True:
            self.advance()
            yield self.machine.streamed

    def advance(self) -> None:
        """All that can be known of what has been taken."""
        moved = True
        while moved:
            moved = self._step()
            moved |= self.inputs.advance()
            moved |= self.weights.advance()

    def _step(self) -> bool:
        """The next step; False if it is not known yet when it begins."""
        if self._geometry is None and not self._open():
            return False
        g = self._geometry
        assert g is not None
        inputs, weights, begin = self.inputs, self.weights, self._ready
        needed = 1
        if self._position == 0:
            needed = g.preload
            if not weights.loaded:
                return False
        if len(inputs.delivered) < needed:
            return False
        if self._position == 0:
            if self._pass == 0:
                if not self.acc.jobs:
                    return False
                self._job = self.acc.jobs.popleft()
                begin = max(begin, self._job[1] + 1)
            begin = max(begin, weights.loaded.popleft() + 1)
        for _ in range(needed):
            begin = max(begin, inputs.delivered.popleft() + 1)
        self.machine.work(begin, g.cycles)
        skew = self.rows - 1 + g.filters * (g.units - 1)
        end = begin + g.cycles + skew  # of the last row
        self._ready = begin + g.cycles
        self._position += 1
        if self._position < g.positions:
            inputs.frees.append((end + 1, g.fresh))
            return True
        inputs.frees.append((end + 1, g.fresh * g.preload))
        weights.frees.append((begin + skew + 2, g.cycles))
        self._position = 0
        self._pass += 1
        if self._pass == g.passes:
            assert self._job is not None
            self.acc.summed(*self._job, begin + (g.taps + g.units - 1) * g.filters - 1 + self.rows + SUM)
            self._geometry, self._pass, self._finished = None, 0, end + JOB_GAP
        return True

    def _open(self) -> bool:
        """The next job."""
        found = self.plans.take(self._number, self._finished)
        if found is None:
            return False
        self._geometry, time = found
        self._ready = time + 1
        self._number += 1
        return True
