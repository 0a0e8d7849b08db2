"""Queue depth against load balance and cycles, as coordinates of two drawings side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log2, log10

WIDTH, HEIGHT = 420, 250
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 30, 44

Sweep = Mapping[int, tuple[int, float]]
"""Queue depth to (cycles, load balance)."""


@dataclass(frozen=True)
class Mark:
    """A value of an axis, and where it lies."""

    at: float
    label: str


@dataclass(frozen=True)
class Dot:
    """One depth of one layer; ``configured`` is the depth that the accelerator has."""

    x: float
    y: float
    label: str
    configured: bool


@dataclass(frozen=True)
class Curve:
    """One layer: position in the schedule, a line, and its dots."""

    position: int
    line: str
    dots: list[Dot]


@dataclass(frozen=True)
class Panel:
    """A drawing: what its y axis means, the marks of both axes, a curve per layer."""

    title: str
    x_marks: list[Mark]
    y_marks: list[Mark]
    curves: list[Curve]
    configured: float
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def panels(titles: Mapping[int, str], sweeps: Mapping[int, Sweep], depth: int) -> list[Panel]:
    """Load balance, and cycles on a logarithmic axis.

    Parameters
    ----------
    titles : mapping
        Names of the layers by position in the schedule.
    sweeps : mapping
        Likewise; all over the same depths, cycles at least 1.
    depth : int
        Of the accelerator; it need not be among those of the sweep.
    """
    depths = sorted({at for sweep in sweeps.values() for at in sweep})
    across = _logarithmic(min(*depths, depth), max(*depths, depth), LEFT, WIDTH - RIGHT)
    cycles = [count for sweep in sweeps.values() for count, _ in sweep.values()]
    steps = _steps(min(cycles), max(cycles))
    up = _logarithmic(steps[0], steps[-1], HEIGHT - BOTTOM, TOP)

    least = min(9, int(10 * min(share for sweep in sweeps.values() for _, share in sweep.values())))
    """Tenth where the axis of the load balance begins."""

    def share(value: float) -> float:
        return round(TOP + (HEIGHT - BOTTOM - TOP) * (1 - value) / (1 - least / 10), 1)

    def panel(title: str, marks: list[Mark], y: Callable[[tuple[int, float]], float]) -> Panel:
        curves = []
        for position, sweep in sweeps.items():
            dots = [
                Dot(across(at), y(sweep[at]), f"{titles[position]}, depth {at}: {sweep[at][0]:,} cycles, "
                    f"load balance {100 * sweep[at][1]:.1f} %", at == depth)
                for at in depths
            ]  # fmt: skip
            curves.append(Curve(position, "M" + "L".join(f"{dot.x},{dot.y}" for dot in dots), dots))
        return Panel(title, [Mark(across(at), str(at)) for at in depths], marks, curves, across(depth))

    shares = [Mark(share(tenth / 10), f"{10 * tenth} %") for tenth in range(least, 11)]
    return [
        panel("load balance", shares, lambda found: share(found[1])),
        panel("cycles", [Mark(up(step), f"{step:,}") for step in steps], lambda found: up(found[0])),
    ]


def _logarithmic(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """Axis from ``low`` at ``start`` to ``high`` at ``end``."""
    span = log2(high / low) or 1.0
    return lambda value: round(start + log2(value / low) / span * (end - start), 1)


def _steps(low: int, high: int) -> list[int]:
    """1, 2, 5, 10, 20, ... around ``low`` and ``high``."""
    powers = range(int(log10(low)), int(log10(high)) + 2)
    steps = [factor * 10**power for power in powers for factor in (1, 2, 5)]
    first = max(step for step in steps if step <= low)
    last = min(step for step in steps if step >= high and step > first)
    return [step for step in steps if first <= step <= last]
