"""Weight sharing: the values other than zero of a layer become few centroids (Deep Compression, Han et al., 2016).

Centroids are found with scikit-learn's k-means in one dimension. Its points are not the weights themselves but a
histogram of them: equal weights, or those of one of 65,536 bins, are one point at their mean, as heavy as they are
many. So a layer of 38 million weights takes about a second. Weights then take the nearest centroid, and each centroid
becomes the mean of its weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 1 << 16
"""Points that k-means sees at most."""

ROUNDS = 100
"""Iterations of k-means at most."""

MOST = 256
"""Clusters at most: a code is at most 8 bits wide."""

Weights = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Shared:
    """Weights as codes.

    Attributes
    ----------
    codes : uint8 array shaped like the weights; code 0 stands for zero
    values : float32 array (at most clusters,), ascending from code 1 on; ``values[0]`` is 0
    """

    codes: NDArray[np.uint8]
    values: NDArray[np.float32]

    @property
    def weight(self) -> NDArray[np.float32]:
        """The weights that the codes stand for."""
        return self.values[self.codes]


def share(weight: Weights, clusters: int) -> Shared:
    """Cluster finite weights into ``clusters`` values, of which one is zero.

    Zero is pinned: weights that are zero stay so, and only the others are clustered. K-means starts with centroids at
    equal distances over their range, which serves the few large weights best. A layer that has as few values already
    keeps them.
    """
    flat = weight.astype(np.float32).reshape(-1)
    places = np.flatnonzero(flat)
    found = flat[places]
    points, counts = _histogram(found, clusters - 1)
    centroids = points if len(points) < clusters else _k_means(points, counts, clusters - 1)
    nearest = np.searchsorted((centroids[1:] + centroids[:-1]) / 2, found)
    if len(points) >= clusters:
        centroids, nearest = _means(found, nearest)
    codes = np.zeros(flat.size, np.uint8)
    codes[places] = nearest + 1
    return Shared(codes.reshape(weight.shape), np.concatenate([[0], centroids]).astype(np.float32))


def distinct(weight: Weights, most: int) -> NDArray[np.float32] | None:
    """The values other than zero that the weights take, ascending; None if there are more than ``most``.

    A look at some of the weights saves sorting all of them where they are not shared.
    """
    flat = weight.reshape(-1)
    if len(np.unique(flat[:: max(1, flat.size // (8 * MOST))])) > most + 1:
        return None
    values = np.unique(flat)
    values = values[values != 0]
    return None if len(values) > most else values.astype(np.float32)


def is_shared(weight: Weights) -> bool:
    """Whether a layer's weights share values: at most 255 beside zero, and on average two weights or more each.

    So few weights that their values cannot but be few are not shared.
    """
    values = distinct(weight, MOST - 1)
    return values is not None and 0 < 2 * len(values) <= int(np.count_nonzero(weight))


def _histogram(found: NDArray[np.float32], enough: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points for k-means and how many weights each stands for; the values if there are at most ``enough``."""
    if found.size > BINS and distinct(found, enough) is None:
        low, high = float(found.min()), float(found.max())
        bins = ((found - np.float64(low)) * ((BINS - 1) / (high - low))).astype(np.int64)
        counts = np.bincount(bins, minlength=BINS).astype(np.float64)
        used = counts > 0
        return np.bincount(bins, weights=found, minlength=BINS)[used] / counts[used], counts[used]
    points, times = np.unique(found, return_counts=True)
    return points.astype(np.float64), times.astype(np.float64)


def _k_means(
    points: NDArray[np.float64], counts: NDArray[np.float64], clusters: int
) -> NDArray[np.float64]:
    """Centroids, ascending. One thread, so that the sums and with them the last bits are always the same."""
    import warnings

    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    start = np.linspace(points.min(), points.max(), clusters)[:, None]
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer centroids than asked for do no harm
        k_means = KMeans(clusters, init=start, n_init=1, max_iter=ROUNDS, tol=0.0)
        k_means.fit(points[:, None], sample_weight=counts)
    return np.unique(k_means.cluster_centers_[:, 0])


def _means(
    found: NDArray[np.float32], nearest: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Mean of the weights of each centroid that has any, and the weights' places among these."""
    counts = np.bincount(nearest)
    used = counts > 0
    means = np.bincount(nearest, weights=found)[used] / counts[used]
    return means, (np.cumsum(used) - 1)[nearest]
