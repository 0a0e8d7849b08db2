"""The range of least squared error: what is clipped against what is rounded.

With few bits the full range of a tensor leaves steps too coarse for most of its values, so that this is how narrow
tensors get theirs; ``--calibration-method mse`` chooses it for wider ones.
"""

from __future__ import annotations

import numpy as np

from mapper.activation_scale import activation_scale
from mapper.histogram import Histogram, Range, Wanted

NARROW = 4
"""Widest tensors whose range is searched whatever the method is."""

FINEST = 8
"""Widest tensors for which bins are fine enough to tell."""

STEPS = 24
"""Fractions of each end of the range that are tried."""


def least_error(found: Histogram, wanted: Wanted) -> Range:
    """Smallest and largest value; the whole range of tensors of more than 8 bits."""
    return found.whole if wanted.bits > FINEST else clipped(found, wanted.bits, wanted.ternary)


def clipped(found: Histogram, bits: int, ternary: bool = False) -> tuple[float, float]:
    """Smallest and largest value for a tensor of ``bits`` bits, or a ternary one."""
    low, high = found.whole
    counts = found.counts
    used = counts > 0
    if not used.any():
        return low, high
    values = (found.low + (np.arange(len(counts)) + 0.5) * found.width)[used]
    weights = counts[used]
    best = low, high
    lowest, highest = -1 if ternary else -(1 << bits - 1), (1 << bits - 1) - 1
    least = np.inf
    fractions = np.arange(STEPS, 0, -1) / STEPS
    for bottom in low * fractions if low < 0 else [0.0]:
        for top in high * fractions if high > 0 else [0.0]:
            scale, zero = activation_scale(bottom, top, bits, ternary)
            codes = np.clip(np.rint(values / scale) + zero, lowest, highest)
            error = float(np.dot(weights, ((codes - zero) * scale - values) ** 2))
            if error < least * (1 - 1e-9):
                least, best = error, (float(bottom), float(top))
    return best
