"""Compressed columns: a weight matrix as (run, code) entries and column pointers of every PE.

The format is defined in ``docs/numerics.md``, section 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflows import isa
from dataflows.config import Config
from dataflows.errors import InputError
from dataflows.network import Codes
from dataflows.sections import Sparse
from mapper.column_gaps import gaps

Ints = NDArray[np.int64]


def distinct(weight: Codes) -> Ints:
    """Values of a matrix other than zero, ascending."""
    size = weight.dtype.itemsize
    seen = np.zeros(1 << 8 * size, np.bool_)
    seen[np.ascontiguousarray(weight).view(f"u{size}").ravel()] = True
    values = np.flatnonzero(seen).astype(f"u{size}").view(f"i{size}")
    return np.sort(values[values != 0]).astype(np.int64)


def codebook_of(weight: Codes, code_bits: int) -> Ints | None:
    """Codebook (2**code_bits,) of a matrix of 8- or 16-bit weights: 0, its other values ascending, zeros.

    None if it holds too many values.
    """
    values = distinct(weight)
    if len(values) >= 1 << code_bits:
        return None
    book = np.zeros(1 << code_bits, np.int64)
    book[1 : len(values) + 1] = values
    return book


@dataclass(frozen=True)
class Columns:
    """A matrix in compressed columns.

    Attributes
    ----------
    codebook : int64 array (2**code_bits,)
        Weights by code.
    runs, codes : tuple of arrays, one per PE
        Its entries, column after column.
    pointers : int64 array (pes, columns + 1)
        Entry of a PE with which each column begins; behind them the number of its entries.
    rows : int
        Rows of the matrix.
    """

    codebook: Ints
    runs: tuple[NDArray[np.integer[Any]], ...]
    codes: tuple[NDArray[np.integer[Any]], ...]
    pointers: Ints
    rows: int

    @cached_property
    def lengths(self) -> Ints:
        """Entries of every PE and column, padding included, (pes, columns)."""
        return np.diff(self.pointers, axis=1)

    @cached_property
    def walked(self) -> Ints:
        """Cycles that PEs are busy with all columns before each one: an entry each, or one where there is none."""
        result = np.zeros_like(self.pointers)
        np.cumsum(np.maximum(self.lengths, 1), axis=1, out=result[:, 1:])
        return result

    @property
    def entries(self) -> Ints:
        """Entries of every PE, (pes,)."""
        return self.pointers[:, -1]

    @property
    def padding(self) -> int:
        """Padding entries of all PEs."""
        return sum(int(np.count_nonzero(codes == 0)) for codes in self.codes)

    @property
    def columns(self) -> int:
        """Columns of the matrix."""
        return int(self.pointers.shape[1]) - 1


def _sparse(cfg: Config) -> Sparse:
    if cfg.sparse is None:
        raise InputError(f"configuration {cfg.name!r} has no sparse engine; give it a section [sparse]")
    return cfg.sparse


def encode(weight: Codes, cfg: Config, codebook: Ints | None = None) -> Columns:
    """Compressed columns of a matrix.

    Parameters
    ----------
    weight : int8 or int16 array (rows, columns)
    cfg : Config
        Uses ``sparse``.
    codebook : int64 array (2**code_bits,), optional
        That of a larger matrix of which this is a part; the matrix's own if left out.

    Raises
    ------
    InputError
        When the matrix holds more values than there are codes, or the configuration has no engine.
    """
    sparse = _sparse(cfg)
    book = codebook_of(weight, sparse.code_bits) if codebook is None else codebook
    if book is None:
        raise InputError(
            f"a matrix of {len(distinct(weight))} values other than zero has no codebook of {sparse.code_bits} bits"
        )
    (rows, columns), step = weight.shape, 1 << sparse.run_bits
    found = gaps(weight, sparse.pes)
    paddings, run = np.divmod(found.zeros, step)
    ends = np.cumsum(paddings + 1)
    total = int(ends[-1]) if len(ends) else 0
    runs, codes = np.full(total, step - 1, np.uint8), np.zeros(total, np.uint8)
    runs[ends - 1] = run
    codes[ends - 1] = _codes(book, found.weights)
    each = np.bincount(found.column, paddings + 1, sparse.pes * columns).astype(np.int64)
    lengths = each.reshape(sparse.pes, columns)
    pointers = np.zeros((sparse.pes, columns + 1), np.int64)
    np.cumsum(lengths, axis=1, out=pointers[:, 1:])
    cuts = np.cumsum(pointers[:-1, -1])
    return Columns(book, tuple(np.split(runs, cuts)), tuple(np.split(codes, cuts)), pointers, rows)


def _codes(book: Ints, weights: Codes) -> NDArray[np.integer[Any]]:
    """Codes of weights other than zero."""
    order = np.argsort(book, kind="stable")
    position = np.searchsorted(book[order], weights)
    codes: NDArray[np.integer[Any]] = order[position]
    return codes


@dataclass(frozen=True)
class Packed:
    """Columns of a tile as LOAD brings them: a segment of equal length, in whole beats, for every PE.

    Attributes
    ----------
    entries, pointers : uint8 arrays (pes, bytes)
    longest : int
        Entries of the PE that has most.
    """

    entries: NDArray[np.uint8]
    pointers: NDArray[np.uint8]
    longest: int


def segment_bytes(cfg: Config, items: int, item_bytes: int) -> int:
    """Bytes of a segment of ``items``: whole beats, one at least."""
    return max(1, -(-items * item_bytes // cfg.bus_bytes)) * cfg.bus_bytes


def pack(columns: Columns, first: int, count: int, cfg: Config) -> Packed:
    """Columns ``first`` to ``first + count - 1`` as a tile of their own, whose pointers begin with 0."""
    sparse = _sparse(cfg)
    starts, ends = columns.pointers[:, first], columns.pointers[:, first + count]
    longest = int((ends - starts).max())
    size = cfg.entry_bytes
    entries = np.zeros((sparse.pes, segment_bytes(cfg, longest, size)), np.uint8)
    for pe, (start, end) in enumerate(zip(starts, ends, strict=True)):
        words = columns.runs[pe][start:end] + (columns.codes[pe][start:end].astype(np.int64) << sparse.run_bits)
        entries[pe, : (end - start) * size] = words.astype(f"<u{size}").view(np.uint8)
    numbers = columns.pointers[:, first : first + count + 1] - starts[:, None]
    raw = numbers.astype("<u2").view(np.uint8)
    pointers = np.zeros((sparse.pes, segment_bytes(cfg, count + 1, isa.POINTER_BYTES)), np.uint8)
    pointers[:, : raw.shape[1]] = raw
    return Packed(entries, pointers, longest)


def pack_codebook(book: Ints, cfg: Config) -> NDArray[np.uint8]:
    """A codebook's bytes, in whole beats."""
    raw = book.astype(f"<i{cfg.act_bytes}").view(np.uint8)
    whole = np.zeros(segment_bytes(cfg, len(book), cfg.act_bytes), np.uint8)
    whole[: raw.size] = raw
    return whole
