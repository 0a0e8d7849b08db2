"""Depth of the queues in front of the PEs, on the RTL: load balance of a layer like Alex-6 with fewer columns."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from dataflows import config
from dataflows.config import Config
from rtl.emit import emit
from sim.build import build
from tests.bench.eie import CONFIG, later
from tests.bench.eie_layers import BUILD, GENERATORS, TABLE, matrix, vectors
from tests.bench.figures import FOLDER, Figure, shown
from tests.bench.plot import Axis, Points, chart

COMMAND = shown("-m", "tests.bench", "eie_queue")
DEPTHS = (1, 2, 4, 8, 16, 32)
COLUMNS = 2048
EXPECTED = dict(zip(DEPTHS, (0.82, 0.90, 0.94, 0.97, 0.98, 0.99), strict=True))
"""Load balance of a model with independent data: entries / (PEs * cycles)."""


def deep(cfg: Config, depth: int) -> Config:
    """The configuration with queues of another depth."""
    if cfg.sparse is None:
        raise ValueError(f"{cfg.name} has no sparse engine")
    sparse = cfg.sparse.model_copy(update={"queue": depth})
    return cfg.model_copy(update={"name": f"{cfg.name}_queue{depth}", "sparse": sparse})


def built(cfg: Config) -> float:
    """Seconds of the C++ build; next to none if it is in the cache."""
    verilog = emit(cfg, BUILD / cfg.name) / f"{cfg.name}.v"
    started = time.perf_counter()
    build(verilog, cfg.name, "library")
    return time.perf_counter() - started


def run(picture: Path = FOLDER / "eie_queue.svg") -> list[Figure]:
    """Load balance by depth, RTL beside the exact model; also drawn."""
    base, of = config.load(CONFIG), TABLE[0]
    figures: list[Figure] = []
    lines: dict[str, Points] = {}
    for depth in DEPTHS:
        cfg = deep(base, depth)
        figures.append(Figure(f"queue {depth}: C++ build", built(cfg), "s", "none", None, COMMAND))
        for generator in GENERATORS:
            rng = np.random.default_rng(11)
            weight = matrix(rng, generator, of.outputs, COLUMNS, of.weights)
            x = vectors(rng, 4, COLUMNS, of.activations)
            found = later(cfg, weight, x)
            balance = 1 / found.ratio
            lines[generator] = [*lines.get(generator, ()), (depth, balance)]
            name = f"queue {depth} ({generator})"
            expected = EXPECTED[depth] if generator == "independent" else None
            figures += [
                Figure(f"{name}: load balance", balance, "1", "expected", expected, COMMAND),
                Figure(f"{name}: cycles", found.engine, "cycles", "exact model", found.model, COMMAND),
            ]
    x_axis = Axis("depth of the queues", DEPTHS, logarithmic=True)
    y_axis = Axis("entries / (PEs x cycles)", (0.6, 0.7, 0.8, 0.9, 1.0))
    chart(picture, "Load balance of 64 PEs, Alex-6-like layer", x_axis, y_axis, lines)
    return figures
