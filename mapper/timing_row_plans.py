"""Geometries of row-stationary jobs in the timing model: told with INPUT jobs, worked out one after the other."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from dataflows import isa
from mapper.program import Job
from mapper.timing_machine import Machine
from mapper.timing_streamer import Stream, Streamer

TOLD = 2  # INPUT job taken, to its geometry at the planner
WAITING = 2  # geometries before the planner


@dataclass(frozen=True)
class Geometry:
    """What the array does in a job: numbers of its INPUT registers, and what follows from them."""

    filters: int
    taps: int
    fresh: int
    preload: int
    positions: int
    units: int
    across: int
    passes: int
    group: int  # bus words of a group

    @staticmethod
    def of(job: Job) -> Geometry:
        """From an INPUT job."""
        step, sets, bus = (job.registers[name] for name in ("step", "sets", "bus"))
        return Geometry(
            step["filters"], step["taps"], step["fresh"], step["preload"], step["positions"], sets["units"],
            bus["across"], bus["passes"], step["fresh"] * bus["rows"] * sets["chained"],
        )  # fmt: skip

    @property
    def cycles(self) -> int:
        """Cycles of a step, and filter words of a pass in a PE."""
        return self.filters * self.taps


@dataclass
class Plan:
    """A job's geometry on its way: valid from ``valid`` on; ``taken`` by how many of inputs, weights and steps."""

    geometry: Geometry
    valid: int
    taken: int = 0
    last: int = 0  # when it was last taken


class Plans:
    """Geometry of the jobs in order; the next is worked out when all have taken the one before."""

    USERS = 3

    def __init__(self, machine: Machine):
        self.machine, cfg = machine, machine.cfg
        self._latency = 1 + max(cfg.array.rows, cfg.array.cols)
        self._told: deque[tuple[Geometry, int]] = deque()
        self._begun = -1  # when the last one was begun
        self._free = 0
        self._plans: dict[int, Plan] = {}
        self._next = 0

    def accepts(self) -> bool:
        """Whether one more job may tell its geometry."""
        return len(self._told) + (self._begun >= self.machine.kernel.cycle) < WAITING

    def tell(self, stream: Stream) -> None:
        """An INPUT job has been taken."""
        self._told.append((Geometry.of(stream.job), stream.taken + TOLD))
        self._work_out()

    def _work_out(self) -> None:
        before = self._plans.get(self._next - 1)
        if self._told and (before is None or before.taken == self.USERS):
            geometry, time = self._told.popleft()
            self._begun = max(time, self._free)
            self._plans[self._next] = Plan(geometry, self._begun + self._latency)
            self.machine.at(self._begun + 1, self.machine.progress[isa.Unit.INPUT])
            self._plans.pop(self._next - 2, None)
            self._next += 1

    def take(self, number: int, earliest: int) -> tuple[Geometry, int] | None:
        """Geometry of job ``number`` and when one of its users takes it; None if that is not known yet."""
        plan = self._plans.get(number)
        if plan is None:
            return None
        time = max(plan.valid, earliest)
        plan.taken += 1
        plan.last = max(plan.last, time)
        if plan.taken == self.USERS:
            self._free = plan.last + 1
            self._work_out()
        return plan.geometry, time


class Told:
    """Engine of INPUT: a streamer, and the queue of geometries."""

    def __init__(self, streamer: Streamer, plans: Plans):
        self.streamer, self.plans = streamer, plans

    def accepts(self, job: Job) -> bool:
        """Whether the last address of the job before is out, and there is room for a geometry."""
        return self.streamer.accepts(job) and self.plans.accepts()

    def take(self, job: Job) -> None:
        """A job that it is ready for."""
        self.streamer.take(job)
        self.plans.tell(self.streamer.jobs[-1])
