"""Steps of a program and their software pipelining: loads are emitted ahead of the steps that need them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

AHEAD = 24
"""Steps looked ahead for loads; more only lengthens the program's look-ahead window."""


@dataclass(frozen=True)
class Load:
    """Something a step needs on chip.

    ``key`` names it, so that several steps can share it; ``emit`` adds the LOAD jobs given its address.
    ``layer_bound`` loads read what an earlier layer stores, so they are not emitted before their layer begins.
    ``reserve`` is the size of the set that stays on chip together and begins with this load: the memory is not
    wrapped around within it. ``ahead`` is the most steps that it is emitted before the one that needs it: commands of
    long loads far ahead would keep those of the steps before them waiting. ``since`` is the last layer whose steps must
    all have been emitted before, because they store what is loaded.
    """

    key: Hashable
    memory: str
    size: int
    emit: Callable[[int], None]
    layer_bound: bool = False
    reserve: int = 0
    ahead: int = AHEAD
    since: int = -1

    def allowed(self, ahead: int, step: Step, current: Step) -> bool:
        """Whether it can be emitted before ``current``, if ``step``, which needs it, comes ``ahead`` steps later."""
        early = self.layer_bound and step.layer != current.layer
        return ahead <= self.ahead and not early and current.layer > self.since


@dataclass(frozen=True)
class Step:
    """Work done once its loads are on chip; ``emit`` gets the address of each load, in order."""

    layer: int
    loads: tuple[Load, ...]
    emit: Callable[[list[int]], None]


@dataclass
class _Live:
    start: int
    end: int
    last_use: int


@dataclass
class Ring:
    """A memory handed out front to back, again and again. Sizes in the memory's own unit.

    What is used for long lies in the way when the front comes round to it; so loads that stay must be all that
    their layer has in a memory.
    """

    size: int
    granule: int = 1
    position: int = 0
    live: list[_Live] = field(default_factory=list)

    def take(self, amount: int, step: int, last_use: int, reserve: int = 0) -> int | None:
        """Address of a free stretch, or None while steps from ``step`` on still need what lies there."""
        amount = -(-amount // self.granule) * self.granule
        start = self.position if self.position + max(amount, reserve) <= self.size else 0
        self.live = [x for x in self.live if x.last_use >= step]
        if amount > self.size or any(x.start < start + amount and start < x.end for x in self.live):
            return None
        self.position = start + amount
        self.live.append(_Live(start, start + amount, last_use))
        return start


def run(steps: list[Step], rings: dict[str, Ring]) -> None:
    """Emit all steps in order, each load as early as its memory and its data allow."""
    last_use: dict[Hashable, int] = {}
    for i, step in enumerate(steps):
        for load in step.loads:
            last_use[load.key] = i
    address: dict[Hashable, int] = {}
    for i, step in enumerate(steps):
        blocked: set[str] = set()
        for j in range(i, min(i + AHEAD, len(steps))):
            for load in steps[j].loads:
                if load.key in address or load.memory in blocked:
                    continue
                start = None
                if load.allowed(j - i, steps[j], step):
                    start = rings[load.memory].take(load.size, i, last_use[load.key], load.reserve)
                if start is None:
                    blocked.add(load.memory)  # keep the order of loads within a memory
                    continue
                address[load.key] = start
                load.emit(start)
        missing = [load for load in step.loads if load.key not in address]
        if missing:
            load = missing[0]
            raise AssertionError(f"plan of layer {step.layer} does not fit the {load.memory} memory: {load.key}")
        step.emit([address[load.key] for load in step.loads])
