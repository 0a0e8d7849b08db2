"""Convolution and linear layers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflows.network import Codes, Conv, Tensor
from sim.golden.requantize import Ints, requantize, wrap
from sim.golden.window import pad, taps

Numbers = NDArray[Any]
"""All of one type: float64 or int64."""


EXACT_BITS = 53
"""Integers that float64 holds."""


def accumulate(layer: Conv, x: Codes, source: Tensor) -> Ints:
    """``bias + sum(w * (x - zero))`` modulo 2**acc_bits, as signed values.

    Padding is the zero point; of one-bit tensors, whose zero point none of their values is, it is -1.

    Parameters
    ----------
    x : array (N, H, W, C) of tensor ``source``

    Returns
    -------
    int64 array (N, OH, OW, O)
    """
    border = -1 if source.bits == 1 else 0
    if layer.weight[0].size << source.bits + max(source.bits, layer.weight_bits) - 1 < 1 << EXACT_BITS:
        # BLAS is exact, and fast
        total = _sums(layer, x.astype(np.float64) - source.zero, layer.weight.astype(np.float64), border)
    else:
        total = _sums(layer, x.astype(np.int64) - source.zero, layer.weight.astype(np.int64), border)
    return wrap(total.astype(np.int64) + layer.bias, source.acc_bits)


def _sums(layer: Conv, centred: Numbers, weight: Numbers, border: int) -> Numbers:
    """Sums over all kernel positions, (N, OH, OW, O); padding is ``border``."""
    padded = pad(centred, layer.window, border)
    total: Numbers | None = None
    for row, col, seen in taps(padded, layer.window):
        part = _multiply(seen, weight[:, :, row, col], layer.groups)
        total = part if total is None else total + part
    assert total is not None, "a kernel has at least one element"
    return total


def _multiply(x: Numbers, weight: Numbers, groups: int) -> Numbers:
    """One kernel position: x (N, OH, OW, C) with weight (O, C / groups) gives (N, OH, OW, O)."""
    outputs, depth = weight.shape
    weight = weight.reshape(groups, outputs // groups, depth)
    grouped = x.reshape(-1, groups, depth)
    if depth == 1:  # depthwise: no sum at all
        result = grouped * weight[:, :, 0]
    else:
        result = (grouped.transpose(1, 0, 2) @ weight.transpose(0, 2, 1)).transpose(1, 0, 2)
    return result.reshape(*x.shape[:3], outputs)


def conv(layer: Conv, x: Codes, source: Tensor, result: Tensor) -> Codes:
    """Convolve (N, H, W, C) to (N, OH, OW, O); a one-bit result is the sign of the accumulator."""
    acc = accumulate(layer, x, source)
    if result.bits == 1:
        return np.where(acc < 0, -1, 1).astype(result.dtype)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # the result is checked
        scale = np.float32(source.scale) * layer.weight_scale.astype(np.float32) / np.float32(result.scale)
    return requantize(acc, scale, result, layer.low, layer.high, layer.name)
