"""Exact choice from a finite space of plans: branch and bound, with the proof of what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TypeVar

from mapper.conv_shape import ConvShape
from mapper.objectives import Objective
from mapper.plan_energy import plan_energy


@dataclass(frozen=True)
class Search:
    """What is known of a plan that was chosen.

    Attributes
    ----------
    objective : str
        What was made least.
    candidates : int
        Plans of the space that fit the memories.
    costed : int
        Those whose cost was worked out; bounds exclude the others.
    gap : float or None
        By what part the plan's cost may lie above the least one of the space, ``near`` aside: 0 is a proof that it
        does not, None that nothing is proven because a rule of thumb has chosen what was costed.
    near : float
        Plans closer than this to the least cost count as equal; then energy decides.
    reused : bool
        Whether the search of an equal layer was taken.
    """

    objective: Objective
    candidates: int
    costed: int
    gap: float | None = 0.0
    near: float = 0.0
    reused: bool = False

    @property
    def summary(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "exact": self.gap == 0}


class Costed(Protocol):
    """A plan with estimates."""

    @property
    def cycles(self) -> float:
        """Estimated cycles."""

    @property
    def shape(self) -> ConvShape:
        """The layer."""

    @property
    def dram_bytes(self) -> int:
        """Estimated DRAM traffic."""

    @property
    def on_chip(self) -> float:
        """Estimated picojoules of accesses on chip, 0 where they are not estimated."""


PlanT = TypeVar("PlanT", bound=Costed)


def energy(plan: Costed) -> float:
    """Estimated picojoules."""
    return plan_energy(plan.shape, plan.dram_bytes) + plan.on_chip


def value(plan: Costed, objective: Objective) -> float:
    """What an objective makes least."""
    match objective:
        case "cycles":
            return plan.cycles
        case "energy":
            return energy(plan)
        case "edp":
            return plan.cycles * energy(plan)


def choose(
    candidates: Iterable[PlanT], cost: Callable[[PlanT], PlanT], objective: Objective = "cycles", *,
    bound: Callable[[PlanT], float] = lambda _: 0, near: float = 0.0,
) -> tuple[PlanT, Search] | None:  # fmt: skip
    """The plan of least cost; of those within ``near`` of it the one of least energy, then of fewest cycles.

    Parameters
    ----------
    candidates : iterable
        All plans that fit.
    cost : callable
        The plan with its estimates.
    bound : callable
        No plan costs less than this; the closer, the fewer are costed.

    Returns
    -------
    The plan and what was searched; None without candidates.
    """
    space = sorted(((bound(plan), number, plan) for number, plan in enumerate(candidates)), key=lambda item: item[:2])
    plans: list[tuple[float, PlanT]] = []
    least = float("inf")
    for lowest, _, plan in space:
        if lowest > least * (1 + near):
            break  # and so do all that follow
        found = cost(plan)
        plans.append((value(found, objective), found))
        least = min(least, plans[-1][0])
    if not plans:
        return None
    equal = [plan for worth, plan in plans if worth <= least * (1 + near)]
    best = min(equal, key=lambda plan: (energy(plan), plan.cycles))
    return best, Search(objective, len(space), len(plans), near=near)
