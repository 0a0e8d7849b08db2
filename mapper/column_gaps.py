"""Weights of a matrix in the order of their entries in compressed columns (``docs/numerics.md``, section 7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataflows.network import Codes


@dataclass(frozen=True)
class Gaps:
    """All weights that are not zero: PE after PE, in each column after column, in each place after place.

    Attributes
    ----------
    weights : integer array (count,)
    column : int64 array (count,)
        PE * columns of the matrix + column.
    zeros : int64 array (count,)
        Zeros before the weight, in its PE's share of the column.
    """

    weights: Codes
    column: NDArray[np.int64]
    zeros: NDArray[np.int64]


def gaps(weight: Codes, pes: int) -> Gaps:
    """Of a matrix (rows, columns) whose rows are interleaved over ``pes`` PEs."""
    rows, columns = weight.shape
    places = -(-rows // pes)
    padded = np.zeros((places * pes, columns), weight.dtype)
    padded[:rows] = weight
    flat = np.ascontiguousarray(padded.reshape(places, pes, columns).transpose(1, 2, 0)).ravel()
    found = np.flatnonzero(flat)
    column, place = np.divmod(found, places)
    before = np.full(len(found), -1)
    same = column[1:] == column[:-1]
    before[1:][same] = place[:-1][same]
    return Gaps(flat[found], column, place - before - 1)
