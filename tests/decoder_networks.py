"""Random quantized decoders with caches of keys and values, seeded: the same weights for any number of tokens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dataflows.attention import Append
from dataflows.network import Network
from tests.attention_blocks import FUNCTIONS, Blocks


def decoder_network(
    layers: int, hidden: int, heads: int, most: int, inner: int, *, seed: int = 0, words: int = 0, before: bool = True,
    sharpness: float = 1.5, threshold: float = 0.0, function: str = "gelu",
) -> Network:  # fmt: skip
    """A decoder that takes all ``most`` tokens in one run; :func:`with_tokens` makes one that takes fewer.

    Parameters
    ----------
    words : int
        Entries of its vocabulary: it begins with ids and ends with a linear layer to one channel per word. 0: it begins
        and ends with hidden states.
    """
    rng = np.random.default_rng([seed, 23])
    if words:
        blocks = Blocks(seed, rng.integers(0, words, (1, 1, most, 1)).astype(np.uint16).view(np.int16), 1.0)
        out = blocks.embedding(words, hidden)
        out = blocks.add(out, blocks.positional(out, most))
    else:
        blocks, out = Blocks(seed, rng.integers(-128, 128, (1, 1, most, hidden)).astype(np.int8)), "x"
    style = {"function": function, "before": before, "sharpness": sharpness, "threshold": threshold, "most": most}
    for _ in range(layers):
        out = blocks.encoder(out, heads, inner, **style)
    if words:
        blocks.linear(blocks.norm(out), words)
    return blocks.network(f"decoder{layers}x{hidden}")


def random_decoder(seed: int, *, most_channels: int = 32, most_length: int = 20) -> Network:
    """One or two layers, odd and tiny sizes, with ids or without; a third of them fetch keys by halves first."""
    rng = np.random.default_rng([seed, 24])
    heads = int(rng.choice([1, 2, 3, 4]))
    halves = bool(rng.random() < 0.3)
    size = int(rng.integers(1, max(1, most_channels // heads) + 1))
    return decoder_network(
        int(rng.choice([1, 1, 2])), heads * (size + size % 2 if halves else size), heads,
        int(rng.integers(1, most_length + 1)), int(rng.integers(1, 2 * most_channels)), seed=seed,
        words=int(rng.choice([0, rng.integers(1, 200)])), before=bool(rng.random() < 0.7),
        sharpness=float(rng.choice([0.5, 1.5, 5])), threshold=float(rng.choice([0.05, 0.2, 0.6])) if halves else 0.0,
        function=str(rng.choice(list(FUNCTIONS))),
    )  # fmt: skip


def with_tokens(network: Network, tokens: int) -> Network:
    """The same decoder for runs of ``tokens`` tokens, at any position; its caches keep their length."""
    caches = {layer.output for layer in network.layers if isinstance(layer, Append)}
    tensors = {
        name: tensor if name in caches else replace(tensor, shape=(1, 1, tokens, tensor.shape[3]))
        for name, tensor in network.tensors.items()
    }
    return replace(network, name=f"{network.name}by{tokens}", tensors=tensors)
