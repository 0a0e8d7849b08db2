"""The sparse engine in emitted Verilog: programs written by hand against plain integer products."""

from contextlib import closing
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from dataflows import isa
from dataflows.config import Config, load, parse
from sim.runner import Dram, Result, Simulator
from tests import sparsity
from tests.sparse_program import BASES, MARKS, Case, Program
from tests.system.small import ROOT, verilog

LIMIT = 300_000
MASKS = {"independent": sparsity.independent, "clustered": sparsity.clustered}


@cache
def configuration(name: str) -> Config:
    """``eie4``, or it with 16-bit operands, a wide bus, more PEs than lanes, entries of two bytes, a hasty watchdog."""
    cfg = load(ROOT / "configs" / "eie4.toml")
    if name == "eie4":
        return cfg
    values = cfg.model_dump()
    values |= {"name": name, "numbers": {"act_bits": 16}, "control": {"watchdog_cycles": 1024}}
    values["array"] |= {"rows": 3}
    values["memory"] |= {"input_bytes": 16384, "param_bytes": 8192, "acc_bytes": 9216}
    values["bus"] |= {"data_bits": 128}
    values["sparse"] |= {"pes": 12, "queue": 1, "run_bits": 3, "code_bits": 6, "accumulators": 24}
    return parse(values, "tests/system/test_sparse.py")


def run(program: Program, dram: Dram, seed: int = 0) -> tuple[Result, np.ndarray]:
    """One run; returns its result and the memory behind it."""
    cfg = program.cfg
    memory = program.memory(seed)
    before = memory.copy()
    with closing(Simulator(cfg, Path(verilog(cfg)), dram=dram, seed=seed)) as simulator:
        result = simulator.run(len(program.words), BASES, memory, LIMIT, mark_address=MARKS)
    changed = np.flatnonzero(memory != before)
    start, size = BASES[isa.Region.OUTPUT], program.case.vectors.shape[0] * len(program.case.weight) * cfg.act_bytes
    outside = changed[((changed < start) | (changed >= start + size)) & ((changed < MARKS) | (changed >= MARKS + 16))]
    assert not outside.size, f"bytes outside of the results changed, the first at {outside[0]:#x}"
    return result, memory


def check(program: Program, dram: Dram, seed: int = 0) -> Result:
    """Run, and compare results and counters with what they must be."""
    case = program.case
    result, memory = run(program, dram, seed)
    assert result.error is isa.Error.NONE, result.message
    assert np.array_equal(program.results(memory), case.results())
    lengths = np.hstack([tile.lengths for tile in program.tiles])
    walked = sum(int(lengths[:, vector != case.zero].sum()) for vector in case.vectors)
    assert result.counters["SPARSE_ENTRIES"] == walked
    return result


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("name", ["eie4", "eie_wide"])
def test_random_products(name, seed):
    rng = np.random.default_rng(seed)
    cfg = configuration(name)
    assert cfg.sparse is not None
    rows = int(rng.choice([1, 2, cfg.sparse.pes - 1, cfg.sparse.pes + 1, rng.integers(1, 100)]))
    columns = int(rng.choice([1, 3, rng.integers(2, 100)]))
    density = float(rng.choice([0, 0.05, 0.1, 0.3, 1]))
    mask = MASKS[rng.choice(list(MASKS))](rng, (rows, columns), density)
    values = 2 ** int(rng.integers(1, cfg.sparse.code_bits + 1)) - 1
    weight = sparsity.weights(rng, mask, values, cfg.numbers.weight_bits)
    cuts = tuple(sorted({int(c) for c in rng.integers(1, columns, 2)})) if columns > 1 and rng.random() < 0.5 else ()
    case = Case.random(cfg, rng, weight, int(rng.integers(1, 6)), cuts, float(rng.choice([0, 0.2, 0.6, 1])))
    stall = float(rng.choice([0, 0.3]))
    dram = Dram(latency=int(rng.integers(1, 60)), read_stall=stall, write_stall=stall, seed=seed)
    check(Program(case), dram, seed)


def dense(cfg: Config, rows: int, columns: int) -> Case:
    """Every weight and every activation is there."""
    rng = np.random.default_rng(4)
    weight = sparsity.weights(rng, np.ones((rows, columns), bool), 15)
    return Case.random(cfg, rng, weight, 1, (), 1)


def test_a_job_may_be_longer_than_the_watchdog_waits():
    case = dense(configuration("eie_wide"), 288, 80)
    case.vectors[:] = case.zero - 1 if case.zero > 0 else case.zero + 1
    result = check(Program(case), Dram(latency=10))
    assert result.cycles > 1.5 * 1024
    assert result.counters["SPARSE_FULL"] > 1500  # all PEs have 24 entries a column, and an activation comes per cycle
    assert result.counters["SPARSE_STALL"] < 300 < result.counters["SPARSE_BUSY"]


class WithoutWords(Program):
    """The vector never reaches the engine."""

    def _tile(self, index: int, columns: int, address: int, *, final: bool) -> None:
        add = self.builder.add
        self.builder.add = lambda unit, *args, **named: unit is isa.Unit.INPUT or add(unit, *args, **named)
        super()._tile(index, columns, address, final=final)
        self.builder.add = add


def test_words_that_never_come_end_in_a_timeout():
    program = WithoutWords(dense(configuration("eie_wide"), 9, 7))
    result, _ = run(program, Dram(latency=10))
    assert result.error is isa.Error.TIMEOUT, result.message
    assert result.counters["SPARSE_STALL"] > 1000 and result.counters["SPARSE_ENTRIES"] == 0
