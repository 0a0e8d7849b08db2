"""One layer at densities from 0.05 to 1: the sparse engine of ``eie64`` against the array of ``ws8``.

*Streamed*: the whole batch from the first command to the last byte stored, weights from DRAM.
*Resident*: what is left if weights are on chip already. On the engine the cycles in which unit SPARSE has a job, at
work or stalled, read-out included, measured; on the array, whose weight buffer is too small for the layer, the law of
its dataflow: the least it could take with a larger one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from dataflows import config
from dataflows.config import Config
from dataflows.vocabulary import Dim
from tests.bench.eie import CONFIG, engine_time
from tests.bench.eie_layers import Measured, matrix, measured, vectors
from tests.bench.figures import FOLDER, Figure, shown
from tests.bench.plot import Axis, Points, chart

COMMAND = shown("-m", "tests.bench", "eie_density")
DENSE_CONFIG = "configs/ws8.toml"
INPUTS, OUTPUTS = 1024, 1024
DENSITIES = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
ACTIVATIONS = (0.35, 1.0)
BATCH = 16

Lines = dict[str, list[tuple[float, float]]]


@dataclass(frozen=True)
class Cost:
    """Cycles and bytes of one way to run the layer."""

    cycles: float
    bytes: float


def law(cfg: Config, batch: int) -> Cost:
    """The array with its weights on chip: cycles of the dataflow's law, bytes of activations."""
    extent = {Dim.PIXEL: batch, Dim.CHANNEL: OUTPUTS, Dim.REDUCTION: INPUTS}
    return Cost(cfg.dataflow.cycles(cfg.array.rows, cfg.array.cols, extent), batch * (INPUTS + OUTPUTS))


def streamed(of: Measured) -> Cost:
    """A whole run."""
    return Cost(of.run.cycles, of.dram_bytes)


def resident(of: Measured, batch: int) -> Cost:
    """The engine alone."""
    return Cost(engine_time(of), batch * (INPUTS + OUTPUTS))


def crossing(points: Points) -> float | None:
    """The density at which a falling speed-up is 1, between two that were measured; None if it never is."""
    for (low, above), (high, below) in pairwise(points):
        if above >= 1 > below:
            return low + (high - low) * (above - 1) / (above - below)
    return None


def sparse_costs(cfg: Config, density: float, activations: float) -> dict[str, Cost]:
    """The engine's costs at one density."""
    rng = np.random.default_rng([5, round(100 * density)])
    weight = matrix(rng, "independent", OUTPUTS, INPUTS, density)
    x = vectors(rng, BATCH, INPUTS, activations)
    one, many = (measured(cfg, weight, x[:count], "sparse") for count in (1, BATCH))
    return {
        "streamed, one vector": streamed(one),
        f"streamed, batch of {BATCH}": streamed(many),
        "resident, one vector": resident(one, 1),
        f"resident, batch of {BATCH}": resident(many, BATCH),
    }


def array_costs(cfg: Config) -> dict[str, Cost]:
    """The array's costs, whatever the density."""
    rng = np.random.default_rng(5)
    weight = matrix(rng, "independent", OUTPUTS, INPUTS, 1.0)
    x = vectors(rng, BATCH, INPUTS, 1.0)
    one, many = (measured(cfg, weight, x[:count], "array") for count in (1, BATCH))
    return {
        "streamed, one vector": streamed(one),
        f"streamed, batch of {BATCH}": streamed(many),
        "resident, one vector": law(cfg, 1),
        f"resident, batch of {BATCH}": law(cfg, BATCH),
    }


def summary(lines: Lines, what: str) -> list[Figure]:
    """Where lines cross 1; a line that never does is given with its last point."""
    figures = []
    for name, points in lines.items():
        found = crossing(points)
        if found is not None:
            figures.append(Figure(f"{name}: break-even of {what}", found, "density", "none", None, COMMAND))
        else:
            last = points[-1][1]
            figures.append(Figure(f"{name}: no break-even of {what}, at density 1", last, "1", "even", 1, COMMAND))
    return figures


def draw(name: str, title: str, quantity: str, lines: Lines, ticks: Sequence[float]) -> Path:
    """A chart over density."""
    x = Axis("density of weights", (0.05, 0.1, 0.2, 0.4, 0.6, 1.0), logarithmic=True)
    return chart(FOLDER / f"{name}.svg", title, x, Axis(quantity, ticks, logarithmic=True), lines)


def run() -> list[Figure]:
    """Speed-up and DRAM bytes for every density and case, and where they are even; also drawn."""
    engine, array = config.load(CONFIG), config.load(DENSE_CONFIG)
    dense = array_costs(array)
    figures: list[Figure] = []
    speed: Lines = {}
    saved: Lines = {}
    for activations in ACTIVATIONS:
        for density in DENSITIES:
            for case, cost in sparse_costs(engine, density, activations).items():
                line, beside = f"{case}, activations {activations:g}", dense[case]
                speed.setdefault(line, []).append((density, beside.cycles / cost.cycles))
                name = f"density {density:g}, {line}"
                figures.append(Figure(f"{name}: cycles", cost.cycles, "cycles", "ws8, dense", beside.cycles, COMMAND))
                if activations == ACTIVATIONS[0]:
                    saved.setdefault(case, []).append((density, beside.bytes / max(cost.bytes, 1)))
                    figures.append(Figure(f"{name}: DRAM", cost.bytes, "bytes", "ws8, dense", beside.bytes, COMMAND))
    figures += summary(speed, "speed-up")
    figures += summary({case: points for case, points in saved.items() if "streamed" in case}, "saving of DRAM bytes")
    title = f"{INPUTS} x {OUTPUTS} on eie64 against ws8 dense"
    draw("eie_density", title, "cycles of ws8 / cycles of eie64", speed, (0.5, 1, 2, 5, 10, 20, 50, 100, 200))
    return figures
