"""Transformers whose attention leaves out single values, seeded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dataflows.attention import Attention
from dataflows.network import Network

THRESHOLDS = (1e-5, 0.005, 0.03, 0.1, 0.3, 1.0)
"""So low that nearly everything stays, to so high that next to nothing does."""


def without_values(network: Network, seed: int) -> Network:
    """The network with random fields of what its attention layers leave out: one value kept, all but one, none."""
    rng = np.random.default_rng([seed, 51])
    layers = []
    for layer in network.layers:
        if isinstance(layer, Attention):
            keys = layer.keys(network.tensors)
            keep = int(rng.choice([1, keys, max(1, keys - 1), *rng.integers(1, keys + 1, 4)]))
            threshold = float(np.float32(rng.choice(THRESHOLDS)))
            chosen = {"keep_values": keep} if rng.random() < 0.5 else {"value_threshold": threshold}
            layer = replace(layer, least=int(rng.choice([0, 0, 2, 60, 127])), **chosen)
        layers.append(layer)
    return replace(network, layers=tuple(layers))
