"""Compressed columns of a weight-shared matrix, as ``docs/numerics.md`` (section 7) defines them, in plain NumPy.

The pairs of run and code are those of :mod:`sim.golden.run_length`; a column begins afresh and ends with its last
weight. A ``Format`` gives the widths: ``run_bits``, and ``level_bits`` for the codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflows.run_length import Format
from sim.golden.run_length import Integers, split


@dataclass(frozen=True)
class Columns:
    """A matrix, row ``o`` in PE ``o % pes`` at place ``o // pes``.

    Attributes
    ----------
    codebook : int64 array (2**code_bits,)
        Weight of every code; code 0 is weight 0.
    entries : tuple of int64 arrays, one per PE
        ``run | code << run_bits``, column after column.
    pointers : int64 array (pes, columns + 1)
        Entry with which each column begins; behind the last one, where it ends.
    """

    codebook: NDArray[np.int64]
    entries: tuple[NDArray[np.int64], ...]
    pointers: NDArray[np.int64]


def encode(weight: Integers, form: Format, pes: int) -> Columns:
    """Compress a matrix (rows, columns) of integers.

    Raises
    ------
    ValueError
        When the codebook has no room for all values.
    """
    values = np.unique(weight[weight != 0]).astype(np.int64)
    if values.size >= 1 << form.level_bits:
        raise ValueError(f"{values.size} values and 0 do not fit codes of {form.level_bits} bits")
    codebook = np.zeros(1 << form.level_bits, np.int64)
    codebook[1 : values.size + 1] = values
    entries, pointers = [], np.zeros((pes, weight.shape[1] + 1), np.int64)
    for pe in range(pes):
        share = weight[pe::pes].T  # (columns, places)
        column, place = np.nonzero(share)
        first = np.diff(column, prepend=-1) != 0
        runs, last = split(np.where(first, place, np.diff(place, prepend=0) - 1), form)
        codes = np.zeros(runs.size, np.int64)
        codes[last] = np.searchsorted(values, share[column, place]) + 1
        entries.append(runs | codes << form.run_bits)
        np.add.at(pointers[pe], column + 1, np.diff(last, prepend=-1))
    return Columns(codebook, tuple(entries), pointers.cumsum(axis=1))


def walk(columns: Columns, pe: int, column: int, rows: int, form: Format) -> tuple[Integers, Integers]:
    """Rows and weights of a PE's entries of one column, int64 (entries,) each; padding has weight 0.

    Parameters
    ----------
    rows : int
        Rows of the whole matrix.

    Raises
    ------
    ValueError
        When the column ends before it begins or behind the entries, or a run leads behind the PE's last row.
    """
    entries, (begin, end) = columns.entries[pe], columns.pointers[pe, column : column + 2]
    if not 0 <= begin <= end <= entries.size:
        raise ValueError(f"column {column} of PE {pe}: entries {begin} to {end} of {entries.size}")
    inside = entries[begin:end]
    row = (np.cumsum((inside & form.longest_run) + 1) - 1) * len(columns.entries) + pe
    if inside.size and row[-1] >= rows:
        raise ValueError(f"column {column} of PE {pe}: runs lead to row {row[-1]} of {rows}")
    weights: Integers = columns.codebook[inside >> form.run_bits]
    return row, weights


def decode(columns: Columns, rows: int, form: Format) -> NDArray[np.int64]:
    """The matrix, int64 (rows, columns).

    Raises
    ------
    ValueError
        As for :func:`walk`; or when code 0 is not weight 0, or an entry has more bits than run and code.
    """
    if columns.codebook.shape != (1 << form.level_bits,) or columns.codebook[0]:
        raise ValueError(f"a codebook of {1 << form.level_bits} weights, the first of them 0, is needed")
    for pe, entries in enumerate(columns.entries):
        if entries.size and not 0 <= entries.min() <= entries.max() < 1 << form.pair_bits:
            raise ValueError(f"entries of PE {pe} have more than {form.pair_bits} bits")
    weight = np.zeros((rows, columns.pointers.shape[1] - 1), np.int64)
    for pe in range(len(columns.entries)):
        for column in range(weight.shape[1]):
            row, weights = walk(columns, pe, column, rows, form)
            weight[row, column] = weights
    return weight


def multiply(columns: Columns, x: Integers, rows: int, form: Format, *, zero: int = 0) -> NDArray[np.int64]:
    """Product with one vector (columns,) of activations, int64 (rows,): columns of activations at ``zero`` are skipped.

    Raises
    ------
    ValueError
        As for :func:`walk`, for the columns that are not skipped.
    """
    total = np.zeros(rows, np.int64)
    for column in np.flatnonzero(x != zero):
        for pe in range(len(columns.entries)):
            row, weights = walk(columns, pe, int(column), rows, form)
            total[row] += weights * (int(x[column]) - zero)
    return total


def entry_bytes(form: Format) -> int:
    """Bytes of an entry: the next power of two that holds run and code."""
    return 1 if form.pair_bits <= 8 else 2


def pack(entries: Integers, form: Format) -> NDArray[np.uint8]:
    """Bytes of entries as they lie in memory."""
    return entries.astype(f"<u{entry_bytes(form)}").view(np.uint8)


def unpack(raw: NDArray[np.uint8], form: Format) -> NDArray[np.int64]:
    """Entries from their bytes."""
    return raw.view(f"<u{entry_bytes(form)}").astype(np.int64)


def unpack_pointers(raw: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Pointers from their bytes, two each, the low one first."""
    pointers: NDArray[Any] = raw.view("<u2")
    return pointers.astype(np.int64)
