"""Pruning of tokens, heads and values (``docs/numerics.md``, section 10)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dataflows.errors import InputError
from dataflows.network import Codes, Tensor
from dataflows.pruning import IMPORTANCE_BITS, MAX_FACTOR, Gather, HeadConv, Select
from sim.golden.conv import conv
from sim.golden.requantize import Ints
from sim.golden.top_k import largest


def head_magnitudes(y: Codes, heads: int, zero: int) -> Ints:
    """Magnitudes of a head's results (N, 1, L, heads * D), added up over queries and channels: int64 (N, heads)."""
    samples, _, length, channels = y.shape
    magnitudes = np.abs(y.astype(np.int64) - zero).reshape(samples, length, heads, channels // heads)
    total: Ints = magnitudes.sum(axis=(1, 3))
    return total


def unsigned(numbers: Codes) -> Ints:
    """The numbers of a list (N, 1, k, 1): int64 (N, k)."""
    return numbers[:, 0, :, 0].astype(np.int64) & 0xFFFF


def places(numbers: Ints, before: Ints | None) -> Ints:
    """Where each of a list's numbers (N, k) stands in the list before; without one, at its own value."""
    if before is None:
        return numbers
    if any(not np.isin(now, then).all() for now, then in zip(numbers, before, strict=True)):
        raise InputError("a list has numbers that are not in the list before it")
    return np.array([np.searchsorted(then, now) for now, then in zip(numbers, before, strict=True)], np.int64)


def importance(layer: Select, sums: list[Ints], carried: Ints | None) -> Ints:
    """Importance (N, n) of what a selection chooses from.

    Parameters
    ----------
    sums : int64 arrays (N, n), one per attention layer
    carried : int64 array (N, n) or None
        Importance before, of those that are left.
    """
    what = f"layer {layer.name!r}"
    factors = layer.factors if layer.heads else (1,) * len(sums)
    if len(factors) != len(sums) or not all(1 <= factor <= MAX_FACTOR for factor in factors):
        raise InputError(f"{what}: heads need {len(sums)} factors of 1 to {MAX_FACTOR}, not {layer.factors}")
    parts = [part * factor for part, factor in zip(sums, factors, strict=True)]
    if carried is not None:
        parts.append(carried)
    if len({part.shape for part in parts}) != 1:
        found = ", ".join(str(part.shape[1]) for part in parts)
        raise InputError(f"{what}: layers whose importance is added must have as many tokens or heads, not {found}")
    total: Ints = np.sum(parts, axis=0)
    if total.max() >> IMPORTANCE_BITS:
        raise InputError(f"{what}: importance {total.max()} does not fit {IMPORTANCE_BITS} bits")
    return total


def select(layer: Select, total: Ints, before: Ints | None) -> Codes:
    """The list (N, 1, keep, 1) of the most important, given importance (N, n) and the list before (N, n)."""
    samples, count = total.shape
    if not 1 <= layer.keep <= count:
        raise InputError(f"layer {layer.name!r}: it keeps {layer.keep} of {count}; possible are 1 to {count}")
    chosen = np.nonzero(largest(total, layer.keep))[1].reshape(samples, layer.keep)
    numbers = chosen if before is None else np.take_along_axis(before, chosen, axis=1)
    return numbers.astype(np.uint16).view(np.int16)[:, np.newaxis, :, np.newaxis]


def gather(layer: Gather, xs: list[Codes]) -> Codes:
    """Tokens of (N, 1, L, C) by a list."""
    found = places(unsigned(xs[1]), unsigned(xs[2]) if len(xs) > 2 else None)
    if found.max() >= xs[0].shape[2]:
        raise InputError(f"layer {layer.name!r}: token {found.max()} is beyond the {xs[0].shape[2]} of its input")
    return np.take_along_axis(xs[0], found[:, np.newaxis, :, np.newaxis], axis=2)


def head_conv(layer: HeadConv, xs: list[Codes], source: Tensor, result: Tensor) -> Codes:
    """A convolution of the heads in a list; every sample has its own weights."""
    full, kept = layer.conv, xs[1].shape[2]
    channels = full.weight.shape[0 if layer.side == "out" else 1]
    if layer.side not in ("in", "out") or full.weight.shape[2:] != (1, 1) or channels % layer.heads:
        raise InputError(
            f"layer {layer.name!r}: heads are taken from the input (side \"in\") or the output (\"out\") of a 1x1 "
            f"convolution, here {layer.side!r} of weights {full.weight.shape}, {layer.heads} heads"
        )
    size = channels // layer.heads
    if layer.side == "in" and xs[0].shape[3] != kept * size:
        raise InputError(f"layer {layer.name!r}: {kept} heads of {size} channels do not make {xs[0].shape[3]}")
    results = []
    for sample, numbers in zip(xs[0], unsigned(xs[1]), strict=True):
        chosen = (numbers[:, np.newaxis] * size + np.arange(size)).ravel()
        if chosen.max() >= channels:
            raise InputError(f"layer {layer.name!r}: head {numbers.max()} is beyond its {layer.heads} heads")
        part = replace(full, name=layer.name, low=layer.low, high=layer.high)
        if layer.side == "out":
            part = replace(
                part, weight=full.weight[chosen], weight_scale=full.weight_scale[chosen], bias=full.bias[chosen]
            )
        else:
            part = replace(part, weight=full.weight[:, chosen])
        results.append(conv(part, sample[np.newaxis], source, result))
    return np.concatenate(results)
