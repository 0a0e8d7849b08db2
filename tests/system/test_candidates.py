"""Attention to candidates on the RTL: bits and cycles of random memories, and what is read of them."""

import numpy as np
import pytest

from mapper.candidates_summary import candidates_summary
from mapper.compile import compile_network
from mapper.conv_plan import Options
from mapper.run import Run, execute
from mapper.timing import predict
from sim.runner import Dram
from tests.attention_networks import random_input
from tests.memory_networks import memory_network, random_memory
from tests.system.small import ROOT
from tests.system.test_values_program import CFG


def run(network, dram: Dram, seed: int) -> Run:
    """Run a network; every tensor has the golden model's bits, and the program ends in the predicted cycle."""
    program = compile_network(CFG, network, Options(dram.latency, dram.bytes_per_cycle))
    inputs = {"x": random_input(network, seed)}
    result = execute(program, inputs, dram=dram, build_root=ROOT / "build" / "test", seed=seed)
    assert not result.mismatches
    (found,) = result.predictions or [predict(program, dram.latency, dram.bytes_per_cycle)]
    assert found.cycles == result.cycles, dram
    return result


@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(n, marks=pytest.mark.regress) for n in range(6, 60))])
def test_random_memories(seed: int) -> None:
    rng = np.random.default_rng([seed, 8])
    rate = round(float(CFG.bus_bytes * rng.choice([1, 0.5, 2, rng.uniform(0.1, 1.5)])), 2)
    dram = Dram(int(rng.choice([1, 2, rng.integers(1, 200)])), rate)
    run(random_memory(seed, CFG.candidates, CFG.attention.candidate_columns), dram, seed)


def test_what_is_no_candidate_is_not_read() -> None:
    """Fewer steps, fewer bytes: each key and each value of 16 bytes is two beats."""
    read = []
    for steps in (2, 12, 40):
        network = memory_network(1, 3, 40, 1, 16, steps=steps)
        result = run(network, Dram(9, CFG.bus_bytes), 1)
        read.append(result.counters["READ_BEATS"])
        ((name, found),) = result.candidates.items()
        layer = next(x for x in network.layers if x.name == name)
        summary = candidates_summary(network, layer, result)
        assert len(found) == 3 and 1 <= summary.fewest <= summary.found <= summary.most <= steps
        assert candidates_summary(network, layer, None).text == f"up to {steps} of 40"
    assert read[0] < read[1] < read[2]
