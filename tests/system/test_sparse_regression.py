"""Random pruned networks on random sparse engines against the golden model, cycles predicted beside measured."""

import numpy as np
import pytest

from dataflows.network import Conv
from tests.pruned_networks import pruned_input
from tests.system.regression import RESULTS, failures, surprises, table, write
from tests.system.sparse_regression import SHORT, draw, run_case

CONFIGURATIONS = range(len(SHORT))
CASES = range(16)


@pytest.mark.parametrize("number", CONFIGURATIONS)
def test_random_pruned_layers(number: int) -> None:
    outcomes = [run_case(number, case) for case in CASES]
    print("\n" + table(outcomes))
    write(outcomes, RESULTS / f"sparse{number}.json")
    assert not any(o.failure for o in outcomes), failures(outcomes)
    assert not surprises(outcomes), "cycles differ from the prediction:\n" + table(surprises(outcomes))


def test_the_cases_reach_every_corner() -> None:
    """Densities from 0 to 1, empty columns in a row, single entries, few rows, nothing but zero activations."""
    densities, runs, singles, few, batches, silent, dense = [], 0, 0, 0, set(), 0, 0
    for number in CONFIGURATIONS:
        for case in CASES:
            cfg, _, networks, _ = draw(number, case)
            network = next(networks)
            x, source = pruned_input(network, case), network.tensors["x"]
            silent += not (x != source.zero).any()
            dense += bool((x != source.zero).all())
            batches.add(len(x))
            for layer in network.layers:
                if isinstance(layer, Conv) and layer.window.kernel == (1, 1):
                    mask = layer.weight[:, :, 0, 0] != 0
                    densities.append(mask.mean())
                    empty = ~mask.any(axis=0)
                    runs += bool((empty[1:] & empty[:-1]).any() and mask.any())
                    singles += bool((mask.sum(axis=1) == 1).any())
                    few += len(mask) < cfg.sparse.pes
    assert min(densities) == 0 and max(densities) == 1 and np.histogram(densities, 10, (0, 1))[0].min() > 0
    assert batches == {1, 2, 3}
    assert min(runs, singles, few) >= 10 and min(dense, silent) >= 3
