"""Candidate search over sorted columns of keys: widths, and cycles (``docs/numerics.md``, section 13).

The engine is ``rtl/candidate_search.py``. A step adds one product of each end of the columns to the greedy scores.
"""

from __future__ import annotations

from dataflows.top_k import eliminator_latency, words

CODE_BITS = 8
PRODUCT_BITS = 16
SCORE_BITS = 24
"""A greedy score is at most the sum of all products of its key."""
MAX_COLUMNS = 256
STEP_BITS = 24

TREE_RADIX = 4
"""Products compared between two registers."""


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


def cycles(keys: int, columns: int, steps: int, found: list[int], lanes: int, length: int) -> int:
    """Cycles of a search, from the one after its job's transfer to that of the last word of candidates.

    Parameters
    ----------
    keys, columns, steps : int
    found : list of int
        The candidates.
    lanes, length : int
        Scores of a word, and the most keys the engine holds.
    """
    count = words(keys, lanes)
    of_end = sum(key >= (count - 1) * lanes for key in found)  # these may need a word of their own
    rest = (len(found) - of_end) % lanes + of_end > lanes
    stepping = steps * step_cycles(columns)
    return fill_cycles(columns, words(length, lanes)) + stepping + 1 + count + eliminator_latency(lanes) + rest
