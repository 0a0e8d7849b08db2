"""Scaled dot-product attention (``docs/numerics.md``, section 9)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil

import numpy as np
from numpy.typing import NDArray

from dataflows.attention import Attention
from dataflows.errors import InputError
from dataflows.network import Codes, Tensor
from dataflows.pruning import PROBABILITY_BITS
from sim.golden.attention_checks import check
from sim.golden.candidates import candidates
from sim.golden.pruning import unsigned
from sim.golden.requantize import Ints, clamp, fixed_point, scaled
from sim.golden.softmax import LARGEST, SCORE_BITS, numerators, probabilities, row_scale
from sim.golden.top_k import largest

OCTAVE = np.float32(369.32993046757)
"""``256 / ln(2)``: what a natural logarithm becomes a base-two one with 8 fraction bits by."""

MAX_VALUE_SHIFT = 45
"""Largest shift of the values: a row's sum adds up to 18 to it."""


def attention(
    layer: Attention, xs: Sequence[Codes], sources: Sequence[Tensor], result: Tensor, position: int = 0
) -> Codes:
    """Attend from queries (N, 1, Lq, C) to keys and values (N, 1, Lk, C), or to those of a list; gives (N, 1, Lq, C).

    ``position`` is the number of tokens before the queries where keys and values are caches.
    """
    check(layer, sources, result)
    codes, sums = shares(layer, xs, sources, position)
    if layer.keep_values is not None or layer.value_threshold:
        codes = codes * stays(layer, codes, sums)[:, :, np.newaxis]
    multiplier, shift = row_scale(sums, *value_scale(layer, sources[2], result))
    acc = (codes.astype(np.float64) @ heads(chosen(xs[2], xs), layer.heads)).astype(np.int64)
    rounded = scaled(acc, multiplier[..., np.newaxis], shift[..., np.newaxis])
    joined = rounded.swapaxes(1, 2).reshape(xs[0].shape)
    return clamp(joined + result.zero, layer.low, layer.high, result)


def columns(layer: Attention, codes: Ints, sums: Ints) -> Ints:
    """What values stay by, (N, heads, Lk): probabilities added up over the queries of a head, or the largest ones."""
    p = probabilities(codes, sums)
    result: Ints = p.max(axis=2) if layer.value_threshold else p.sum(axis=2)
    return result


def stays(layer: Attention, codes: Ints, sums: Ints) -> NDArray[np.bool_]:
    """Which values of each head are added up, (N, heads, Lk), where some may be left out."""
    seen = columns(layer, codes, sums)
    if layer.value_threshold:
        return np.asarray(seen >= least_probability(layer), bool)
    return largest(seen, layer.keep_values or seen.shape[2])


def column_sums(layer: Attention, xs: Sequence[Codes], sources: Sequence[Tensor], position: int = 0) -> Ints:
    """Probabilities of keys, added up over heads and queries: int64 (N, Lk). Upper halves count, with a threshold."""
    found = upper(layer, xs, sources, position) if layer.threshold else shares(layer, xs, sources, position)
    total: Ints = probabilities(*found).sum(axis=(1, 2))
    return total


def shares(layer: Attention, xs: Sequence[Codes], sources: Sequence[Tensor], position: int) -> tuple[Ints, Ints]:
    """Numerators (N, heads, Lq, Lk) and sums (N, heads, Lq) of all rows.

    With a threshold they are those of the upper halves of the keys, for samples and heads whose rows are all sure.
    """
    queries, keys = heads(xs[0], layer.heads), heads(chosen(xs[1], xs), layer.heads)
    seen = counted(layer, queries, keys, position, listed(xs))
    if layer.candidates:
        seen = seen & candidates(queries.astype(np.int64), keys.astype(np.int64), layer.candidates)
    codes, sums = numerators(scores(layer, queries, keys, sources), seen, layer.least)
    if layer.threshold:
        high = upper(layer, xs, sources, position)
        sure = high[1].max(axis=2, keepdims=True) <= largest_sure_sum(layer)
        codes, sums = np.where(sure[..., np.newaxis], high[0], codes), np.where(sure, high[1], sums)
    return codes, sums


def unsure(layer: Attention, xs: Sequence[Codes], sources: Sequence[Tensor], position: int) -> NDArray[np.bool_]:
    """Samples and heads of a layer with a threshold that need the lower halves of their keys: (N, heads)."""
    sums = upper(layer, xs, sources, position)[1]
    missing: NDArray[np.bool_] = sums.max(axis=2) > largest_sure_sum(layer)
    return missing


def upper(layer: Attention, xs: Sequence[Codes], sources: Sequence[Tensor], position: int) -> tuple[Ints, Ints]:
    """Numerators and sums of all rows, of the upper halves of the keys."""
    queries, keys = heads(xs[0], layer.heads), heads(chosen(xs[1], xs), layer.heads)
    seen = counted(layer, queries, keys, position, listed(xs))
    return numerators(scores(layer, queries, np.floor(keys / 16) * 16, sources), seen, layer.least)


def listed(xs: Sequence[Codes]) -> Ints | None:
    """Numbers of the keys (N, 1, 1, k), where there is a list among the inputs."""
    return unsigned(xs[3])[:, np.newaxis, np.newaxis] if len(xs) > 3 else None


def chosen(x: Codes, xs: Sequence[Codes]) -> Codes:
    """Keys or values of the list, where there is one among the inputs."""
    numbers = listed(xs)
    return x if numbers is None else np.take_along_axis(x, numbers.swapaxes(2, 3), axis=2)


def largest_sure_sum(layer: Attention) -> int:
    """The largest sum of a row whose largest probability is at least the threshold: ``floor(127 / threshold)``."""
    return int(LARGEST / Fraction(float(np.float32(layer.threshold))))


def least_probability(layer: Attention) -> int:
    """The least probability that is not below the threshold of values: ``ceil(2**16 * value_threshold)``."""
    return ceil(Fraction(float(np.float32(layer.value_threshold))) * (1 << PROBABILITY_BITS))


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


def counted(
    layer: Attention, queries: NDArray[np.float64], keys: NDArray[np.float64], position: int = 0,
    numbers: Ints | None = None,
) -> NDArray[np.bool_]:  # fmt: skip
    """Which keys each query sees, (N, 1, Lq, Lk), given their ``numbers`` (N, 1, 1, Lk) where they go by a list.

    Lengths repeat from batch to batch.
    """
    samples, rows, columns = len(queries), queries.shape[2], keys.shape[2]
    key = np.arange(columns) if numbers is None else numbers
    seen = np.ones((samples, 1, rows, columns), np.bool_)
    if layer.causal or layer.cached:
        seen &= key <= np.arange(rows)[:, np.newaxis] + (position if layer.cached else columns - rows)
    if layer.lengths is not None:
        seen &= key < np.resize(layer.lengths, samples)[:, np.newaxis, np.newaxis, np.newaxis]
    return seen
