"""The sorter that the top-k engine is compared with: order, ties, cycles that do not depend on the data."""

import gc

import numpy as np
import pytest

from tests.rtl.merge_sorter import MergeSorter, levels_of, merging, sorting
from tests.rtl.top_k_bench import Engine


def exchanged(keys, pairs):
    """Lists (n, lanes) after comparators that put the greater on the lower lane."""
    for low, high in pairs:
        here = keys[:, [low, high]]
        keys[:, low], keys[:, high] = here.max(axis=1), here.min(axis=1)
    return keys


@pytest.mark.parametrize("lanes", [2, 4, 8, 16])
def test_networks(lanes):
    """Every list of noughts and ones: what sorts these sorts everything."""
    lists = np.arange(1 << lanes)[:, np.newaxis] >> np.arange(lanes) & 1
    assert (np.diff(exchanged(lists.copy(), sorting(0, lanes - 1))) <= 0).all()
    halves = np.concatenate([-np.sort(-half) for half in np.split(lists, 2, axis=1)], axis=1)
    assert (np.diff(exchanged(halves, merging(0, lanes - 1))) <= 0).all()


def test_numbers_of_comparators():
    """Of 16 and of 2 * 16: Batcher's."""
    assert len(list(sorting(0, 15))) == 63 and len(levels_of(sorting(0, 15))) == 10
    assert len(list(merging(0, 31))) == 65 and len(levels_of(merging(0, 31))) == 5


@pytest.mark.regress
def test_sorted_lists(tmp_path, rng):
    engine = Engine(MergeSorter(4, 32, 6), "merge_sorter", tmp_path)
    jobs = [(rng.integers(high, size=32), int(k)) for high in (2, 64) for k in rng.integers(1, 33, size=100)]
    for stall in (0, 40):
        results, times = engine.run(jobs, stall=stall)
        for (values, k), (found, indices) in zip(jobs, results, strict=True):
            expected = np.argsort(-values, kind="stable")[:k]
            np.testing.assert_array_equal(indices, expected)
            np.testing.assert_array_equal(found, values[expected])
        if not stall:
            words = np.array([-(-k // 4) for _, k in jobs])
            assert len(set(times[:, 2] - times[:, 0] - words)) == 1


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
@pytest.mark.parametrize("length", [12, 16, 48])
def test_lengths(length):
    with pytest.raises(ValueError, match=f"4 times a power of two, at least 8, not {length}"):
        MergeSorter(4, length, 8)
    gc.collect()
