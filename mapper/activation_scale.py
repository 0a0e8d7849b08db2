"""Scale and zero point of a tensor from the range of its values."""

from __future__ import annotations

import numpy as np

from dataflows.errors import InputError


def activation_scale(low: float, high: float, bits: int = 8, ternary: bool = False) -> tuple[float, int]:
    """Scale (a float32 value) and zero point of a tensor of ``bits`` bits with values in ``low``..``high``.

    The range is extended to include zero; a range of nothing but zero (or as good as) gets scale 1. With 16 bits there
    is room enough to make it symmetric: then zero is the integer 0, which arrays can gate. Ternary tensors have -1, 0
    and +1 for it.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    lowest, highest = -1 if ternary else -(1 << bits - 1), (1 << bits - 1) - 1
    symmetric, steps = bits == 16, highest - lowest
    if symmetric:
        low, high, steps = min(low, -high), max(high, -low), steps - 1
    scale = np.float32((high - low) / steps)
    if scale < 1e-30:
        return 1.0, 0
    if not np.isfinite(scale):
        raise InputError(f"a tensor with values from {low} to {high} is beyond float32")
    zero = 0 if symmetric else int(np.clip(np.rint(lowest - low / float(scale)), lowest, highest))
    return float(scale), zero
