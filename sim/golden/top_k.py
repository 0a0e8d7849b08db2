"""The k largest of a list; of equal ones those that come first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.golden.requantize import Ints


def largest(values: Ints, keep: int) -> NDArray[np.bool_]:
    """Which of ``values`` (..., n) are among the ``keep`` largest of their row; of equal ones the first."""
    order = np.argsort(-values, axis=-1, kind="stable")[..., :keep]
    kept = np.zeros(values.shape, np.bool_)
    np.put_along_axis(kept, order, True, axis=-1)
    return kept


def top_k(values: Ints, k: int) -> Ints:
    """Indices of the ``k`` largest of ``values`` (n,), 0 <= k <= n, in ascending order."""
    if not 0 <= k <= len(values):
        raise ValueError(f"k must be 0 to the number of values, {len(values)} here, not {k}")
    return np.flatnonzero(largest(values.astype(np.int64), k))
