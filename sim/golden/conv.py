"""Convolution and linear layers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataflows.network import Conv, Tensor
from sim.golden.requantize import Ints, requantize, wrap32
from sim.golden.window import pad, taps


def accumulate(layer: Conv, x: NDArray[np.int8], x_zero: int) -> Ints:
    """``bias + sum(w * (x - x_zero))`` modulo 2**32, as signed values.

    Parameters
    ----------
    x : int8 array (N, H, W, C)

    Returns
    -------
    int64 array (N, OH, OW, O)
    """
    # Each product is below 2**15, so float64 sums are exact for any reduction below 2**38: BLAS may do them.
    centred = pad(x.astype(np.float64) - x_zero, layer.window, 0)
    weight = layer.weight.astype(np.float64)
    total: NDArray[np.float64] | None = None
    for row, col, seen in taps(centred, layer.window):
        part = _multiply(seen, weight[:, :, row, col], layer.groups)
        total = part if total is None else total + part
    assert total is not None, "a kernel has at least one element"
    return wrap32(total.astype(np.int64) + layer.bias)


def _multiply(x: NDArray[np.float64], weight: NDArray[np.float64], groups: int) -> NDArray[np.float64]:
    """One kernel position: x (N, OH, OW, C) with weight (O, C / groups) gives (N, OH, OW, O)."""
    outputs, depth = weight.shape
    weight = weight.reshape(groups, outputs // groups, depth)
    grouped = x.reshape(-1, groups, depth)
    if depth == 1:  # depthwise: no sum at all
        result = grouped * weight[:, :, 0]
    else:
        result = (grouped.transpose(1, 0, 2) @ weight.transpose(0, 2, 1)).transpose(1, 0, 2)
    return result.reshape(*x.shape[:3], outputs)


def conv(layer: Conv, x: NDArray[np.int8], source: Tensor, result: Tensor) -> NDArray[np.int8]:
    """Convolve int8 (N, H, W, C) to int8 (N, OH, OW, O)."""
    acc = accumulate(layer, x, source.zero)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # the result is checked
        scale = np.float32(source.scale) * layer.weight_scale.astype(np.float32) / np.float32(result.scale)
    return requantize(acc, scale, result.zero, layer.low, layer.high, layer.name)
