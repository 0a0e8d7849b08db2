"""The range that loses least information: least Kullback-Leibler divergence.

Source
------
S. Migacz, 8-bit Inference with TensorRT, GTC 2017, and MXNet's ``_get_optimal_threshold``. A threshold ``t`` cuts the
histogram to -t..t; what is cut counts for the outermost bins (P). Bins are merged to as many as the tensor has levels,
and each sum is spread over those of its bins that are not empty (Q). The ``t`` of the least KL(P, Q) wins.
The bin of zero counts no more than its neighbours, as in NVIDIA's pytorch-quantization: zero is exact with every
range, and what ReLUs have cut off would else outweigh everything. Deviations: a tensor on one side of zero has all
levels there, as zero points allow; bins are dealt out to levels evenly where their number is no multiple; thresholds
are tried in steps of 1/256 of the range.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapper.histogram import Histogram, Range, Wanted

STEPS = 256
"""Thresholds that are tried."""

FINEST = 8
"""Widest tensors that it is done for: beyond, there are as many levels as bins."""

EPSILON = 1e-4
"""Count that an empty bin gets, so that logarithms are finite."""


def entropy(found: Histogram, wanted: Wanted) -> Range:
    """Smallest and largest value; the whole range where nothing is gained by cutting."""
    low, high = found.whole
    best, least = (low, high), np.inf
    if wanted.bits > FINEST or not found.counts.any():
        return best
    largest, counts = max(-low, high), without_zeros(found)
    for step in range(STEPS, 0, -1):
        limit = largest * step / STEPS
        first, last = bins_within(found, limit)
        if last - first < wanted.levels:
            break
        divergence = _divergence(counts, first, last, wanted.levels)
        if divergence < least * (1 - 1e-9):
            least, best = divergence, (max(low, -limit), min(high, limit))
    return best


def bins_within(found: Histogram, limit: float) -> tuple[int, int]:
    """First bin and last + 1 that lie in -limit..limit, as far as rounding tells."""
    first = round((-limit - found.low) / found.width)
    last = round((limit - found.low) / found.width)
    return max(first, 0), min(last, len(found.counts))


def without_zeros(found: Histogram) -> NDArray[np.float64]:
    """The counts, that of the bin with zero in it no larger than those beside it."""
    counts = found.counts.copy()
    if found.low <= 0 <= found.high:
        at = min(int(-found.low / found.width), len(counts) - 1)
        counts[at] = min(counts[at], max(counts[i] for i in (at - 1, at + 1) if 0 <= i < len(counts)))
    return counts


def _divergence(counts: NDArray[np.float64], first: int, last: int, levels: int) -> float:
    inner = counts[first:last]
    reference = inner.copy()
    reference[0] += counts[:first].sum()
    reference[-1] += counts[last:].sum()
    there = reference != 0
    level = np.arange(last - first) * levels // (last - first)
    sums, bins = np.bincount(level, inner, levels), np.bincount(level, there, levels)
    mean = np.divide(sums, bins, out=np.zeros(levels), where=bins > 0)
    candidate = np.where(there, mean[level], 0.0)
    p, q = _smooth(reference), _smooth(candidate)
    if p is None or q is None:
        return float(np.inf)
    return float(np.sum(p * np.log(p / q)))


def _smooth(counts: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """A distribution without zeros; None where there is too little to take from."""
    empty = counts == 0
    full = counts.size - int(empty.sum())
    if not full:
        return None
    taken = EPSILON * (counts.size - full) / full
    if taken >= 1:
        return None
    result = np.where(empty, EPSILON, counts - taken)
    return result / result.sum() if (result > 0).all() else None
