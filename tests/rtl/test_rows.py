"""The row engine against the golden model: bits, row scales, tokens, and every cycle by the law."""

import numpy as np
import pytest

from dataflows.isa import Rows
from rtl.documents import lint_waivers
from rtl.emit import component_verilog
from rtl.rows import RowsEngine
from sim import verilator
from tests.rtl.row_engine_bench import KINDS, Bench, gain_memory, make_config, random_job

SHAPES = {
    "four lanes": {},
    "one lane": {"lanes": 1, "row_elements": 16},
    "sixteen lanes, pruning": {"lanes": 16, "bus_bits": 128, "row_elements": 64, "pruning": True},
    "odd lanes": {"lanes": 5, "bus_bits": 256, "row_elements": 20},
}


def check(cfg, rng, kinds, *, gap=0.0, **sizes):
    """Random jobs of some kinds."""
    memory = gain_memory(cfg, rng)
    return Bench(cfg, memory, [random_job(cfg, rng, memory, kind, **sizes) for kind in kinds], gap=gap).check()


@pytest.mark.parametrize("gap", [0, 0.7])
@pytest.mark.parametrize("shape", SHAPES)
def test_jobs_of_all_kinds(shape, gap, rng):
    kinds = [*KINDS, *rng.choice(KINDS, 4)]
    check(make_config(**SHAPES[shape]), rng, kinds, gap=gap)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.regress
def test_many_jobs(seed):
    rng = np.random.default_rng(seed)
    cfg = make_config(**SHAPES[list(SHAPES)[seed % len(SHAPES)]])
    check(cfg, rng, rng.choice(KINDS, 40), gap=float(rng.choice([0, 0.3, 0.8])))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("blocks", [1, 8])
def test_shortest_and_longest_rows(kind, blocks, rng):
    """Rows follow each other by 12 cycles (softmax), 23 (norms), or a cycle per word."""
    run = check(make_config(), rng, [kind, kind], rows=6, blocks=blocks, column=0)
    ends = run.times.left[blocks - 1 :: blocks]
    interval = RowsEngine.DIVIDE_INTERVAL if kind == Rows.SOFTMAX else RowsEngine.FINISH_INTERVAL
    assert ends[-1] - ends[-2] <= max(interval, blocks)


@pytest.mark.parametrize("shape", ["one lane", "odd lanes"])
def test_lint(shape, tmp_path):
    (tmp_path / "rows.v").write_text(component_verilog(RowsEngine(make_config(**SHAPES[shape])), "rows"))
    (tmp_path / "rows.vlt").write_text(lint_waivers("rows"))
    result = verilator.run(["--lint-only", "-Wall", "--top-module", "rows", "rows.vlt", "rows.v"], tmp_path)
    assert result.returncode == 0 and not result.stderr, result.stderr[:3000]
