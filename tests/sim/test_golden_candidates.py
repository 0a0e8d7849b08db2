"""Keys and values that attention leaves out: candidates, post-scoring, values by threshold."""

from dataclasses import replace

import numpy as np
import pytest

from dataflows.errors import InputError
from sim import golden
from sim.golden.candidates import candidates, greedy_scores
from tests.pruned_transformers import PrunedBlocks
from tests.sim.test_golden_pruning import probabilities


def greedy(query, keys, steps):
    """Section 13 with lists, one step after the other."""
    length, size = len(keys), len(query)
    scores = [0] * length
    columns = [sorted((keys[j][d], j) for j in range(length)) for d in range(size)]
    ends = []
    for upper in (True, False):
        ends.append([column[::-1] if (q >= 0) == upper else list(column) for column, q in
                     zip(columns, query, strict=True)])  # fmt: skip
    for _ in range(steps):
        for sign, columns_left in zip((1, -1), ends, strict=True):
            heads = [(-sign * query[d] * c[0][0], c[0][1], d) for d, c in enumerate(columns_left) if c]
            if heads and min(heads)[0] < 0:
                product, key, d = min(heads)
                scores[key] -= sign * product
                columns_left[d].pop(0)
    return scores


@pytest.mark.parametrize("span", [2, 5, 128])
def test_greedy_scores(span, rng):
    for length, size in [(1, 1), (7, 3), (12, 8)]:
        q = rng.integers(-span, span, (2, 4, size))
        k = rng.integers(-span, span, (2, length, size))
        q[0, 0] = 0
        for steps in (1, 5, length * size, length * size + 3):
            found = greedy_scores(q, k, steps)
            for n in range(2):
                for i in range(4):
                    assert found[n, i].tolist() == greedy(q[n, i].tolist(), k[n].tolist(), steps)
        np.testing.assert_array_equal(found, q @ k.swapaxes(1, 2))
        np.testing.assert_array_equal(candidates(q, k, length * size), q @ k.swapaxes(1, 2) > 0)


def layer_of(seed, **fields):
    """Network, layer with other fields, values."""
    rng = np.random.default_rng(seed)
    blocks = PrunedBlocks(seed, rng.integers(-128, 128, (2, 1, 10, 8)).astype(np.int8))
    blocks.pruned_attention("x", 2)
    network = blocks.network("left_out")
    return network, replace(network.layers[-1], **fields), blocks.values


def test_all_candidates_are_the_keys_with_positive_products():
    network, layer, values = layer_of(3, candidates=40)
    result = golden.run_layer(network, layer, values)
    some = golden.run_layer(network, replace(layer, candidates=6), values)
    assert not np.array_equal(result, some)
    q, k, _ = (values[name][1, 0].astype(int) for name in layer.inputs)
    left = [j for j in range(10) if q[4, :4] @ k[j, :4] > 0]
    # Keys that are no candidates do not matter, neither as keys nor as values.
    changed = dict(values)
    for name in layer.inputs[2:]:
        other = values[name].copy()
        other[1, 0, [j for j in range(10) if j not in left], :4] = 99
        changed[name] = other
    assert left and len(left) < 10
    after = golden.run_layer(network, layer, changed)
    np.testing.assert_array_equal(after[1, 0, 4, :4], result[1, 0, 4, :4])


def test_no_candidates_give_the_zero_point():
    network, layer, values = layer_of(5, candidates=3)
    queries = np.zeros_like(values[layer.inputs[0]])
    result = golden.run_layer(network, layer, values | {layer.inputs[0]: queries})
    assert (result == network.tensors[layer.output].zero).all()


def test_post_scoring_drops_small_numerators():
    network, layer, values = layer_of(7, least=127)
    result = golden.run_layer(network, layer, values)
    assert not np.array_equal(result, golden.run_layer(network, replace(layer, least=0), values))
    np.testing.assert_array_equal(
        golden.run_layer(network, replace(layer, least=1), values),
        golden.run_layer(network, replace(layer, least=0), values),
    )


@pytest.mark.parametrize("threshold", [0.02, 0.3, 0.5, 1.0])
def test_values_by_threshold(threshold):
    """A value of 0 adds nothing; columns are told by loops."""
    network, layer, values = layer_of(9, value_threshold=threshold)
    result = golden.run_layer(network, layer, values)
    plain = replace(layer, value_threshold=0.0)
    v = values[layer.inputs[2]].copy()
    left = 0
    for sample in range(2):
        for h, rows in enumerate(probabilities(network, plain, values, sample)):
            for j in range(10):
                if all(row[j] / 65536 < float(np.float32(threshold)) for row in rows):
                    v[sample, 0, j, 4 * h : 4 * h + 4] = 0
                    left += 1
    np.testing.assert_array_equal(result, golden.run_layer(network, plain, values | {layer.inputs[2]: v}))
    assert (left > 0) == (threshold > 0.02) and (left < 40) == (threshold < 1)


@pytest.mark.parametrize(("fields", "message"), [
    ({"value_threshold": 1.5}, "value_threshold must be a probability, 0 .none. to 1"),
    ({"value_threshold": 0.5, "keep_values": 2}, "0 with keep_values"),
    ({"candidates": -1}, "candidates must be steps of the search"),
    ({"least": 128}, "least must be a numerator, 0 to 127, not 128"),
])  # fmt: skip
def test_refused(fields, message):
    network, layer, values = layer_of(1, **fields)
    with pytest.raises(InputError, match=message):
        golden.run_layer(network, layer, values)
