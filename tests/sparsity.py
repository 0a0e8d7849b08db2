"""Random patterns of non-zero weights, and weights that share few values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

SPREAD = 0.8
"""Standard deviation of the logarithm of a row's and of a column's density."""


def independent(rng: np.random.Generator, shape: tuple[int, int], density: float) -> Mask:
    """Every element alike, whatever the others are."""
    return rng.random(shape) < density


def clustered(rng: np.random.Generator, shape: tuple[int, int], density: float, spread: float = SPREAD) -> Mask:
    """Rows and columns differ in density, as in trained networks: some nearly empty, some nearly full.

    An element's chance is a factor of its row times one of its column, at most 1, both log-normal with ``spread``;
    the mean chance is ``density``.
    """
    if density in (0, 1):
        return np.full(shape, density == 1)
    rows, columns = (np.exp(spread * rng.standard_normal(size)) for size in shape)
    factor = rows[:, None] * columns
    low, high = 0.0, 1.0
    while np.minimum(high * factor, 1).mean() < density:
        high *= 2
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if np.minimum(middle * factor, 1).mean() < density else (low, middle)
    return rng.random(shape) < np.minimum(high * factor, 1)


def gaps(shape: tuple[int, int], pes: int, gap: int, first: int = 0) -> Mask:
    """Weights ``gap`` zeros apart in every PE's share (rows ``pe % pes``) of every column, after ``first`` zeros."""
    place = np.arange(shape[0]) // pes
    chosen = (place >= first) & ((place - first) % (gap + 1) == 0)
    return np.repeat(chosen[:, None], shape[1], axis=1)


def empty_columns(rng: np.random.Generator, mask: Mask, most: int) -> Mask:
    """The mask with up to ``most`` empty columns in a row somewhere, and as many at one end."""
    result = mask.copy()
    for start in (int(rng.integers(mask.shape[1])), int(rng.choice([0, max(mask.shape[1] - most, 0)]))):
        result[:, start : start + int(rng.integers(1, most + 1))] = False
    return result


def single_entries(rng: np.random.Generator, mask: Mask, share: float) -> Mask:
    """The mask with exactly one element in a share of the rows."""
    result = mask.copy()
    for row in np.flatnonzero(rng.random(mask.shape[0]) < share):
        result[row] = False
        result[row, rng.integers(mask.shape[1])] = True
    return result


def weights(rng: np.random.Generator, mask: Mask, values: int, bits: int = 8) -> NDArray[np.int64]:
    """Integers where the mask is set, zeros elsewhere: at most ``values`` different ones, from all of ``bits`` bits.

    The most negative value is always one of them; the largest too, if there are two.
    """
    limit = 1 << bits - 1
    book = rng.choice(2 * limit - 1, min(values, 2 * limit - 1), replace=False) - limit
    book[book >= 0] += 1  # all but zero
    extremes = [-limit, limit - 1][:values]
    book[: len(extremes)] = extremes
    result = np.where(mask, rng.choice(book, mask.shape), 0)
    if mask.any():
        result.flat[rng.choice(np.flatnonzero(mask))] = -limit
    return result
