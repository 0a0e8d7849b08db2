"""How the values of a tensor are distributed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 4096
"""Bins over the whole range of a tensor."""

Range = tuple[float, float]
"""Smallest and largest value that a tensor has to represent."""


@dataclass(frozen=True)
class Histogram:
    """Counts of values in bins of equal width over ``low``..``high``, all that was seen."""

    low: float
    high: float
    counts: NDArray[np.float64]

    @property
    def whole(self) -> Range:
        """The range with zero in it, which has to be exact."""
        return min(self.low, 0.0), max(self.high, 0.0)

    @property
    def width(self) -> float:
        """Of a bin."""
        return (self.high - self.low) / len(self.counts)


@dataclass(frozen=True)
class Wanted:
    """What a range is chosen for: a tensor of ``bits`` bits, or a ternary one; ``percentile`` is the user's."""

    bits: int = 8
    ternary: bool = False
    percentile: float = 99.99

    @property
    def levels(self) -> int:
        """Values that the tensor can have."""
        return 3 if self.ternary else 1 << self.bits
