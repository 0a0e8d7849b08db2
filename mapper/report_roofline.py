"""The roofline: MACs per DRAM byte against MACs per cycle, both logarithmic, as coordinates of a drawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import atan2, ceil, degrees, floor, log10, sqrt

from dataflows.config import Config
from mapper.outcome import Outcome
from mapper.report_layers import View, dram_rate
from mapper.table import array_multipliers

WIDTH, HEIGHT = 860, 440
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 24, 48
LABELS = 6
"""Points with their names beside them, at most: those farthest below the roof of the array."""

ARRAY = "array"

BOTH = "array + vector window"
NAMES = {"array": ARRAY, BOTH: BOTH, "vector window": "vector window", "sparse": "sparse engine"}
"""Engines that do MACs, as they are called."""

OFFSETS = (-22, 16, 34)
"""How far below its line the name of a roof is: beside the points, which lie on the first one, that of the array."""

ROOM = (150.0, 14.0)
"""Width and height that a name must have to itself."""

DEPTH = 100
"""How far below the array's multipliers the axis reaches at least."""

SMALLEST, LARGEST = 4.0, 15.0
"""Radii of a point: its area grows with the layer's cycles."""


@dataclass(frozen=True)
class Tick:
    """A labelled line of the grid."""

    at: float
    label: str


@dataclass(frozen=True)
class Roof:
    """A bound on the rate: its line, and what is written at its end."""

    line: str
    label: str
    x: float
    y: float


@dataclass(frozen=True)
class Point:
    """A layer: centre and radius."""

    view: View
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Slope:
    """The label along the bound of the DRAM: its place, its angle in degrees, bytes a cycle."""

    x: float
    y: float
    angle: float
    rate: float


@dataclass(frozen=True)
class Roofline:
    """Everything in the drawing, in its coordinates.

    ``labelled`` are the points that have their name beside them; ``ridge`` is the intensity where both bounds of the
    array meet.
    """

    x_ticks: list[Tick]
    y_ticks: list[Tick]
    roofs: list[Roof]
    points: list[Point]
    labelled: list[Point]
    ridge: float
    slope: Slope
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


class _Scale:
    """Logarithmic axis from ``low`` at ``start`` to ``high`` at ``end``."""

    def __init__(self, low: float, high: float, start: float, end: float):
        self.low, self.high, self.start, self.end = log10(low), log10(high), start, end

    def __call__(self, value: float) -> float:
        share = (log10(value) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> list[Tick]:
        """1, 10, 100, ... within the axis."""
        powers = range(ceil(self.low - 1e-9), floor(self.high + 1e-9) + 1)
        return [Tick(self(10.0**p), f"{10.0**p:,.{max(-p, 0)}f}") for p in powers]


def roofline(outcome: Outcome, layers: Sequence[View]) -> Roofline | None:
    """The drawing; None where no layer has MACs."""
    shown = [(v, v.intensity, v.rate) for v in layers if v.intensity and v.rate]
    if not shown:
        return None
    rate, peaks = dram_rate(outcome), _peaks(outcome.cfg, [v for v, _, _ in shown])
    array = max(peak for peak, owners in peaks.items() if ARRAY in owners[0])
    ridge = array / rate
    xs, ys = [i for _, i, _ in shown], [r for _, _, r in shown]
    low, high = min(*xs, ridge, 1.0) / 1.6, max(*xs, 4 * ridge) * 1.6
    x = _Scale(low, high, LEFT, WIDTH - RIGHT)
    y = _Scale(min(*(r / 2 for r in ys), array / DEPTH), max(*ys, array) * 3, HEIGHT - BOTTOM, TOP)
    foot = max(low, 10**y.low / rate)
    roofs: list[Roof] = []
    places = _label_places({peak: y(peak) for peak in peaks}, several=outcome.cfg.multiplier is not None)
    for peak, owners in peaks.items():
        corner = f"{x(peak / rate)},{y(peak)}"
        line = f"M{x(foot)},{y(foot * rate)}L{corner}L{x(high)},{y(peak)}"
        label = f"{peak:,.6g} multipliers of the {' and of the '.join(owners)}"
        roofs.append(Roof(line, label, x(high), places[peak]))
    most = max(v.row.cycles for v, _, _ in shown)
    points = [
        Point(v, x(i), y(r), round(max(SMALLEST, LARGEST * sqrt(v.row.cycles / most)), 1)) for v, i, r in shown
    ]
    points.sort(key=lambda p: -p.radius)  # small ones in front
    along = sqrt(foot * ridge)  # half way up
    at, above = (x(along), y(along * rate)), (x(along * 2), y(along * 2 * rate))
    angle = degrees(atan2(above[1] - at[1], above[0] - at[0]))
    return Roofline(x.ticks(), y.ticks(), roofs, points, _labelled(points), ridge, Slope(*at, round(angle, 1), rate))


def _label_places(lines: Mapping[float, float], several: bool) -> dict[float, float]:
    """Heights of the names of roofs, by rate; where the array has ``several`` each is just above its line."""
    if len(lines) == 1 or not several:
        return {peak: at + below for (peak, at), below in zip(lines.items(), OFFSETS, strict=False)}
    places: dict[float, float] = {}
    last = -ROOM[1]
    for peak in sorted(lines, reverse=True):  # from the top down
        last = places[peak] = max(lines[peak] - 6, last + ROOM[1])
    return places


def _peaks(cfg: Config, shown: Sequence[View]) -> dict[float, list[str]]:
    """Rates of the engines used, and of the array at all widths used (at least one), and what has them."""
    owners: dict[float, dict[str, list[str]]] = {}
    for view in sorted(shown, key=lambda v: list(NAMES).index(v.row.engine)):
        at = owners.setdefault(view.row.multipliers, {}).setdefault(NAMES[view.row.engine], [])
        if cfg.multiplier and view.row.engine.startswith("array") and view.row.widths not in at:
            at.append(view.row.widths)
    if not any(ARRAY in engines for engines in owners.values()):
        peak, none = array_multipliers(cfg), list[str]()
        owners = {peak: {ARRAY: none} | owners.pop(peak, {})} | owners
    return {
        peak: [f"{engine} at {', '.join(widths)} bits" if widths else engine for engine, widths in engines.items()]
        for peak, engines in owners.items()
    }


def _labelled(points: Sequence[Point]) -> list[Point]:
    """Points whose names have room, those that work least first; names take a line each."""
    result: list[Point] = []
    for point in sorted(points, key=lambda p: -p.y):
        near = any(abs(p.y - point.y) < ROOM[1] and abs(p.x - point.x) < ROOM[0] for p in points if p is not point)
        if not near and len(result) < LABELS:
            result.append(point)
    return result
