"""Layers whose result is a sign: scale, bias, normalization and sign are one comparison of the accumulator.

With ``s`` the real value of one step of the accumulator and ``b`` the bias (batch normalization included), the result
is +1 exactly where ``s * a + b >= 0``, that is ``a + floor(b / s) >= 0`` for integers ``a`` and ``s > 0``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapper.graph import Floats

SNAP = 2.0**-20
"""Part of a threshold by which it may miss an integer and still be meant as it: float32 parameters are no better."""

FAR = 1 << 30
"""A bias that decides whatever the inputs are."""


def threshold_bias(bias: Floats, step: NDArray[np.float64]) -> NDArray[np.int64]:
    """Integers (out channels,) that the accumulator is added to before its sign is taken.

    Parameters
    ----------
    bias : float32 array (out channels,)
    step : float64 array (out channels,)
        What one step of the accumulator is worth; channels of step 0 are their bias alone.
    """
    exact = bias.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.where(step > 0, exact / step, np.where(exact >= 0, np.inf, -np.inf))
    ratio = np.clip(ratio, -FAR, FAR)
    near = np.rint(ratio)
    snapped = np.where(np.abs(ratio - near) <= SNAP * np.maximum(1.0, np.abs(near)), near, np.floor(ratio))
    return snapped.astype(np.int64)


def never_zero(bias: NDArray[np.int64], products: int) -> NDArray[np.int64]:
    """The same thresholds for sums of ``products`` times +1 or -1, such that the accumulator is never zero.

    Hardware without operands of one bit rounds and clamps, and has no sign for zero. Such sums are as odd or even as
    their number, so a step more changes nothing but that.
    """
    return np.where((bias + products) % 2 == 0, bias + 1, bias)
