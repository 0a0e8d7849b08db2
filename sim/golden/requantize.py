"""From real scales to integer multipliers and shifts, and from accumulators to 8 bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dataflows.errors import InputError

MULTIPLIER_BITS = 24
MAX_SHIFT = 63

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


def check_scale(scale: Floats, layer: str) -> None:
    """Raise :class:`InputError` unless every effective scale is finite, not negative, and below 2**24."""
    bad = scale[~(np.isfinite(scale) & (scale >= 0) & (scale < 2.0**MULTIPLIER_BITS))]
    if bad.size:
        raise InputError(
            f"layer {layer!r}: an effective scale must be positive and below 2**{MULTIPLIER_BITS}, not {bad.flat[0]}; "
            "check the scales of its tensors and weights"
        )


def fixed_point(scale: Floats, layer: str) -> tuple[Ints, Ints]:
    """Write float32 scales as ``multiplier / 2**shift``.

    Parameters
    ----------
    scale : float32 array of any shape
    layer : str
        Name for the error message.

    Returns
    -------
    multiplier, shift : int64 arrays of that shape
        ``2**23 <= multiplier < 2**24`` (the significand, so the value is exact) and ``0 <= shift <= 63``.
        Scales below 2**-39 keep shift 63 and round the multiplier, half to even.

    Raises
    ------
    InputError
        A scale is 2**24 or more, negative, or no number.
    """
    check_scale(scale, layer)
    significand, exponent = np.frexp(scale)  # scale = significand * 2**exponent, 0.5 <= significand < 1
    shift = MULTIPLIER_BITS - exponent.astype(np.int64)
    shift = np.where((shift > MAX_SHIFT) | (significand == 0), MAX_SHIFT, shift)
    multiplier = np.rint(np.ldexp(scale.astype(np.float64), shift))
    return multiplier.astype(np.int64), shift


def common_fixed_point(scale: Floats, layer: str) -> tuple[Ints, int]:
    """Write several scales as ``multiplier[i] / 2**shift`` with one shift.

    The largest multiplier has 24 bits (fewer only if the shift would exceed 63); the others are rounded, half to even.

    Returns
    -------
    multiplier : int64 array of the same shape
    shift : int
    """
    _, shift = fixed_point(scale.max(keepdims=True), layer)
    check_scale(scale, layer)
    multiplier = np.rint(np.ldexp(scale.astype(np.float64), shift))
    return multiplier.astype(np.int64), int(shift[0])


def round_shift(value: Ints, shift: ArrayLike) -> Ints:
    """``value / 2**shift``, rounded half to even, exact for ``abs(value) < 2**62`` and shifts 0 to 63."""
    shift = np.asarray(shift, np.int64)
    below_half = ~(np.int64(-1) << shift) >> 1  # 2**(shift-1) - 1; 0 for a shift of 0
    odd = (value >> shift) & (shift > 0)  # a tie goes up only from an odd quotient
    return np.asarray((value + below_half + odd) >> shift)


def clamp(value: Ints | NDArray[np.int8], low: int, high: int) -> NDArray[np.int8]:
    """Limit to ``low <= value <= high`` and store as 8 bits."""
    return np.clip(value, low, high).astype(np.int8)


def requantize(acc: Ints, scale: Floats, zero: int, low: int, high: int, layer: str) -> NDArray[np.int8]:
    """``clamp(round_half_even(acc * scale) + zero, low, high)``; ``scale`` broadcasts against ``acc``."""
    multiplier, shift = fixed_point(scale, layer)
    return clamp(round_shift(acc * multiplier, shift) + zero, low, high)


def wrap32(value: Ints) -> Ints:
    """The value a 32-bit two's complement accumulator holds."""
    return value.astype(np.int32).astype(np.int64)
