"""Golden top-k against NumPy and PyTorch."""

import numpy as np
import pytest
import torch

from sim.golden.top_k import top_k


@pytest.mark.parametrize("kinds", [2, 9, 1 << 20])
def test_values_are_those_of_torch(kinds, rng):
    for _ in range(50):
        values = rng.integers(-kinds // 2, kinds // 2, size=int(rng.integers(1, 70)))
        k = int(rng.integers(len(values), endpoint=True))
        found = top_k(values, k)
        assert len(found) == k and (np.diff(found) > 0).all()
        assert sorted(values[found], reverse=True) == torch.topk(torch.from_numpy(values), k).values.tolist()


def test_ties_go_to_the_lowest_index():
    values = np.array([5, 1, 5, 7, 5, 5])
    assert [top_k(values, k).tolist() for k in range(7)] == [
        [], [3], [0, 3], [0, 2, 3], [0, 2, 3, 4], [0, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5]
    ]  # fmt: skip


def test_the_most_negative_value_is_the_least():
    assert top_k(np.array([-(2**31), 2**31 - 1, 0], np.int32), 2).tolist() == [1, 2]


@pytest.mark.parametrize("k", [-1, 4])
def test_k_beyond_the_list(k):
    with pytest.raises(ValueError, match=f"0 to the number of values, 3 here, not {k}"):
        top_k(np.arange(3), k)
