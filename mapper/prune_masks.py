"""Which weights stay: by magnitude, by N:M groups of the reduction, by whole output channels.

All functions take the weights of one layer, (out channels, in channels, ...) of any float type, and return a boolean
array of the same shape. A weight that is zero never stays, so a layer that arrives sparser than asked for is left as
it is; of equal magnitudes the one with the lowest index stays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflows.errors import InputError

Mask = NDArray[np.bool_]
Weights = NDArray[np.floating[Any]]


def check_finite(layer: str, weight: Weights) -> None:
    """Refuse weights that have no order. Raises ``InputError`` with layer and count."""
    bad = int(weight.size - np.count_nonzero(np.isfinite(weight)))
    if bad:
        raise InputError(f"layer {layer}: {bad} of {weight.size} weights are NaN or infinite; train the model again")


def check_density(layer: str, density: float) -> None:
    """Refuse what is not a share of weights that can stay."""
    if not 0 < density <= 1:
        raise InputError(f"layer {layer}: the density must be above 0 and at most 1, not {density}")


def kept(size: int, density: float) -> int:
    """How many of ``size`` weights or channels stay: rounded, and at least one."""
    return max(1, round(size * density))


def by_magnitude(weight: Weights, density: float) -> Mask:
    """The largest ``density`` of all weights of the layer."""
    mask: Mask = _largest(np.abs(weight).reshape(-1), kept(weight.size, density))
    return np.reshape(mask, weight.shape)


def by_pattern(weight: Weights, most: int, group: int) -> Mask:
    """At most ``most`` of each ``group`` consecutive input channels, for each output channel and place of the kernel.

    The last group is shorter where ``group`` does not divide the input channels.
    """
    rows, channels = weight.shape[:2]
    groups = -(-channels // group)
    size = np.full((rows, groups * group, *weight.shape[2:]), -1.0, np.float32)
    size[:, :channels] = np.abs(weight)
    size = size.reshape(rows, groups, group, -1)
    best = np.argsort(-size, axis=2, kind="stable")[:, :, :most]
    mask = np.zeros(size.shape, bool)
    np.put_along_axis(mask, best, True, axis=2)
    mask &= size > 0
    return mask.reshape(rows, groups * group, *weight.shape[2:])[:, :channels]


def by_channel(weight: Weights, density: float) -> Mask:
    """All weights but zeros of the ``density`` of output channels whose norm is largest."""
    norms = np.square(weight.reshape(len(weight), -1), dtype=np.float64).sum(1)
    chosen = _largest(norms, kept(len(weight), density))
    mask: Mask = chosen.reshape(-1, *(1,) * (weight.ndim - 1)) & (weight != 0)
    return mask


def _largest(size: Weights, count: int) -> Mask:
    """The ``count`` largest elements above zero of a vector; of equal ones the first."""
    threshold = float(np.partition(size, len(size) - count)[len(size) - count])
    mask: Mask = size > threshold
    ties = np.flatnonzero(size == threshold)[: count - np.count_nonzero(mask)]
    mask[ties] = threshold > 0
    return mask
