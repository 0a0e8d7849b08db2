"""Pixels repeated, spread apart, and some of their channels (``docs/numerics.md``, section 14)."""

from __future__ import annotations

import numpy as np

from dataflows.errors import InputError
from dataflows.network import Codes, Tensor
from dataflows.operators import ChannelSlice, Spread, Upsample
from sim.golden.requantize import clamp


def upsample(layer: Upsample, x: Codes, result: Tensor) -> Codes:
    """Every pixel of (N, H, W, C) ``factor`` times."""
    rows, columns = layer.factor
    return clamp(x.repeat(rows, axis=1).repeat(columns, axis=2), layer.low, layer.high, result)


def spread(layer: Spread, x: Codes, source: Tensor, result: Tensor) -> Codes:
    """Pixels of (N, H, W, C) ``stride`` apart, the zero point between them."""
    n, height, width, channels = x.shape
    rows, columns = layer.stride
    y = np.full((n, (height - 1) * rows + 1, (width - 1) * columns + 1, channels), source.zero, x.dtype)
    y[:, ::rows, ::columns] = x
    return clamp(y, layer.low, layer.high, result)


def channels(layer: ChannelSlice, x: Codes, result: Tensor) -> Codes:
    """Channels ``start`` to ``stop - 1`` of (N, H, W, C)."""
    if not 0 <= layer.start < layer.stop <= x.shape[3]:
        raise InputError(
            f"layer {layer.name!r}: channels {layer.start} to {layer.stop - 1} are not all among the {x.shape[3]} "
            "of its input"
        )
    return clamp(x[..., layer.start : layer.stop], layer.low, layer.high, result)
