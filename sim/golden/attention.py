"""Scaled dot-product attention (``docs/numerics.md``, section 9)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dataflows.attention import Attention
from dataflows.errors import InputError
from dataflows.network import Codes, Tensor
from sim.golden.pruning import largest
from sim.golden.requantize import Ints, clamp, fixed_point, scaled
from sim.golden.softmax import SCORE_BITS, numerators, probabilities, row_scale

OCTAVE = np.float32(369.32993046757)
"""``256 / ln(2)``: what a natural logarithm becomes a base-two one with 8 fraction bits by."""

MAX_VALUE_SHIFT = 45
"""Largest shift of the values: a row's sum adds up to 18 to it."""

MAX_KEYS = 4096
"""Longest row: its sum has 19 bits."""


def attention(layer: Attention, xs: Sequence[Codes], sources: Sequence[Tensor], result: Tensor) -> Codes:
    """Attend from queries (N, 1, Lq, C) to keys and values (N, 1, Lk, C); gives (N, 1, Lq, C)."""
    check(layer, sources, result)
    queries, keys, values = (heads(x, layer.heads) for x in xs)
    codes, sums = numerators(scores(layer, queries, keys, sources), counted(layer, queries, keys))
    if layer.keep_values is not None:
        codes = codes * largest(probabilities(codes, sums).sum(axis=2, keepdims=True), layer.keep_values)
    multiplier, shift = row_scale(sums, *value_scale(layer, sources[2], result))
    acc = (codes.astype(np.float64) @ values).astype(np.int64)
    rounded = scaled(acc, multiplier[..., np.newaxis], shift[..., np.newaxis])
    joined = rounded.swapaxes(1, 2).reshape(xs[0].shape)
    return clamp(joined + result.zero, layer.low, layer.high, result)


def column_sums(layer: Attention, xs: Sequence[Codes], sources: Sequence[Tensor]) -> Ints:
    """Probabilities of each key, added up over heads and queries: int64 (N, Lk)."""
    queries, keys = (heads(x, layer.heads) for x in xs[:2])
    found = probabilities(*numerators(scores(layer, queries, keys, sources), counted(layer, queries, keys)))
    total: Ints = found.sum(axis=(1, 2))
    return total


def heads(x: Codes, count: int) -> NDArray[np.float64]:
    """Split (N, 1, L, C) into (N, heads, L, C / heads), as float64: products of codes are exact in BLAS."""
    samples, _, length, channels = x.shape
    return x.reshape(samples, length, count, channels // count).swapaxes(1, 2).astype(np.float64)


def scores(
    layer: Attention, queries: NDArray[np.float64], keys: NDArray[np.float64], sources: Sequence[Tensor]
) -> Ints:
    """Logarithms of the exponentials, int64 (N, heads, Lq, Lk): 16 bits, 8 of them a fraction."""
    multiplier, shift = score_scale(layer, sources)
    acc = (queries @ keys.swapaxes(2, 3)).astype(np.int64)
    half = 1 << SCORE_BITS - 1
    return np.clip(scaled(acc, np.asarray(multiplier), np.asarray(shift)), -half, half - 1)


def score_scale(layer: Attention, sources: Sequence[Tensor]) -> tuple[int, int]:
    """Multiplier and shift from products of queries and keys to scores."""
    with np.errstate(over="ignore", invalid="ignore"):  # the result is checked
        product = np.float32(sources[0].scale) * np.float32(sources[1].scale) * np.float32(layer.factor)
        multiplier, shift = fixed_point(np.asarray(OCTAVE * product), layer.name)
    return int(multiplier), int(shift)


def value_scale(layer: Attention, values: Tensor, result: Tensor) -> tuple[int, int]:
    """Multiplier and shift of the values' scale over the result's."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # the result is checked
        multiplier, shift = fixed_point(np.asarray(np.float32(values.scale) / np.float32(result.scale)), layer.name)
    if shift > MAX_VALUE_SHIFT:
        raise InputError(
            f"layer {layer.name!r}: the scale of its values, {values.scale}, is too small beside that of its result, "
            f"{result.scale}; their quotient must be at least 2**-22"
        )
    return int(multiplier), int(shift)


def counted(layer: Attention, queries: NDArray[np.float64], keys: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which keys each query sees, (N, 1, Lq, Lk); lengths repeat from batch to batch."""
    samples, rows, columns = len(queries), queries.shape[2], keys.shape[2]
    key = np.arange(columns)
    seen = np.ones((samples, 1, rows, columns), np.bool_)
    if layer.causal:
        seen &= key <= np.arange(rows)[:, np.newaxis] + columns - rows
    if layer.lengths is not None:
        seen &= key < np.resize(layer.lengths, samples)[:, np.newaxis, np.newaxis, np.newaxis]
    return seen


def check(layer: Attention, sources: Sequence[Tensor], result: Tensor) -> None:
    """Raise :class:`InputError` unless shapes, heads, zero points, widths and lengths fit each other."""
    what = f"layer {layer.name!r}"
    if len(sources) != 3:
        raise InputError(f"{what}: attention takes queries, keys and values, not {len(sources)} tensors")
    queries, keys, values = sources
    samples, height, _, channels = queries.shape
    if keys.shape != values.shape or height != 1 or keys.shape[:2] != (samples, 1) or keys.shape[3] != channels:
        found = ", ".join(str(source.shape) for source in sources)
        raise InputError(f"{what}: queries, keys and values must be (N, 1, Lq, C), (N, 1, Lk, C) twice, not {found}")
    if layer.heads < 1 or channels % layer.heads:
        raise InputError(f"{what}: {channels} channels do not divide into {layer.heads} heads")
    for source in (*sources, result):
        if source.bits != 8:
            raise InputError(f"{what}: tensor {source.name!r} has {source.bits} bits; attention takes and gives 8")
    for source in sources:
        if source.zero:
            raise InputError(f"{what}: tensor {source.name!r} must have the zero point 0, not {source.zero}")
    length = keys.shape[2]
    if length > MAX_KEYS:
        raise InputError(f"{what}: {length} keys are too many; at most {MAX_KEYS} fit a row")
    if layer.keep_values is not None and not 1 <= layer.keep_values <= length:
        raise InputError(f"{what}: keep_values must be 1 to {length}, the number of keys, not {layer.keep_values}")
    if layer.lengths is not None and (
        len(layer.lengths) != samples or min(layer.lengths) < 0 or max(layer.lengths) > length
    ):
        raise InputError(f"{what}: lengths must be {samples} numbers of 0 to {length} keys, not {layer.lengths}")
