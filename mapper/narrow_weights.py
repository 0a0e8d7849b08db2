"""Weights of few bits: integers and scales that represent float weights best.

Every function takes weights as float64 rows (output channels, weights of one) and returns integers of the same shape
with the scale of each row; ``scale * integer`` is what they stand for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapper.precision import Scheme

Reals = NDArray[np.float64]

NARROW = 4
"""Widest weights whose scale is searched; wider ones reach from the largest weight to its negative."""

THRESHOLD = 0.7
"""Ternary weights are zero up to this part of the mean magnitude (TWN: Li, Zhang and Liu, 2016)."""

CLIPS = np.geomspace(0.15, 1.0, 40)
"""Largest integer's weight as parts of the largest weight, as tried."""


def levels(weight: Reals, bits: int, scheme: Scheme) -> tuple[Reals, Reals]:
    """Integers of ``bits`` bits, symmetric about zero, and scales of weights, by one of the schemes but ``ttq``."""
    match scheme:
        case "ternary":
            return ternary(weight)
        case "binary":
            return binary(weight)
    highest = (1 << bits - 1) - 1
    grid = on_grid(weight, highest)
    if grid is not None:
        return _rounded(weight, grid, highest), grid
    if bits <= NARROW:
        return least_squares(weight, highest)
    scale = np.abs(weight).max(1) / highest
    return _rounded(weight, scale, highest), scale


def least_squares(weight: Reals, highest: int) -> tuple[Reals, Reals]:
    """The integers in -highest..highest, and the scale per row, of the least squared error among those tried."""
    peak = np.abs(weight).max(1)
    best = peak / highest
    codes = _rounded(weight, best, highest)
    least = _error(weight, codes, best)
    for clip in CLIPS[::-1]:
        scale = peak * clip / highest
        tried = _rounded(weight, scale, highest)
        power = (tried * tried).sum(1)
        scale = np.divide((tried * weight).sum(1), power, out=scale, where=power > 0)
        error = _error(weight, tried, scale)
        better = error < least
        codes[better], best[better], least[better] = tried[better], scale[better], error[better]
    return codes, best


def on_grid(weight: Reals, highest: int, tolerance: float = 1e-5) -> Reals | None:
    """The step of each row whose weights are already multiples of one, at most ``highest`` of them; None if any is not.

    The coarsest step counts. Rows of zeros have step 0.
    """
    if len(weight) > 1 and on_grid(weight[:1], highest, tolerance) is None:
        return None  # most weights are not, and one row tells
    peak = np.abs(weight).max(1)
    steps = np.zeros(len(weight))
    open_ = peak > 0
    for count in range(1, highest + 1):
        if not open_.any():
            break
        rows = np.flatnonzero(open_)
        step = peak[rows] / count
        ratio = weight[rows] / step[:, None]
        fits = (np.abs(ratio - np.rint(ratio)) <= tolerance * count).all(1)
        steps[rows[fits]] = step[fits]
        open_[rows[fits]] = False
    return None if open_.any() else steps


def ternary(weight: Reals) -> tuple[Reals, Reals]:
    """-1, 0 and +1: zero up to a threshold, the scale is the mean magnitude beyond it."""
    size = np.abs(weight)
    beyond = size > THRESHOLD * size.mean(1, keepdims=True)
    count = beyond.sum(1)
    scale = np.divide((size * beyond).sum(1), count, out=np.zeros(len(weight)), where=count > 0)
    return np.sign(weight) * beyond, scale


def binary(weight: Reals) -> tuple[Reals, Reals]:
    """-1 and +1, the scale is the mean magnitude (XNOR-Net: Rastegari et al., 2016)."""
    return np.where(weight >= 0, 1.0, -1.0), np.abs(weight).mean(1)


def two_scales(weight: Reals, highest: int) -> tuple[Reals, float]:
    """Zero, one positive and one negative integer for all rows, and the scale of all of them (TTQ: Zhu et al., 2017).

    Integers p and -n of at most ``highest`` are those whose ratio is closest to that of the mean weights beyond the
    threshold. Weights that have two values beside zero already keep them.
    """
    size = np.abs(weight)
    values = np.unique(size[weight > 0]).size, np.unique(size[weight < 0]).size
    threshold = 0.0 if max(values) <= 1 else THRESHOLD * size.mean()
    positive, negative = weight > threshold, weight < -threshold
    means = [float(size[part].mean()) if part.any() else 0.0 for part in (positive, negative)]
    pairs = [(p, n) for p in range(1, highest + 1) for n in range(1, highest + 1)]
    power = [p * p * positive.sum() + n * n * negative.sum() for p, n in pairs]
    product = [p * means[0] * positive.sum() + n * means[1] * negative.sum() for p, n in pairs]
    gains = [a * a / b if b else 0.0 for a, b in zip(product, power, strict=True)]
    best = int(np.argmax(gains))  # the least squared error is what is left of the weights' squares
    p, n = pairs[best]
    scale = product[best] / power[best] if power[best] else 0.0
    return p * positive.astype(np.float64) - n * negative.astype(np.float64), scale


def arrives_with(weight: Reals, widest: int = 8, steps: Reals | None = None) -> int:
    """Bits that weights need as they are, at least 2; ``widest`` if they are not multiples of any step.

    ``steps``: the step of each row, if it is known.
    """
    if steps is not None:
        codes = np.rint(weight / np.where(steps > 0, steps, 1.0)[:, None])
        return next((b for b in range(2, widest) if -codes.min() <= 1 << b - 1 and codes.max() < 1 << b - 1), widest)
    if on_grid(weight, (1 << widest - 2) - 1) is None:
        return widest
    for bits in range(2, widest):
        if on_grid(weight, (1 << bits - 1) - 1) is not None:
            return bits
    return widest


def _rounded(weight: Reals, scale: Reals, highest: int) -> Reals:
    safe = np.where(scale > 0, scale, 1.0)[:, None]
    return np.clip(np.rint(weight / safe), -highest, highest)


def _error(weight: Reals, codes: Reals, scale: Reals) -> Reals:
    difference = weight - codes * scale[:, None]
    return np.asarray((difference * difference).sum(1))
