"""Quantized networks that attend to keys and values of their own, seeded: all of them, or candidates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dataflows.attention import Attention, Constant
from dataflows.network import Network
from tests.attention_blocks import Blocks


def memory_network(
    samples: int, queries: int, keys: int, heads: int, depth: int, *, steps: int = 0, seed: int = 0, span: int = 128,
    least: int = 0, sharpness: float = 1.5,
) -> Network:  # fmt: skip
    """A linear layer whose results are queries, attention to ``keys`` keys of the model, and a linear layer.

    ``steps`` are those of the search of candidates; codes of keys are below ``span``, so that few give many ties.
    """
    rng, channels = np.random.default_rng([seed, 61]), heads * depth
    blocks = Blocks(seed, rng.integers(-128, 128, (samples, 1, queries, channels)).astype(np.int8))
    q = blocks.linear("x", channels, symmetric=True)
    k, v = (_remembered(blocks, (samples, 1, keys, channels), span) for _ in range(2))
    blocks.linear(blocks.attention(q, k, v, heads, sharpness=sharpness), 5)
    network = blocks.network(f"memory{keys}x{channels}")
    layers = [replace(x, candidates=steps, least=least) if isinstance(x, Attention) else x for x in network.layers]
    return replace(network, layers=tuple(layers))


def _remembered(blocks: Blocks, shape: tuple[int, ...], span: int) -> str:
    """Random keys or values, the same for all samples; some are extreme."""
    name = blocks._name("memory")
    value = blocks.rng.integers(-span, span, (1, *shape[1:])).astype(np.int8)
    value[blocks.rng.random(value.shape) < 0.05] = -span
    return blocks._append(Constant(name, (), name, value=value), shape, 0.03, 0)


def random_memory(seed: int, most_keys: int, most_depth: int, *, heads: int | None = None) -> Network:
    """Any of these: one key and channel, few and many steps, ties, several heads, samples and queries."""
    rng = np.random.default_rng([seed, 62])
    keys = int(rng.choice([1, most_keys, *rng.integers(1, most_keys + 1, 3)]))
    depth = int(rng.choice([1, most_depth, *rng.integers(1, most_depth + 1, 3)]))
    samples, queries, some = (int(rng.choice(sizes)) for sizes in ([1, 1, 2, 3], [1, 1, 2, 5], [1, 1, 2, 3]))
    return memory_network(
        samples, queries, keys, heads or some, depth,
        steps=int(rng.choice([1, 2, *rng.integers(1, 2 * keys + 1, 3), keys * depth + 1])), seed=seed,
        span=int(rng.choice([128, 128, 128, 3, 1])), least=int(rng.choice([0, 0, 2, 60])),
        sharpness=float(rng.choice([0.01, 1.5, 1.5, 200])),
    )  # fmt: skip
