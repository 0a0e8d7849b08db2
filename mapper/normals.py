"""Normal distributions of channels, and what is to be expected of them behind a clamp."""

from __future__ import annotations

from dataclasses import dataclass
from math import erfc, pi, sqrt

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Normal:
    """What a batch normalization says about its result: each channel's values are normally distributed.

    Attributes
    ----------
    mean, deviation : float64 array (channels,)
        Deviations are standard deviations, 0 for a channel that is constant.
    """

    mean: Doubles
    deviation: Doubles

    def moved(self, scale: Doubles, shift: Doubles | float = 0.0) -> Normal:
        """That of ``x * scale + shift``."""
        return Normal(self.mean * scale + shift, self.deviation * np.abs(scale))

    def plus(self, other: Normal) -> Normal:
        """That of a sum, as if both were independent."""
        return Normal(self.mean + other.mean, np.hypot(self.deviation, other.deviation))

    def picked(self, order: list[int]) -> Normal:
        """That of these channels, in this order."""
        return Normal(self.mean[order], self.deviation[order])

    def clipped_mean(self, low: float, high: float) -> Doubles:
        """Expected value of every channel behind a clamp to ``low``..``high``, which may be infinite.

        With ``a = (low - mean) / deviation``, ``b = (high - mean) / deviation``, ``P`` the cumulative distribution and
        ``p`` the density of the standard normal distribution, the expected value is
        ``low P(a) + high P(-b) + mean (P(b) - P(a)) + deviation (p(a) - p(b))``.
        """
        constant = self.deviation <= 0
        deviation = np.where(constant, 1.0, self.deviation)
        a, b = (low - self.mean) / deviation, (high - self.mean) / deviation
        below = low * _cumulative(a) if np.isfinite(low) else 0.0
        above = high * _cumulative(-b) if np.isfinite(high) else 0.0
        between = self.mean * (1 - _cumulative(a) - _cumulative(-b)) + deviation * (_density(a) - _density(b))
        return np.where(constant, np.clip(self.mean, low, high), below + above + between)


def _cumulative(x: Doubles) -> Doubles:
    return np.array([erfc(-value / sqrt(2)) / 2 for value in x.tolist()])


def _density(x: Doubles) -> Doubles:
    near: Doubles = np.minimum(np.abs(x), 40.0)  # further out it is 0 anyway
    density: Doubles = np.exp(-0.5 * near**2) / sqrt(2 * pi)
    return density
