"""Run-length compression of zeros, as ``docs/numerics.md`` defines it, in plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflows.run_length import Format

Integers = NDArray[np.integer[Any]]


def pairs(x: Integers, form: Format, *, zero: int = 0, restart: int = 0) -> tuple[Integers, Integers]:
    """Runs and levels of a vector, int64 (pairs,) each.

    Parameters
    ----------
    x : integer array (elements,)
    form : Format
        Limits the runs.
    zero : int
        The element that runs are made of.
    restart : int
        Runs end with every so many elements (columns of a matrix); 0: only with the vector.
    """
    if x.ndim != 1:
        raise ValueError(f"a vector is encoded, not an array of shape {x.shape}")
    level = x != zero
    level[-1:] = True
    if restart:
        level[restart - 1 :: restart] = True
    at = np.flatnonzero(level)
    runs, last = split(np.diff(at, prepend=-1) - 1, form)
    levels = np.full(runs.size, zero, np.int64)
    levels[last] = x[at]
    return runs, levels


def split(zeros: Integers, form: Format) -> tuple[Integers, Integers]:
    """Runs of all pairs, int64 (pairs,), and which pair each level is in, int64 (levels,).

    Parameters
    ----------
    zeros : integer array (levels,)
        Zeros in front of each level; more than a run holds make pairs whose level is a zero itself, in front of it.
    form : Format
        Limits the runs.
    """
    full = zeros // (form.longest_run + 1)
    last = np.cumsum(full + 1) - 1
    runs = np.full(int((full + 1).sum()), form.longest_run, np.int64)
    runs[last] = zeros % (form.longest_run + 1)
    return runs, last


def encode(x: Integers, form: Format, *, zero: int = 0, restart: int = 0) -> NDArray[np.uint64]:
    """Words of a block, uint64 (words,); parameters as for :func:`pairs`. No elements give no words."""
    if form.word_bits > 64:
        raise ValueError(f"words of at most 64 bits are encoded, not of {form.word_bits}")
    runs, levels = pairs(x, form, zero=zero, restart=restart)
    packed = runs | (levels & ((1 << form.level_bits) - 1)) << form.run_bits
    slots = np.zeros(form.worst_words(runs.size) * form.pairs, np.uint64)
    slots[: runs.size] = packed.astype(np.uint64)
    shifts = (np.arange(form.pairs) * form.pair_bits).astype(np.uint64)
    words: NDArray[np.uint64] = np.bitwise_or.reduce(slots.reshape(-1, form.pairs) << shifts, axis=1)
    if form.terminated:
        words[-1:] |= np.uint64(1 << form.word_bits - 1)
    return words


def decode(
    words: NDArray[np.uint64], elements: int, form: Format, *, zero: int = 0, signed: bool = True, exact: bool = True
) -> Integers:
    """Elements of a block, int64 (elements,).

    With ``exact`` unset, words may follow that do not belong to the block, and elements that its pairs skip are zero.

    Raises
    ------
    ValueError
        When the words hold fewer elements, or go on behind the word of the last one.
    """
    shifts = (np.arange(form.pairs) * form.pair_bits).astype(np.uint64)
    slots = (words[:, None] >> shifts).ravel() & np.uint64((1 << form.pair_bits) - 1)
    runs = (slots & np.uint64(form.longest_run)).astype(np.int64)
    levels = (slots >> np.uint64(form.run_bits)).astype(np.int64)
    if signed:
        levels -= (levels >> form.level_bits - 1) << form.level_bits
    at = np.cumsum(runs + 1) - 1
    used = int(np.searchsorted(at, elements))
    if exact:
        if elements and (not used or at[used - 1] != elements - 1):
            raise ValueError(f"{words.size} words do not hold {elements} elements")
        if form.worst_words(used) != words.size:
            raise ValueError(f"{elements} elements end in word {form.worst_words(used)} of {words.size}")
    x = np.full(elements, zero, np.int64)
    x[at[:used]] = levels[:used]
    return x
