"""Values of single keys left out in emitted Verilog: a program written by hand against the integer definitions."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dataflows import isa
from sim.runner import Dram, Simulator
from tests.attention_configs import small_attention
from tests.attention_program import BASES, MARKS, VALUES, Case
from tests.isa_model import Machine
from tests.system.small import verilog
from tests.values_program import ValuesProgram

LIMIT = 100_000
CFG = small_attention(4, 8, name="values4x8", attention={
    "row_elements": 64, "scales": 64, "tables": 2, "indices": 128, "pruning": True, "values": True,
    "candidates": 40, "candidate_columns": 16,
})  # fmt: skip


def random_program(seed: int) -> ValuesProgram:
    """By rank and by probability; one key, one value, all values, none."""
    rng = np.random.default_rng(seed)
    queries, keys, channels = int(rng.integers(1, 17)), int(rng.choice([1, 64, rng.integers(2, 64)])), 8
    case = Case.random(CFG, rng, queries, keys, channels)
    least = int(rng.choice([0, 0, 20]))
    if seed % 2:
        return ValuesProgram(case, floor=int(rng.choice([0, 700, 9000, 65535])), least=least)
    return ValuesProgram(case, keep=int(rng.choice([1, keys, rng.integers(1, keys + 1)])), least=least)


def check(program: ValuesProgram, memory: np.ndarray) -> None:
    shape = program.case.queries.shape
    found = memory[BASES[isa.Region.OUTPUT] + VALUES :][: shape[0] * shape[1]].view(np.int8).reshape(shape)
    np.testing.assert_array_equal(found, program.wanted())


@pytest.mark.parametrize("seed", range(10))
def test_in_program_order(seed):
    program = random_program(seed)
    memory = program.memory(seed)
    machine = Machine(program.cfg, memory, BASES)
    machine.run(program.words)
    machine.finished()
    check(program, memory)


def run(program: ValuesProgram, seed: int, dram: Dram) -> int:
    """Run and check a program on the RTL; returns the beats it has read."""
    memory = program.memory(seed)
    with closing(Simulator(CFG, Path(verilog(CFG)), dram=dram, seed=seed)) as simulator:
        result = simulator.run(len(program.words), BASES, memory, LIMIT, mark_address=MARKS)
    assert result.error is isa.Error.NONE, result.message
    check(program, memory)
    return int(result.counters["READ_BEATS"])


@pytest.mark.parametrize("seed", range(10))
def test_random_heads(seed):
    rng = np.random.default_rng(seed)
    stall = float(rng.choice([0, 0.3]))
    dram = Dram(latency=int(rng.integers(1, 60)), read_stall=stall, write_stall=stall, seed=seed)
    run(random_program(seed), seed, dram)


def test_values_left_out_are_not_read():
    """Programs that differ by a floor only: a value of 8 bytes is a beat, and no value takes one all the same."""
    case = replace(Case.random(CFG, np.random.default_rng(5), 7, 53, 8), valid=53, score_scale=(1 << 23, 34))
    columns = ValuesProgram(case, floor=0).columns()
    floors = (0, int(np.median(columns)), 65535)
    read = {floor: run(ValuesProgram(case, floor=floor), 1, Dram(latency=9)) for floor in floors}
    stay = {floor: max(1, int((columns > floor).sum())) for floor in floors}
    assert len(set(stay.values())) == 3
    assert {floor: beats - stay[floor] for floor, beats in read.items()} == dict.fromkeys(read, read[0] - stay[0])
