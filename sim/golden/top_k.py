"""The k largest of a list, in their original order; of equal ones those that come first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def top_k(values: NDArray[np.integer], k: int) -> NDArray[np.int64]:
    """Indices of the ``k`` largest of ``values`` (n,), 0 <= k <= n, in ascending order."""
    if not 0 <= k <= len(values):
        raise ValueError(f"k must be 0 to the number of values, {len(values)} here, not {k}")
    descending = np.argsort(-values.astype(np.int64), kind="stable")  # equal ones in their order
    return np.sort(descending[:k])
