"""Candidate search over sorted columns of keys: memory, widths, and cycles (``docs/numerics.md``, section 13).

The engine is ``rtl/candidate_search.py``. A step adds one product of each end of the columns to the greedy scores.
"""

from __future__ import annotations

from collections.abc import Sequence

from dataflows.top_k import eliminator_latency, words

CODE_BITS = 8
PRODUCT_BITS = 16
SCORE_BITS = 24
"""A greedy score is at most the sum of all products of its key."""
MAX_COLUMNS = 256
STEP_BITS = 24
MAX_STEPS = (1 << 16) - 1
"""Of a job of the row engine."""

TREE_RADIX = 4
"""Products compared between two registers."""


def key_bits(length: int) -> int:
    """Width of a key's number."""
    return max(1, (length - 1).bit_length())


def entry_bytes(length: int) -> int:
    """Of an entry of a sorted column: an element in the lowest byte, above it its key; 2, or 4 beyond 256 keys."""
    return 2 if key_bits(length) <= 8 else 4


def column_bytes(length: int, beat_bytes: int) -> int:
    """Of a sorted column in its memory: a power of two, whole beats."""
    return max(beat_bytes, entry_bytes(length) << key_bits(length))


def tree_latency(columns: int) -> int:
    """Registers between products and the one that wins."""
    latency = 0
    while columns > 1:
        columns = -(-columns // TREE_RADIX)
        latency += 1
    return latency


def step_cycles(columns: int) -> int:
    """Cycles of a step: two addresses, memory, entry, product, tree."""
    return 4 + tree_latency(columns)


def fill_cycles(columns: int, score_words: int) -> int:
    """Cycles until the first step: both ends of every column are read, and all words of scores cleared meanwhile."""
    return max(2 * columns + 2 + tree_latency(columns), score_words)


def word_times(
    keys: int, columns: int, steps: int, found: Sequence[int], lanes: int, length: int
) -> list[tuple[int, int]]:
    """Words of candidates as (cycle after the job's transfer, candidates in it), while each is taken at once.

    Parameters
    ----------
    keys, columns, steps : int
    found : sequence of int
        The candidates.
    lanes, length : int
        Scores of a word, and the most keys the engine holds.
    """
    first = fill_cycles(columns, words(length, lanes)) + steps * step_cycles(columns) + 2 + eliminator_latency(lanes)
    last = words(keys, lanes) - 1
    full = [(first + key // lanes, lanes) for key in found[lanes - 1 :: lanes]]
    rest = len(found) % lanes
    if full and not rest and full[-1][0] == first + last:
        return full
    closed = bool(full) and full[-1][0] == first + last  # the last word of scores makes two words
    return [*full, (first + last + closed, rest)]


def cycles(keys: int, columns: int, steps: int, found: Sequence[int], lanes: int, length: int) -> int:
    """Cycles of a search, from the one after its job's transfer to that of the last word of candidates."""
    return word_times(keys, columns, steps, found, lanes, length)[-1][0]


def job_cycles(keys: int, columns: int, steps: int, found: Sequence[int], lanes: int, length: int) -> int:
    """Cycles of a SEARCH job behind the one in which it takes the last word of its query, to its tokens.

    A word of candidates becomes entries of a list, one per cycle; meanwhile the next one waits, and all behind it.
    """
    taken = before = free = 0
    for time, count in word_times(keys, columns, steps, found, lanes, length):
        taken, before = max(taken + time - before, free), time
        free = taken + count + 1
    return 1 + free + 1  # the query to the search; the length of the list


def mean_job_cycles(keys: int, columns: int, steps: int, lanes: int, length: int) -> int:
    """The same where candidates are not known: as many as steps, all over the keys."""
    count = min(keys, steps)
    return job_cycles(keys, columns, steps, [i * keys // count for i in range(count)], lanes, length)
