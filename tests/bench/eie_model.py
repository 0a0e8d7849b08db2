"""Known without running: how well the table's layers compress, and how far the estimate from densities is off."""

from __future__ import annotations

import numpy as np

from dataflows import config
from dataflows.config import Config
from dataflows.network import Conv
from mapper.columns import encode
from mapper.compressed_layers import compression
from mapper.sparse_cycles import engine_cycles, estimate
from tests.bench.eie import CONFIG
from tests.bench.eie_layers import GENERATORS, TABLE, ZERO, Layer, linear, matrix, vectors
from tests.bench.figures import Figure, shown

COMMAND = shown("-m", "tests.bench", "eie_model")


def layer(cfg: Config, of: Layer, generator: str) -> list[Figure]:
    """Ratios to float32 and to one byte per weight; the estimate beside the exact cycles of one vector, in one job."""
    rng = np.random.default_rng([7, of.inputs, of.outputs])
    weight = matrix(rng, generator, of.outputs, of.inputs, of.weights)
    active = vectors(rng, 1, of.inputs, of.activations).ravel() != ZERO
    (conv,) = linear(of.name, weight, 1).layers
    if not isinstance(conv, Conv):
        raise TypeError("a linear layer is a convolution")
    small = compression(conv, cfg, True)
    exact = engine_cycles(encode(weight, cfg).lengths, active, queue=cfg.sparse.queue if cfg.sparse else 0, word=8)
    guess = estimate(of.outputs, of.inputs, of.weights, of.activations, cfg)
    name = f"{of.name} ({generator})"
    return [
        Figure(f"{name}: padding", small.padding / small.entries, "of entries", "none", None, COMMAND),
        Figure(f"{name}: compression", small.ratio, "1", "with Huffman codes", small.huffman_ratio, COMMAND),
        Figure(f"{name}: bytes", small.compressed_bytes, "bytes", "dense, 8 bits", weight.size, COMMAND),
        Figure(f"{name}: estimate from densities", guess, "cycles", "exact model", exact, COMMAND),
    ]


def run() -> list[Figure]:
    """All layers with both kinds of sparsity."""
    cfg = config.load(CONFIG)
    return [figure for of in TABLE for generator in GENERATORS for figure in layer(cfg, of, generator)]
