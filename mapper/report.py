"""``report.html``: one self-contained page about a model on an accelerator."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from dataflows import isa
from mapper.outcome import Outcome
from mapper.table import layer_cycles
from mapper.terminal import number, percent, size, summary
from mapper.timing import Span

BINS = 800
"""Horizontal resolution of the timeline."""

SHADES = 8
"""Levels of activity that the timeline distinguishes."""

DOES = {
    isa.Unit.LOAD: "DRAM to buffers",
    isa.Unit.INPUT: "inputs into the array",
    isa.Unit.WEIGHT: "weights into the array",
    isa.Unit.ACC: "sums out of the array",
    isa.Unit.VECTOR: "requantize, pool, add",
    isa.Unit.STORE: "results to DRAM",
}


@dataclass(frozen=True)
class Bar:
    """A stretch of the timeline, in bins, with the share of it in which the unit works."""

    start: int
    width: int
    share: float


@dataclass(frozen=True)
class Stretch:
    """A layer on the timeline, in bins (fractions allowed)."""

    name: str
    start: float
    width: float
    cycles: int


def activity(spans: Iterable[Span], total: int, bins: int = BINS) -> list[Bar]:
    """Share of each bin of ``total`` cycles covered by any of the spans; equal neighbours are one, idle ones absent."""
    if total <= 0:
        return []
    edges = np.linspace(0, total, bins + 1)
    covered = np.zeros(bins)
    for start, end in _joined(spans):
        first = min(int(start * bins / total), bins - 1)
        last = min(int(end * bins / total), bins - 1)
        part = slice(first, last + 1)
        covered[part] += np.clip(np.minimum(edges[1:][part], end) - np.maximum(edges[:-1][part], start), 0, None)
    levels = np.ceil(covered * bins / total * SHADES - 1e-9).astype(int).clip(0, SHADES)
    cuts = [0, *(np.flatnonzero(np.diff(levels)) + 1).tolist(), bins]
    return [Bar(a, b - a, levels[a] / SHADES) for a, b in pairwise(cuts) if levels[a]]


def _joined(spans: Iterable[Span]) -> list[tuple[int, int]]:
    """Union of the spans: jobs of a unit may overlap, and each cycle counts once."""
    result: list[tuple[int, int]] = []
    for start, end in sorted((s.start, s.end) for s in spans):
        if result and start <= result[-1][1]:
            result[-1] = result[-1][0], max(end, result[-1][1])
        else:
            result.append((start, end))
    return result


def stretches(outcome: Outcome) -> list[Stretch]:
    """The layers of one execution side by side, as predicted."""
    prediction, names = outcome.prediction, {e.index: e.layer.name for e in outcome.program.schedule}
    scale, position, result = BINS / max(prediction.cycles, 1), 0, []
    for index, cycles in layer_cycles(outcome.program, prediction.layer_end, prediction.cycles).items():
        result.append(Stretch(names[index], position * scale, cycles * scale, cycles))
        position += cycles
    return result


def report(outcome: Outcome) -> str:
    """The page as text."""
    environment = Environment(
        loader=PackageLoader("mapper"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "size": size, "number": number}
    prediction = outcome.prediction
    tracks = [
        (unit.name, DOES[unit], activity((s for s in prediction.spans if s.unit == unit), prediction.cycles))
        for unit in isa.Unit
    ]
    return environment.get_template("report.html.j2").render(
        outcome=outcome, cfg=outcome.cfg, network=outcome.program.network, rows=outcome.rows, totals=outcome.totals,
        run=outcome.run, summary=summary(outcome), tracks=tracks, stretches=stretches(outcome), bins=BINS,
        all_cycles=sum(row.cycles for row in outcome.rows), resolved=outcome.cfg.resolved(),
        dram_rate=outcome.arguments.bytes_per_cycle or outcome.cfg.bus_bytes,
    )  # fmt: skip
