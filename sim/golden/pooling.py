"""Maximum and average pooling."""

from __future__ import annotations

import numpy as np

from dataflows.network import AvgPool, Codes, MaxPool, Tensor
from sim.golden.requantize import clamp, requantize, wrap
from sim.golden.window import pad, taps


def max_pool(layer: MaxPool, x: Codes, source: Tensor, result: Tensor) -> Codes:
    """Largest element of each window; (N, H, W, C) to (N, OH, OW, C)."""
    padded = pad(x, layer.window, source.lowest)
    largest = np.max([seen for _, _, seen in taps(padded, layer.window)], axis=0)
    return clamp(largest, layer.low, layer.high, result)


def avg_pool(layer: AvgPool, x: Codes, source: Tensor, result: Tensor) -> Codes:
    """Sum of each window over its divisor; (N, H, W, C) to (N, OH, OW, C)."""
    centred = pad(x.astype(np.int64) - source.zero, layer.window, 0)
    total = wrap(np.asarray(sum(seen for _, _, seen in taps(centred, layer.window))), source.acc_bits)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # the result is checked
        scale = np.float32(source.scale) / (layer.divisors.astype(np.float32) * np.float32(result.scale))
    return requantize(total, scale[:, :, np.newaxis], result, layer.low, layer.high, layer.name)
