"""Random jobs around the row engine end in the predicted cycles, on emitted Verilog and a memory of fixed latency."""

from contextlib import closing
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from dataflows import isa
from dataflows.config import Config, load, parse
from mapper.timing import predict
from sim.runner import Dram, Simulator
from tests.row_jobs import KINDS, RowJobs
from tests.system.small import ROOT, verilog

BASES = {region: 0x1_0000 * (1 + region) for region in isa.Region}
MARKS = 0x8_0000
MEMORY = MARKS + 4096
TASKS = 8


@cache
def configuration() -> Config:
    """A small array with short rows and few of everything."""
    values = load(ROOT / "configs" / "tiny.toml").model_dump()
    values |= {"name": "tiny_rows", "attention": {"row_elements": 64, "scales": 64, "tables": 2, "indices": 64}}
    values["array"] |= {"cols": 8}
    return parse(values, "tests/system/test_row_cycles.py")


def check(seed: int, kinds: tuple[str, ...] = KINDS, tasks: int = TASKS) -> None:
    """Every task is stored in the predicted cycle, and the program ends in it."""
    cfg, rng = configuration(), np.random.default_rng(seed)
    jobs = RowJobs(cfg, seed, tasks, kinds)
    latency = int(rng.choice([1, 2, rng.integers(1, 100)]))
    dram = Dram(latency, round(float(cfg.bus_bytes * rng.choice([1, 0.5, 2, rng.uniform(0.1, 1.5)])), 2))
    memory = jobs.memory(BASES, MEMORY, seed)
    with closing(Simulator(cfg, Path(verilog(cfg)), dram=dram, seed=seed)) as simulator:
        simulator.write("POSITION", jobs.position)
        result = simulator.run(len(jobs.program.words), BASES, memory, 300_000, mark_address=MARKS)
    assert result.error is isa.Error.NONE, result.message
    found = predict(jobs.program, dram.latency, dram.bytes_per_cycle, position=jobs.position)
    assert found.layer_end == {int(tag): int(cycle) for cycle, tag in result.marks}, dram
    assert found.cycles == result.cycles, dram


@pytest.mark.parametrize("seed", range(6))
def test_jobs_end_in_the_predicted_cycles(seed: int) -> None:
    check(seed)
