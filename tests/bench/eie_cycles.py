"""How far the estimate from densities alone is off the exact cycles of one job on the sparse engine, in random layers.

Sizes are drawn evenly on a logarithmic scale, densities evenly; the estimate is given those that the pattern has. One
range of sizes is that of small layers, where a few entries more or less count, the other that of published ones.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from dataflows import config
from dataflows.config import Config
from mapper.columns import encode
from mapper.sparse_cycles import engine_cycles, estimate, expected_entries
from tests import sparsity
from tests.bench.figures import Figure, shown

COMMAND = shown("-m", "tests.bench", "eie_cycles")
CONFIG = "configs/eie64.toml"
CASES = 60
SIZES = {"small": (3, 7), "large": (8, 12)}
"""Powers of two between which rows and columns lie."""
GENERATORS = {"independent": sparsity.independent, "clustered": sparsity.clustered}


def errors(cfg: Config, sizes: str, generator: str) -> tuple[list[float], list[float]]:
    """Relative errors of the estimated cycles, and of the expected entries, of :data:`CASES` layers."""
    if cfg.sparse is None:
        raise ValueError(f"{cfg.name} has no sparse engine")
    rng, cycles, counts = np.random.default_rng(5), [], []
    for _ in range(CASES):
        rows, columns = (int(2**power) for power in rng.uniform(*SIZES[sizes], 2))
        weights, activations = rng.uniform(0.05, 1, 2)
        there = GENERATORS[generator](rng, (rows, columns), weights)
        active = rng.random(columns) < activations
        lengths = encode(there.astype(np.int8), cfg).lengths
        exact = engine_cycles(lengths, active, queue=cfg.sparse.queue, word=cfg.input_elements)
        cycles.append(estimate(rows, columns, float(there.mean()), float(active.mean()), cfg) / exact - 1)
        counts.append(expected_entries(rows, columns, float(there.mean()), cfg) / max(1, lengths.sum()) - 1)
    return cycles, counts


def run() -> list[Figure]:
    """Median, ninth decile and largest error of each kind."""
    cfg, figures = config.load(CONFIG), []
    for sizes, generator in product(SIZES, GENERATORS):
        for what, found in zip(("cycles", "entries"), errors(cfg, sizes, generator), strict=True):
            quantiles = np.quantile(np.abs(found), (0.5, 0.9, 1))
            for name, value in zip(("median", "9th decile", "largest"), quantiles, strict=True):
                title = f"{sizes} layers, {generator}: {what}, {name} error"
                figures.append(Figure(title, 100 * float(value), "%", "none", None, COMMAND))
    return figures
