"""Caches of keys whose halves are planes of their own (``docs/numerics.md``, section 12)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataflows.attention import Append, Attention
from dataflows.config import Config
from dataflows.errors import InputError
from dataflows.network import Codes, Network, Tensor


def halved(network: Network) -> set[str]:
    """Caches that lie as two planes: the upper halves of all codes, then the lower ones."""
    return {layer.inputs[1] for layer in network.layers if isinstance(layer, Attention) and layer.threshold}


def planes(values: Codes) -> NDArray[np.uint8]:
    """Bytes of codes of an even number of channels: two halves in a byte, the lower channel's in its lower bits."""
    halves = [values.astype(np.uint8).ravel() >> shift & 15 for shift in (4, 0)]
    return np.concatenate([half[::2] | half[1::2] << 4 for half in halves]).astype(np.uint8)


def joined(raw: NDArray[np.uint8], tensor: Tensor) -> Codes:
    """Codes of a tensor from its planes."""
    upper, lower = (np.stack([half & 15, half >> 4], axis=-1).ravel() for half in raw.reshape(2, -1))
    codes: Codes = (upper << 4 | lower).astype(np.uint8).view(np.int8).reshape(tensor.shape)
    return codes


def check_halves(cfg: Config, network: Network, layer: Attention, suited: bool) -> None:
    """Raise :class:`InputError` unless keys of a layer can be fetched by halves.

    ``suited`` says whether its query can be the weight.
    """
    if not layer.threshold:
        return
    keys, queries = layer.inputs[1], network.tensors[layer.inputs[0]].shape[2]
    depth = network.tensors[keys].shape[3] // layer.heads
    made = any(isinstance(x, Append) and x.output == keys for x in network.layers)
    if not layer.cached or not made or not suited:
        raise InputError(
            f"layer {layer.name}: keys are fetched by halves (threshold {layer.threshold:.3g}) from caches, for runs "
            f"of one token and as many keys as the accumulators hold; it has {queries} queries"
        )
    if depth % 2 or cfg.lanes % 2:
        raise InputError(
            f"layer {layer.name}: two halves share a byte, so heads ({depth} channels) and array.cols ({cfg.lanes}) "
            "must be even"
        )
    others = [x.name for x in network.layers if keys in x.inputs and x is not layer]
    if others:
        raise InputError(f"layer {layer.name}: its keys lie by halves in cache {keys}, so {others[0]} cannot read them")
