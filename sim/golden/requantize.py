"""From real scales to integer multipliers and shifts, and from accumulators to activations."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dataflows.errors import InputError
from dataflows.network import Codes, Tensor

MULTIPLIER_BITS = 24
MAX_SHIFT = 63

_REST = (1 << MULTIPLIER_BITS) - 1
_FAR = 1 << 38

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


def clamp(value: Ints | Codes, low: int, high: int, result: Tensor) -> Codes:
    """Limit to ``low <= value <= high`` and store in the type of tensor ``result``."""
    return np.clip(value, low, high).astype(result.dtype)


def requantize(acc: Ints, scale: Floats, result: Tensor, low: int, high: int, layer: str) -> Codes:
    """``clamp(round_half_even(acc * scale) + zero, low, high)`` for tensor ``result``; ``scale`` broadcasts.

    Exact for accumulators of up to 48 bits.
    """
    multiplier, shift = fixed_point(scale, layer)
    return clamp(scaled(acc, multiplier, shift) + result.zero, low, high, result)


def scaled(acc: Ints, multiplier: Ints, shift: Ints) -> Ints:
    """``acc * multiplier / 2**shift``, rounded half to even; beyond 2**38 in magnitude only the sign is right.

    Products that may not fit are split into a high part and a rest of 24 bits.
    """
    if max(acc.max(initial=0), -acc.min(initial=0)) < _FAR:
        return round_shift(acc * multiplier, shift)
    product = (acc & _REST) * multiplier
    high, rest = (acc >> MULTIPLIER_BITS) * multiplier + (product >> MULTIPLIER_BITS), product & _REST
    # Shifts below 24 need the rest itself; a product that does not fit is far beyond any clamp after such a shift.
    whole = (np.clip(high, -_FAR, _FAR - 1) << MULTIPLIER_BITS) + rest
    # Of larger shifts all but the first bit of the rest only breaks ties.
    folded = (high << 2) + ((rest >> MULTIPLIER_BITS - 1) << 1) + ((rest & _REST >> 1) != 0)
    return np.where(shift < MULTIPLIER_BITS, round_shift(whole, shift), round_shift(folded, np.maximum(shift - 22, 0)))


def wrap(value: Ints, bits: int) -> Ints:
    """The value a two's complement accumulator of ``bits`` bits holds."""
    half = 1 << bits - 1
    return ((value + half) & (2 * half - 1)) - half
