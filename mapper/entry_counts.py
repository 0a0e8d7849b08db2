"""Entries of a layer's compressed columns (``docs/numerics.md``, section 7), counted without making them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataflows.network import Codes
from mapper.column_gaps import gaps


@dataclass(frozen=True)
class EntryCounts:
    """How often each run and each weight occurs.

    Attributes
    ----------
    runs : int64 array (2**run_bits,)
    weights : int64 array, entries by weight: of the smallest integer first, padding under weight 0
    lengths : int64 array, columns of a PE by how many entries they have, from none on
    padding : entries that only count zeros
    """

    runs: NDArray[np.int64]
    weights: NDArray[np.int64]
    lengths: NDArray[np.int64]
    padding: int

    @property
    def entries(self) -> int:
        """All entries, padding included."""
        return int(self.runs.sum())


def entry_counts(weight: Codes, pes: int, run_bits: int) -> EntryCounts:
    """Count the entries of a matrix (rows, columns) whose rows are interleaved over ``pes`` PEs."""
    found, limit = gaps(weight, pes), 1 << run_bits
    before, run = np.divmod(found.zeros, limit)
    padding = int(before.sum())
    runs = np.bincount(run, minlength=limit)
    runs[-1] += padding
    offset = 1 << 8 * weight.dtype.itemsize - 1
    weights = np.bincount(found.weights.astype(np.int64) + offset, minlength=2 * offset)
    weights[offset] = padding
    each = np.bincount(found.column, weights=before + 1, minlength=pes * weight.shape[1])
    return EntryCounts(runs, weights, np.bincount(each.astype(np.int64)), padding)
