"""The row engine in emitted Verilog: programs written by hand against the integer definitions."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from dataflows import isa
from sim.runner import Dram, Result, Simulator
from tests.attention_program import BASES, MARKS, Case, Program
from tests.isa_model import Machine
from tests.system.attention_regression import configuration
from tests.system.small import verilog

LIMIT = 200_000


CFG = configuration(1)
"""Shared with :mod:`tests.system.test_attention`: it takes long to compile."""


def run(program: Program, dram: Dram, seed: int = 0) -> tuple[Result, np.ndarray]:
    """One run; returns its result and the memory behind it."""
    memory = program.memory(seed)
    with closing(Simulator(program.cfg, Path(verilog(program.cfg)), dram=dram, seed=seed)) as simulator:
        return simulator.run(len(program.words), BASES, memory, LIMIT, mark_address=MARKS), memory


def check(program: Program, memory: np.ndarray) -> None:
    """All three results."""
    for name, found, wanted in zip(
        ("values", "looked up", "normalized"), program.results(memory), program.case.results(), strict=True
    ):
        np.testing.assert_array_equal(found, wanted, err_msg=name)


def random_program(seed: int) -> Program:
    """Sizes of one, odd ones, longest rows."""
    rng = np.random.default_rng(seed)
    longest = CFG.attention.row_elements
    keys, channels = (int(rng.choice([1, 8, *rng.integers(2, most + 1, 3)])) for most in (longest, 48))
    most = CFG.acc_bank_words // -(-max(keys, channels) // CFG.lanes)
    queries = min(most, int(rng.choice([1, *rng.integers(2, 33, 3)])))
    return Program(Case.random(CFG, rng, queries, keys, channels))


@pytest.mark.parametrize("seed", range(6))
def test_in_program_order(seed):
    """The program is right by the functional model, so a difference in Verilog is one of the hardware."""
    program = random_program(seed)
    memory = program.memory(seed)
    machine = Machine(program.cfg, memory, BASES)
    machine.run(program.words)
    machine.finished()
    check(program, memory)


@pytest.mark.parametrize("seed", range(12))
def test_random_heads(seed):
    program = random_program(seed)
    rng = np.random.default_rng(seed)
    stall = float(rng.choice([0, 0.3]))
    dram = Dram(latency=int(rng.integers(1, 60)), read_stall=stall, write_stall=stall, seed=seed)
    result, memory = run(program, dram, seed)
    assert result.error is isa.Error.NONE, result.message
    check(program, memory)
    assert result.counters["ROWS_BUSY"] > 0


def test_nothing_is_left_of_a_program_that_was_cut_short():
    """An illegal word behind a START leaves rows, words and scales on their way; the next run must not see them."""
    program = random_program(3)
    starts = [i for i, word in enumerate(program.words) if int(word) >> 60 == isa.Op.START]
    broken = program.memory(3)
    with closing(Simulator(CFG, Path(verilog(CFG)), dram=Dram(latency=9), seed=3)) as simulator:
        for cut in starts[len(starts) // 3 :: 7]:
            place = BASES[isa.Region.PROGRAM] + 8 * (cut + 1)
            word = broken[place : place + 8].copy()
            broken[place : place + 8] = 0
            result = simulator.run(len(program.words), BASES, broken.copy(), LIMIT, mark_address=MARKS)
            assert result.error is isa.Error.ILLEGAL_COMMAND, result.message
            broken[place : place + 8] = word
            memory = program.memory(cut)
            result = simulator.run(len(program.words), BASES, memory, LIMIT, mark_address=MARKS)
            assert result.error is isa.Error.NONE, result.message
            check(program, memory)
