"""Scales to multipliers and shifts, as defined in ``docs/numerics.md`` (the golden model has its own)."""

from __future__ import annotations

from fractions import Fraction
from math import frexp, ldexp

import numpy as np

from dataflows.errors import InputError

MULTIPLIER_BITS = 24
MAX_SHIFT = 63
IDENTITY = (1 << 23, 23)
"""Multiplier and shift that change nothing."""


def significand(scale: np.float32 | float, layer: str) -> tuple[int, int]:
    """(M, S) with scale = M / 2**S, M the 24-bit significand of a float32 scale.

    Scales below 2**-40 keep S = 63 and round M half to even.
    Raises :class:`InputError` for scales that are negative, not finite, or 2**24 or more.
    """
    if not 0 <= float(scale) < float("inf"):
        raise InputError(f"layer {layer}: effective scale must be finite and not negative, not {float(scale)}")
    exact = float(np.float32(scale))
    _, exponent = frexp(exact)
    shift = max(0, min(MULTIPLIER_BITS - exponent, MAX_SHIFT)) if exact else MAX_SHIFT
    multiplier = round(ldexp(exact, shift))  # exact but for the last step: scaling by a power of two
    if multiplier >= 1 << MULTIPLIER_BITS:
        raise InputError(
            f"layer {layer}: effective scale must be below 2**24, not {float(scale)}; is an output range degenerate?"
        )
    return multiplier, shift


def common(scales: list[np.float32], layer: str) -> tuple[list[int], int]:
    """Multipliers of several scales with one shift: the largest has at most 24 bits (Add, Concat)."""
    exact = [Fraction(float(np.float32(s))) for s in scales]
    shift = MAX_SHIFT
    while shift >= 0 and max(round(e * 2**shift) for e in exact) >= 1 << MULTIPLIER_BITS:
        shift -= 1
    if shift < 0:
        raise InputError(f"layer {layer}: scales must be below 2**24, not {[float(s) for s in scales]}")
    return [round(e * 2**shift) for e in exact], shift
