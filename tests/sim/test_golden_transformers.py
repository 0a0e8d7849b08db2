"""Random transformers of the regressions run in the golden model, and their values use the range."""

import numpy as np
import pytest

from dataflows.attention import Attention, Lookup, Norm
from sim import golden
from tests.attention_networks import KINDS, encoder_network, random_input, random_transformer


def test_random_transformers_use_the_range():
    """Of ordinary layers most results spread over many codes, and few of them are at the ends."""
    spread, ends, seen = [], [], set()
    for seed in range(60):
        network = random_transformer(seed)
        values = golden.run(network, {"x": random_input(network, seed)})
        for layer in network.layers:
            value = values[layer.output]
            seen.add(type(layer))
            if value.size > 200:
                spread.append(value.astype(float).std())
                ends.append(np.isin(value, (layer.low, layer.high)).mean())
    assert np.median(spread) > 20 and np.median(ends) < 0.2
    assert {Attention, Norm, Lookup} <= seen


@pytest.mark.parametrize("kind", sorted(set(KINDS)))
def test_every_kind_of_network(kind):
    network = random_transformer(7, kind)
    values = golden.run(network, {"x": random_input(network, 7)})
    assert set(values) == set(network.tensors)


def test_encoder_of_a_shape():
    network = encoder_network(2, 24, 3, 9, 40)
    assert len(network.layers) == 2 * 12 and network.tensors[network.outputs[0]].shape == (1, 1, 9, 24)
    macs = sum(network.macs(layer) for layer in network.layers)
    assert macs == 2 * 9 * (4 * 24 * 24 + 2 * 24 * 40 + 2 * 9 * 24)
