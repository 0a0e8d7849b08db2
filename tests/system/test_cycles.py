"""On a memory of fixed latency and bandwidth every layer ends in the predicted cycle, on every configuration."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from dataflows import config, isa
from dataflows.config import Config
from dataflows.vocabulary import Kind, Operand
from mapper.accesses import accesses
from mapper.compile import Program
from mapper.run import execute
from mapper.timing import predict
from sim.runner import Dram
from tests.mixed_networks import mixed_input
from tests.random_layers import random_input
from tests.system import mixed_regression
from tests.system.regression import candidates, fitting

CONFIGURATIONS = [config.load(path) for path in sorted(Path("configs").glob("*.toml"))]
LARGE = (
    "diannao", "eie64", "is8", "os16", "spatten", "ws8", "ws12x20", "ws32",
    *(cfg.name for cfg in CONFIGURATIONS if cfg.multiplier),
)  # fmt: skip
"""Configurations that take a while to compile, whose like is among the others or in the random regressions."""

CASES = range(4)


def slow_or_fast(bus_bytes: int, rng: np.random.Generator) -> Dram:
    """Any latency; as wide as the bus, wider, or narrower by any factor."""
    latency = int(rng.choice([1, 2, 100, rng.integers(1, 400)]))
    return Dram(latency, round(float(bus_bytes * rng.choice([1, 0.5, 2, rng.uniform(0.1, 1.5)])), 2))


def check_words(program: Program, counters: dict[str, int]) -> None:
    """Words that energy is counted for are those that streamers have read: a cycle each, and at most one per job."""
    cfg, moved = program.cfg, sum(accesses(program).values(), Counter())
    streamers = (
        (isa.Unit.INPUT, "input buffer", cfg.input_read_bytes),
        (isa.Unit.WEIGHT, "weight buffer", cfg.weight_read_bytes),
    )
    for unit, place, size in streamers:
        words, jobs = moved[place, False] // size, sum(job.unit is unit for job in program.jobs)
        assert words <= counters[f"{unit.name}_BUSY"] <= words + jobs, unit.name


@pytest.mark.parametrize(
    "cfg",
    [pytest.param(c, id=c.name, marks=[pytest.mark.regress] if c.name in LARGE else []) for c in CONFIGURATIONS],
)
def test_layers_end_in_the_predicted_cycles(cfg: Config) -> None:
    for case in CASES:
        rng = np.random.default_rng([case, 8])
        dram = slow_or_fast(cfg.bus_bytes, rng)
        networks = mixed_regression.candidates(cfg, rng) if cfg.multiplier else candidates(cfg, rng)
        program, _ = fitting(cfg, case, dram, networks)
        inputs = {"x": (mixed_input if cfg.multiplier else random_input)(program.network, case)}
        result = execute(program, inputs, dram=dram, build_root=Path("build/test/rtl"), seed=case)
        same = predict(program, dram.latency, dram.bytes_per_cycle or cfg.bus_bytes)
        (found,) = result.predictions or [same]
        assert not result.mismatches
        ends = np.cumsum([result.layer_cycles[entry.index] for entry in program.schedule])
        assert [found.layer_end[entry.index] for entry in program.schedule] == ends.tolist(), f"case {case}, {dram}"
        assert found.cycles == result.cycles, f"case {case}, {dram}"
        check_words(program, result.counters)
        steps = cfg.multiplier is not None and cfg.dataflow.output.kind is Kind.DRAIN  # a word is there for some cycles
        if cfg.dataflow.matrix and not steps:  # each word that moves makes the array work
            moving = isa.Unit.WEIGHT if cfg.dataflow.moving is Operand.WEIGHT else isa.Unit.INPUT
            work, jobs = sum(found.array_busy.values()), sum(job.unit is moving for job in program.jobs)
            assert work <= result.counters[f"{moving.name}_BUSY"] <= work + jobs
