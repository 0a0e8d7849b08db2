"""Caches of keys and values, and what depends on the position of a run (``docs/numerics.md``, section 11)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dataflows.attention import Append, Positional
from dataflows.errors import InputError
from dataflows.network import Codes, Network, Tensor


def caches_before(network: Network, caches: Mapping[str, Codes] | None) -> dict[str, Codes]:
    """What all caches of a network hold before a run; zeros where nothing is given."""
    given = caches or {}
    if set(given) - set(network.caches):
        unknown = ", ".join(sorted(set(given) - set(network.caches)))
        raise InputError(f"network {network.name!r} has no caches {unknown}, but {', '.join(network.caches) or 'none'}")
    values = {}
    for name in network.caches:
        tensor = network.tensors[name]
        values[name] = given.get(name, np.zeros(tensor.shape, tensor.dtype))
        if values[name].shape != tensor.shape or values[name].dtype != tensor.dtype:
            raise InputError(f"cache {name!r} must be {tensor.dtype} of shape {tensor.shape}, not {values[name].shape}")
    return values


def append(layer: Append, x: Codes, before: Codes, position: int) -> Codes:
    """The cache (1, 1, Lmax, C) with tokens from ``position`` on replaced by those of ``x`` (1, 1, L, C)."""
    most, tokens = before.shape[2], x.shape[2]
    if not 0 <= position <= most - tokens:
        raise InputError(
            f"layer {layer.name!r}: {tokens} tokens from position {position} on do not fit a cache of {most} tokens"
        )
    after = before.copy()
    after[:, :, position : position + tokens] = x
    return after


def positional(layer: Positional, result: Tensor, position: int) -> Codes:
    """Tokens from ``position`` on of the layer's value, as many as the result has: (1, 1, L, C)."""
    tokens, most = result.shape[2], layer.value.shape[2]
    if not 0 <= position <= most - tokens:
        raise InputError(f"layer {layer.name!r}: tokens {position} to {position + tokens - 1} are not all among {most}")
    return layer.value[:, :, position : position + tokens].astype(result.dtype)
