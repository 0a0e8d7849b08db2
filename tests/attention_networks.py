"""Random quantized transformers for regressions, seeded: blocks and their parts, odd and tiny sizes, every mask."""

from __future__ import annotations

import numpy as np

from dataflows.attention import Embedding
from dataflows.network import Network
from tests import random_layers
from tests.attention_blocks import FUNCTIONS, Blocks

KINDS = ("attention", "norm", "lookup", "embedding", "slices", "cache", "encoder", "encoder", "patches", "two layers")
"""What a random network is made of; drawn from, if not told."""


def random_transformer(
    seed: int, kind: str | None = None, *, most_channels: int = 40, most_length: int = 24
) -> Network:
    """A network of one to two dozen layers.

    Parameters
    ----------
    kind : one of :data:`KINDS`
        ``attention``, ``norm`` and ``lookup`` are the layers alone, with linear layers where these must be before them;
        ``embedding`` begins with ids and adds positions; ``slices`` takes tokens and means; in a ``cache`` the last
        tokens attend to all; ``patches`` begins with an image.
    most_channels, most_length : int
        Largest hidden size and number of tokens.
    """
    rng = np.random.default_rng([seed, 21])
    kind = kind or str(rng.choice(KINDS))
    heads = int(rng.choice([1, 1, 2, 3, 4]))
    channels = heads * int(rng.integers(1, max(1, most_channels // heads) + 1))
    length = int(rng.choice([1, most_length, *rng.integers(1, most_length + 1, 4)]))
    samples = int(rng.choice([1, 1, 1, 2, 3]))
    mask = {
        "causal": bool(rng.random() < 0.3),
        "lengths": tuple(int(v) for v in rng.integers(0, length + 1, samples)) if rng.random() < 0.3 else None,
        "sharpness": float(rng.choice([0.01, 0.5, 1.5, 1.5, 5, 200])),
    }
    style = {
        "function": str(rng.choice([*FUNCTIONS, "random"])),
        "before": bool(rng.random() < 0.3),
        "centered": bool(rng.random() < 0.7),
    }
    inner, entries = int(rng.integers(1, 2 * channels + 1)), int(rng.integers(1, 200))
    if kind == "embedding":
        x = rng.integers(0, entries, (samples, 1, length, 1)).astype(np.int16)
        blocks = Blocks(seed, x, 1.0)
    elif kind == "patches":
        side = int(rng.integers(1, 5))
        x = rng.integers(-128, 128, (samples, 2 * side, 2 * side, int(rng.integers(1, 4)))).astype(np.int8)
        blocks = Blocks(seed, x, 0.05, int(rng.integers(-128, 128)))
        mask["lengths"] = None
    else:
        x = rng.integers(-128, 128, (samples, 1, length, channels)).astype(np.int8)
        blocks = Blocks(seed, x, 0.05, int(rng.integers(-40, 40)))
    match kind:
        case "attention":
            blocks.self_attention("x", heads, channels, **mask)
        case "norm":
            epsilon = float(rng.choice([1e-5, 1e-12, 3.0]))
            blocks.norm(blocks.norm("x", centered=style["centered"], epsilon=epsilon))
        case "lookup":
            blocks.lookup(blocks.lookup(blocks.linear("x", inner), style["function"]), "random")
        case "embedding":
            words = blocks.embedding(entries, channels)
            blocks.norm(blocks.add(words, blocks.constant(words)), centered=style["centered"])
        case "slices":
            seen = blocks.norm(blocks.slice("x", 0, int(rng.integers(1, length + 1))))
            blocks.linear(blocks.mean(seen) if rng.random() < 0.5 else blocks.slice(seen, 0, 1), 10)
        case "cache":
            last = blocks.slice("x", int(rng.integers(0, length)), length)
            blocks.linear(
                blocks.self_attention("x", heads, channels, queries=last, **mask | {"causal": True}), channels
            )
        case "patches":
            blocks.encoder(
                blocks.tokens(blocks.linear("x", channels, kernel=2, stride=2)), heads, inner, **mask, **style
            )
        case _:
            out = blocks.encoder("x", heads, inner, **mask, **style)
            if kind == "two layers":
                blocks.encoder(out, heads, inner, **mask, **style)
    return blocks.network(f"{kind}{seed}")


def encoder_network(
    layers: int, hidden: int, heads: int, length: int, inner: int, *, seed: int = 0, **fields: object
) -> Network:
    """An encoder of the given shape with random weights; BERT-Base is ``(12, 768, 12, 128, 3072)``.

    ``fields`` are those of :meth:`Blocks.encoder` (causal, lengths, ...).
    """
    rng = np.random.default_rng([seed, 22])
    blocks, out = Blocks(seed, rng.integers(-128, 128, (1, 1, length, hidden)).astype(np.int8)), "x"
    for _ in range(layers):
        out = blocks.encoder(out, heads, inner, **fields)
    return blocks.network(f"encoder{layers}x{hidden}")


def random_input(network: Network, seed: int) -> np.ndarray:
    """Codes over the whole range with runs of the extremes; ids of the whole table where an embedding reads them."""
    tables = [layer.table for layer in network.layers if isinstance(layer, Embedding)]
    if not tables:
        return random_layers.random_input(network, seed)
    ids = np.random.default_rng(seed + 1_000_003).integers(0, len(tables[0]), network.tensors["x"].shape)
    ids.ravel()[-1] = len(tables[0]) - 1
    return ids.astype(np.uint16).view(np.int16)
