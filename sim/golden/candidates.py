"""Greedy search for keys that are worth a score (``docs/numerics.md``, section 13)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.golden.requantize import Ints


def greedy_scores(queries: Ints, keys: Ints, steps: int) -> Ints:
    """Greedy scores (..., Lq, Lk) of queries (..., Lq, D) and keys (..., Lk, D) after ``steps`` steps."""
    length, size = keys.shape[-2:]
    order = np.argsort(keys, axis=-2, kind="stable")
    values = np.take_along_axis(keys, order, axis=-2)
    rows = np.prod(queries.shape[:-1], dtype=int)
    scores = np.zeros((rows, length), np.int64)
    every, dims = np.arange(rows), np.arange(size)
    # Columns of each query's head: (rows, Lk, D).
    order, values = (
        np.broadcast_to(x[..., np.newaxis, :, :], (*queries.shape[:-1], length, size)).reshape(rows, length, size)
        for x in (order, values)
    )
    q = queries.reshape(rows, size)
    for sign in (1, -1):  # the ends of largest products, then those of smallest; they do not see each other
        down = sign * q >= 0
        place = np.where(down, length - 1, 0)
        for _ in range(steps):
            inside = (place >= 0) & (place < length)
            at = np.clip(place, 0, length - 1)
            here = order[every[:, np.newaxis], at, dims]
            products = sign * q * values[every[:, np.newaxis], at, dims]
            products = np.where(inside, products, 0)
            best = products.max(axis=1, keepdims=True)
            key = np.where(products == best, here, length)
            column = np.argmin(key, axis=1)  # of equal keys the first
            moves = best[:, 0] > 0
            np.add.at(scores, (every[moves], here[every, column][moves]), sign * best[moves, 0])
            place[every[moves], column[moves]] += np.where(down[every, column], -1, 1)[moves]
    return scores.reshape(*queries.shape[:-1], length)


def candidates(queries: Ints, keys: Ints, steps: int) -> NDArray[np.bool_]:
    """Keys with a greedy score above 0: bool (..., Lq, Lk)."""
    found: NDArray[np.bool_] = greedy_scores(queries, keys, steps) > 0
    return found
