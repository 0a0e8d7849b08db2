"""The generators of patterns: densities within their bounds, and what makes clusters of clusters."""

import numpy as np
import pytest

from tests.sparsity import clustered, empty_columns, gaps, independent, single_entries, weights

SHAPE = (400, 300)
DENSITIES = [0, 0.01, 0.1, 0.35, 0.9, 1]


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("make", [independent, clustered])
def test_density(make, density):
    found = [make(np.random.default_rng(seed), SHAPE, density).mean() for seed in range(8)]
    error = np.sqrt(density * (1 - density) / np.prod(SHAPE))  # of independent elements; clusters lie below it
    assert np.abs(np.array(found) - density).max() <= 5 * error


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("density", DENSITIES[1:-1])
def test_rows_and_columns_of_clusters_differ(density, axis):
    """Independent densities vary as binomials do; clustered ones several times as much."""
    expected = density * (1 - density) / SHAPE[axis]
    for seed in range(4):
        alike, apart = (
            make(np.random.default_rng(seed), SHAPE, density).mean(axis=axis).var() for make in (independent, clustered)
        )
        assert 0.6 * expected < alike < 1.5 * expected
        assert apart > 2 * alike


def test_gaps_are_those_asked_for():
    for pes in (1, 4):
        mask = gaps((pes * 50, 2), pes, 16, 3)
        for pe in range(pes):
            assert np.flatnonzero(mask[pe::pes, 1]).tolist() == [3, 20, 37]


def test_corner_cases():
    rng = np.random.default_rng(2)
    for shape in ((1, 1), (1, 30), (30, 1), (60, 40)):
        mask = empty_columns(rng, np.ones(shape, bool), 6)
        empty = ~mask.any(axis=0)
        assert empty.any() and (shape[1] < 13 or not empty.all())
        assert (single_entries(rng, np.ones(shape, bool), 1.0).sum(axis=1) == 1).all()
    some = (single_entries(rng, np.ones((400, 9), bool), 0.5).sum(axis=1) == 1).mean()
    assert 0.4 < some < 0.6


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("values", [1, 2, 3, 15, 255])
def test_weights_share_values(values, bits):
    rng = np.random.default_rng(values)
    mask = independent(rng, (80, 90), 0.5)
    weight = weights(rng, mask, values, bits)
    assert np.array_equal(weight != 0, mask)
    found = np.unique(weight[mask])
    assert values - 2 <= found.size <= values
    assert found[0] == -(1 << bits - 1)
    assert values < 2 or found[-1] == (1 << bits - 1) - 1
    assert weights(rng, np.zeros((4, 4), bool), values, bits).any() == 0
    assert weights(rng, np.eye(1, dtype=bool), values, bits).item() == -(1 << bits - 1)
