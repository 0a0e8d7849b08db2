"""Residual add, product, concatenation and reshape."""

from __future__ import annotations

import numpy as np

from dataflows.network import Add, Codes, Concat, Reshape, Tensor
from dataflows.operators import Multiply
from sim.golden.requantize import Ints, clamp, common_fixed_point, requantize, round_shift


def _multipliers(layer: Add | Concat, sources: list[Tensor], result: Tensor) -> tuple[Ints, int]:
    """One multiplier per input and their common shift."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # the result is checked
        scale = np.array([source.scale for source in sources], np.float32) / np.float32(result.scale)
    return common_fixed_point(scale, layer.name)


def _scaled(x: Codes, zero: int, multiplier: np.int64) -> Ints:
    return (x.astype(np.int64) - zero) * multiplier


def add(layer: Add, xs: list[Codes], sources: list[Tensor], result: Tensor) -> Codes:
    """Sum of tensors of equal shape, rounded once."""
    multiplier, shift = _multipliers(layer, sources, result)
    total = sum(_scaled(x, s.zero, m) for x, s, m in zip(xs, sources, multiplier, strict=True))
    return clamp(round_shift(np.asarray(total), shift) + result.zero, layer.low, layer.high, result)


def multiply(layer: Multiply, xs: list[Codes], sources: list[Tensor], result: Tensor) -> Codes:
    """Product of tensors; dimensions of 1 of the second one are repeated."""
    a, b = (x.astype(np.int64) - source.zero for x, source in zip(xs, sources, strict=True))
    first, second = (np.float32(source.scale) for source in sources)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # the result is checked
        scale = np.asarray(first * second / np.float32(result.scale))
    return requantize(a * b, scale, result, layer.low, layer.high, layer.name)


def concat(layer: Concat, xs: list[Codes], sources: list[Tensor], result: Tensor) -> Codes:
    """Channels (or columns) of tensors (N, H, W, C_i) one after the other, each at the result's scale."""
    multiplier, shift = _multipliers(layer, sources, result)
    scaled = [_scaled(x, s.zero, m) for x, s, m in zip(xs, sources, multiplier, strict=True)]
    joined = np.concatenate(scaled, axis=layer.axis)
    return clamp(round_shift(joined, shift) + result.zero, layer.low, layer.high, result)


def reshape(layer: Reshape, x: Codes, result: Tensor) -> Codes:
    """The bytes of (N, H, W, C) in the shape of the result: (N, 1, 1, H*W*C), or (N, 1, H*W, C) as a sequence."""
    return clamp(x.reshape(x.shape[0], *result.shape[1:]), layer.low, layer.high, result)
