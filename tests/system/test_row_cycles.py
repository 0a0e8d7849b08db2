"""Transformers, and random jobs around the row engine, end in the predicted cycles on a memory of fixed latency."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from dataflows import isa
from mapper.compile import compile_network
from mapper.conv_plan import Options
from mapper.run import execute
from mapper.timing import predict
from sim.runner import Dram, Simulator
from tests.attention_configs import small_attention
from tests.attention_networks import KINDS as NETWORKS
from tests.attention_networks import random_input, random_transformer
from tests.row_jobs import KINDS, RowJobs
from tests.system.small import ROOT, verilog

BASES = {region: 0x1_0000 * (1 + region) for region in isa.Region}
MARKS = 0x8_0000
MEMORY = MARKS + 4096
TASKS = 8
CFG = small_attention()


def slow_or_fast(rng: np.random.Generator) -> Dram:
    """Any latency; as wide as the bus, wider, or narrower by any factor."""
    latency = int(rng.choice([1, 2, rng.integers(1, 200)]))
    return Dram(latency, round(float(CFG.bus_bytes * rng.choice([1, 0.5, 2, rng.uniform(0.1, 1.5)])), 2))



def check(seed: int, kinds: tuple[str, ...] = KINDS, tasks: int = TASKS) -> None:
    """Every task is stored in the predicted cycle, and the program ends in it."""
    jobs, dram = RowJobs(CFG, seed, tasks, kinds), slow_or_fast(np.random.default_rng(seed))
    memory = jobs.memory(BASES, MEMORY, seed)
    with closing(Simulator(CFG, Path(verilog(CFG)), dram=dram, seed=seed)) as simulator:
        simulator.write("POSITION", jobs.position)
        result = simulator.run(len(jobs.program.words), BASES, memory, 300_000, mark_address=MARKS)
    assert result.error is isa.Error.NONE, result.message
    found = predict(jobs.program, dram.latency, dram.bytes_per_cycle, position=jobs.position, decisions=jobs.decisions)
    assert found.layer_end == {int(tag): int(cycle) for cycle, tag in result.marks}, dram
    assert found.cycles == result.cycles, dram


@pytest.mark.parametrize("seed", range(6))
def test_jobs_end_in_the_predicted_cycles(seed: int) -> None:
    check(seed)


@pytest.mark.parametrize("case", range(len(NETWORKS)))
def test_transformers_end_in_the_predicted_cycles(case: int) -> None:
    dram = slow_or_fast(np.random.default_rng([case, 7]))
    network = random_transformer(case, NETWORKS[case])
    program = compile_network(CFG, network, Options(dram.latency, dram.bytes_per_cycle or CFG.bus_bytes))
    inputs = {"x": random_input(network, case)}
    result = execute(program, inputs, dram=dram, build_root=ROOT / "build" / "test", seed=case)
    assert not result.mismatches
    same = predict(program, dram.latency, dram.bytes_per_cycle or CFG.bus_bytes)
    (found,) = result.predictions or [same]
    ends = np.cumsum([result.layer_cycles[entry.index] for entry in program.schedule])
    assert [found.layer_end[entry.index] for entry in program.schedule] == ends.tolist(), dram
    assert found.cycles == result.cycles, dram
