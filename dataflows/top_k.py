"""Top-k engine: how it chooses its pivots, and how many cycles a job takes.

The engine (``rtl/top_k.py``) takes ``length`` values in words of ``parallel`` and gives the ``k`` largest in their
original order, of equal ones those that come first. Between loading and that last pass it selects: it looks for the
k-th largest value, the *threshold*, and how many values equal to it belong to the result, the *ties*.

* A **round** reads a list of more than one word, compares it with a pivot and divides it into what is less and what is
  greater. The side with the k-th largest is the next list, if it is not the pivot itself.
* A list of one word is not divided any more: its elements are pivots one after the other, a cycle each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PREFIX_LEVELS = 4
"""Adders one behind the other between two registers of a prefix sum."""


def prefix_latency(parallel: int) -> int:
    """Cycles of a prefix sum over ``parallel`` flags."""
    levels = (parallel - 1).bit_length()
    return max(0, -(-levels // PREFIX_LEVELS) - 1)


def eliminator_latency(parallel: int) -> int:
    """Cycles of a zero eliminator: counts and places, then exchanges."""
    return prefix_latency(parallel) + 1


def round_latency(parallel: int) -> int:
    """Cycles of a round beyond one per word: read, compare, count, decide."""
    return prefix_latency(parallel) + 3


def output_latency(parallel: int) -> int:
    """Cycles from reading a value for the last pass to its word: read, compare, eliminator."""
    return 2 + eliminator_latency(parallel)


def words(count: int, parallel: int) -> int:
    """Words of ``count`` elements."""
    return -(-count // parallel)


def sample_places(count: int, parallel: int) -> tuple[int, int, int]:
    """Which elements of a list of more than one word are sampled.

    The last of the first 2**j full words, for the largest j, those of half as many, and those of 3 * 2**j; where there
    are not so many words, the first and a middle one of the first word. So samples come from a quarter to a half, from
    a half to all and from between in lists of any length, which is right where values are sorted, too.
    """
    full = count // parallel
    half = 1 << full.bit_length() - 1
    three = 3 * (half >> 1 if full >= 3 * half >> 1 else half >> 2)
    older = (half >> 1) * parallel - 1 if full > 1 else 0
    return older, half * parallel - 1, three * parallel - 1 if three else (parallel - 1) // 2


def pivot(samples: tuple[int, int, int], k: int, count: int) -> int:
    """The pivot of a round: the largest sample if k is in the first quarter, the smallest in the last, else the median.

    So the pivot lies between the middle and the element looked for more often than not, which leaves the shorter side.
    """
    low, median, high = sorted(samples)
    return high if 4 * k < count else low if 4 * (count - k) < count else median


@dataclass(frozen=True)
class Selection:
    """What selecting has found, and its cycles.

    Attributes
    ----------
    threshold : int
        The k-th largest value; of no meaning for k = 0 and k = length.
    ties : int
        How many values equal to it are among the k largest.
    rounds : int
        Lists of more than one word that have been divided.
    cycles : int
        From the cycle after the last word of input to the one before the last pass begins.
    """

    threshold: int
    ties: int
    rounds: int
    cycles: int


def select(values: NDArray[np.integer], k: int, parallel: int) -> Selection:
    """Follow the engine through one job.

    Parameters
    ----------
    values : integers, (length,)
    k : int
        0 to length.
    parallel : int
        Elements of a word, a power of two.
    """
    if k in (0, len(values)):
        return Selection(0, 0, 0, 0)
    rounds = cycles = 0
    extra = round_latency(parallel)
    while len(values) > parallel:
        here = tuple(int(values[place]) for place in sample_places(len(values), parallel))
        chosen = pivot((here[0], here[1], here[2]), k, len(values))
        greater, less = values[values > chosen], values[values < chosen]
        rounds += 1
        cycles += words(len(values), parallel) + extra
        if len(greater) < k <= len(values) - len(less):
            return Selection(chosen, k - len(greater), rounds, cycles)
        if k > len(greater):
            k -= len(values) - len(less)
            values = less
        else:
            values = greater
    for place, value in enumerate(values):  # one of them is it
        greater_count = int(np.count_nonzero(values > value))
        if greater_count < k <= greater_count + int(np.count_nonzero(values == value)):
            return Selection(int(value), k - greater_count, rounds, cycles + extra + 3 + place)
    raise ValueError(f"k must be 0 to the number of values, {len(values)} here, not {k}")


@dataclass(frozen=True)
class Cycles:
    """Cycles of a job whose neighbours never wait.

    Attributes
    ----------
    load : int
        From the cycle after the transfer of the job to the last word of input.
    select : int
    stream : int
        The last pass, to the last word of output. The next job is taken in the cycle after.
    """

    load: int
    select: int
    stream: int

    @property
    def total(self) -> int:
        """From the cycle after the transfer of the job to the last word of output."""
        return self.load + self.select + self.stream


def cycles(values: NDArray[np.integer], k: int, parallel: int) -> Cycles:
    """Cycles of one job, given its data; see :func:`select`."""
    found = select(values, k, parallel)
    return _with_last_pass(kept(values, k, found), found.cycles, parallel)


def floor_cycles(values: NDArray[np.integer], floor: int, parallel: int) -> Cycles:
    """Cycles of a job that gives all values above a floor."""
    return _with_last_pass(np.asarray(values > floor, bool), 0, parallel)


def _with_last_pass(stays: NDArray[np.bool_], selecting: int, parallel: int) -> Cycles:
    """Cycles of a job, given what stays and the cycles of selecting."""
    count = words(len(stays), parallel)
    of_end = int(stays[(count - 1) * parallel :].sum())  # what the last word brings may need a word of its own
    rest = (int(stays.sum()) - of_end) % parallel + of_end > parallel
    return Cycles(count, selecting, count + output_latency(parallel) + rest)


def kept(values: NDArray[np.integer], k: int, found: Selection) -> NDArray[np.bool_]:
    """Which values the last pass lets through: those above the threshold, and the first ``ties`` of those equal."""
    if k in (0, len(values)):
        return np.full(len(values), k > 0)
    equal = np.asarray(values == found.threshold, bool)
    return np.asarray(values > found.threshold, bool) | (equal & (np.cumsum(equal) <= found.ties))


def mean_cycles(length: int, k: int, parallel: int, samples: int = 64) -> int:
    """Cycles of a job with random values, all different: the mean over ``samples`` fixed permutations.

    For estimates; only the order of the values decides.
    """
    rng = np.random.default_rng(length)
    return round(float(np.mean([cycles(rng.permutation(length), k, parallel).total for _ in range(samples)])))
