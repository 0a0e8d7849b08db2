"""Integer softmax of rows: numerators, their sums, and what one over a sum becomes (``docs/numerics.md``, section 9).

Scores are base-two logarithms with 8 fraction bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.golden.requantize import MULTIPLIER_BITS, Ints

SCORE_BITS = 16
FRACTION_BITS = 8
LARGEST = 127
"""Numerator of the largest score of a row."""

POWERS: Ints = np.rint(LARGEST * 256 * 2.0 ** (-np.arange(1 << FRACTION_BITS) / 256)).astype(np.int64)
"""Powers of one half by the fraction of their exponent, times the largest numerator, 8 fraction bits: (256,)."""


def numerators(scores: Ints, counted: NDArray[np.bool_], least: int = 0) -> tuple[Ints, Ints]:
    """Exponentials relative to the largest of each row, and their sums.

    Parameters
    ----------
    scores : int64 array (..., keys) of 16-bit values
    counted : bool array that broadcasts to it
        Keys that count; all others get 0. There may be none in a row.
    least : int
        What is below becomes 0.

    Returns
    -------
    numerators : int64 array (..., keys)
        0 to 127, and 127 at the largest score that counts.
    sums : int64 array (...,)
    """
    largest = scores.max(axis=-1, keepdims=True, initial=-1 << SCORE_BITS - 1, where=counted)
    below = np.maximum(largest - scores, 0)  # scores that do not count may be larger
    places = np.minimum(below >> FRACTION_BITS, SCORE_BITS)
    powers = POWERS[below & (1 << FRACTION_BITS) - 1] >> places
    codes = np.where(counted, powers + 128 >> 8, 0)
    codes = np.where(codes < least, 0, codes)
    return codes, codes.sum(axis=-1)


def reciprocal(sums: Ints) -> tuple[Ints, Ints]:
    """One over each sum as ``inverse / 2**(bits + 23)``.

    Returns
    -------
    inverse : int64 array
        ``floor((2**(bits + 23) - 1) / sum)``, 24 bits with the highest one set; 0 where the sum is 0.
    bits : int64 array
        Bit length of the sum, at least 1.
    """
    bits = np.maximum(np.frexp(sums.astype(np.float64))[1], 1).astype(np.int64)
    inverse = ((1 << bits + MULTIPLIER_BITS - 1) - 1) // np.maximum(sums, 1)
    return np.where(sums > 0, inverse, 0), bits


def row_scale(sums: Ints, multiplier: int, shift: int) -> tuple[Ints, Ints]:
    """Multiplier and shift of each row: those of the values over the row's sum.

    Parameters
    ----------
    sums : int64 array
    multiplier, shift : int
        ``multiplier / 2**shift`` is the scale of the values over that of the result; shift at most 45.

    Returns
    -------
    multiplier, shift : int64 arrays
        24 and 6 bits; the multiplier is 0 where the sum is.
    """
    inverse, bits = reciprocal(sums)
    return multiplier * inverse >> MULTIPLIER_BITS, shift + bits - 1


def probabilities(codes: Ints, sums: Ints) -> Ints:
    """Numerators (..., keys) over their sums (...,), with 16 fraction bits."""
    inverse, bits = reciprocal(sums)
    return codes * (inverse >> 8)[..., np.newaxis] >> (bits - 1)[..., np.newaxis]
