"""Maximum and average pooling."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataflows.network import AvgPool, MaxPool, Tensor
from sim.golden.requantize import clamp, requantize, wrap32
from sim.golden.window import pad, taps


def max_pool(layer: MaxPool, x: NDArray[np.int8]) -> NDArray[np.int8]:
    """Largest element of each window; int8 (N, H, W, C) to int8 (N, OH, OW, C)."""
    padded = pad(x, layer.window, -128)
    largest = np.max([seen for _, _, seen in taps(padded, layer.window)], axis=0)
    return clamp(largest, layer.low, layer.high)


def avg_pool(layer: AvgPool, x: NDArray[np.int8], source: Tensor, result: Tensor) -> NDArray[np.int8]:
    """Sum of each window over its divisor; int8 (N, H, W, C) to int8 (N, OH, OW, C)."""
    centred = pad(x.astype(np.int64) - source.zero, layer.window, 0)
    total = wrap32(np.asarray(sum(seen for _, _, seen in taps(centred, layer.window))))
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # the result is checked
        scale = np.float32(source.scale) / (layer.divisors.astype(np.float32) * np.float32(result.scale))
    return requantize(total, scale[:, :, np.newaxis], result.zero, layer.low, layer.high, layer.name)
