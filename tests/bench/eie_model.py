"""Known without running: how well the table's layers compress, and how far the estimate from densities is off."""

from __future__ import annotations

import numpy as np

from dataflows import config
from dataflows.config import Config
from mapper.columns import Columns, encode
from mapper.sparse_cycles import engine_cycles, estimate
from tests.bench.eie import CONFIG
from tests.bench.eie_layers import GENERATORS, TABLE, ZERO, Layer, matrix, vectors
from tests.bench.figures import Figure, shown

COMMAND = shown("-m", "tests.bench", "eie_model")


def estimated(cfg: Config, of: Layer, columns: Columns, active: np.ndarray, title: str) -> Figure:
    """Estimate from the nominal densities beside the exact cycles of the pattern."""
    queue = cfg.sparse.queue if cfg.sparse else 0
    exact = engine_cycles(columns.lengths, active, queue=queue, word=cfg.input_elements)
    guess = estimate(of.outputs, of.inputs, of.weights, of.activations, cfg)
    return Figure(f"{title}: estimate from densities", guess, "cycles", "exact model", exact, COMMAND)


def run() -> list[Figure]:
    """Both, for both kinds of sparsity."""
    cfg = config.load(CONFIG)
    figures = []
    for of in TABLE:
        for generator in GENERATORS:
            rng = np.random.default_rng([7, of.inputs, of.outputs])
            weight = matrix(rng, generator, of.outputs, of.inputs, of.weights)
            active = vectors(rng, 2, of.inputs, of.activations)[1].ravel() != ZERO
            columns = encode(weight, cfg)
            title = f"{of.name} ({generator})"
            share = columns.padding / columns.entries.sum()
            figures.append(Figure(f"{title}: padding", share, "of entries", "none", None, COMMAND))
            figures.append(estimated(cfg, of, columns, active, title))
    return figures
