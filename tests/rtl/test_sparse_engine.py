"""The sparse engine against matrix products: sums, order of jobs, both banks, cycles to the cycle, errors."""

import numpy as np
import pytest

from dataflows import isa
from sim.golden import columns as golden
from tests import sparsity
from tests.rtl.sparse_engine_bench import Bench, Job, expected_words, form, law, make_config, random_jobs

SHAPES = {
    "one group": {},
    "groups": {"cols": 2, "pes": 6, "queue": 1, "accumulators": 9},
    "wide": {"bits": 16, "bus_bits": 128, "rows": 3, "pes": 8, "code_bits": 6, "run_bits": 3, "accumulators": 5},
    "one PE": {"rows": 1, "cols": 1, "pes": 1, "queue": 2, "accumulators": 7},
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("shape", SHAPES)
def test_sums_and_tokens_whatever_is_late(shape, seed):
    rng = np.random.default_rng(seed)
    cfg = make_config(**SHAPES[shape])
    jobs = random_jobs(cfg, rng, 5)
    run = Bench(cfg, jobs, gap=0.7, seed=seed).run()
    assert run.words == expected_words(cfg, jobs)
    assert [give for _, give in run.tokens] == list(range(1, len(jobs) + 1))
    assert run.walked == sum(int(job.lengths[:, job.vector != job.zero].sum()) for job in jobs)
    assert not run.errors


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", SHAPES)
def test_cycles_follow_the_law(shape, seed):
    rng = np.random.default_rng(100 + seed)
    cfg = make_config(**SHAPES[shape])
    jobs = random_jobs(cfg, rng, 5, drains=0.8)
    run = Bench(cfg, jobs).run()
    assert run.words == expected_words(cfg, jobs)
    tokens, words = law(cfg, jobs, run.taken[0])
    assert [at for at, _ in run.tokens] == tokens
    assert run.at == words


def spoiled(cfg, rng, wrong):
    """A job whose ``wrong`` (PE, column, kind) are spoiled, on rows that every PE has four of; all columns are met."""
    rows, columns = 4 * cfg.sparse.pes, 12
    weight = sparsity.weights(rng, np.ones((rows, columns), bool), 3)
    compressed = golden.encode(weight, form(cfg), cfg.sparse.pes)
    for pe, column, kind in wrong:
        begin, end = compressed.pointers[pe, column : column + 2]
        if kind == "run":  # the last entry of the column leads to the place behind the last one
            compressed.entries[pe][end - 1] += 1
        elif kind == "order":  # the column ends before it begins; the next one begins so much earlier
            compressed.pointers[pe, column + 1] = begin - 1
        else:  # behind the job's entries
            compressed.pointers[pe, column + 1] = compressed.pointers.max() + 1
    vector = np.full(columns, 5)
    return Job(weight, vector, 0, -(-rows // cfg.lanes), 0, 0, 0, compressed)


@pytest.mark.parametrize(("wrong", "first"), [
    ([(1, 7, "run")], 0),
    ([(0, 0, "run"), (3, 0, "run")], 0),
    ([(5, 3, "run"), (2, 9, "order")], 0),
    ([(7, 4, "order")], 0),
    ([(6, 11, "behind"), (4, 2, "order")], 1),
    ([(2, 0, "behind"), (1, 5, "run")], 0),
], ids=str)  # fmt: skip
def test_the_first_error_is_reported(wrong, first):
    cfg = make_config(pes=8, queue=3)
    job = spoiled(cfg, np.random.default_rng(1), wrong)
    registers = job.registers(cfg)
    limit = 4 * 12
    job.registers = lambda cfg, give: registers | {"weights": {"word": 0, "entries": limit}, "give": give}
    run = Bench(cfg, [job]).run(until=lambda run: len(run.errors) > 3)
    pe, column, kind = wrong[first]
    code = isa.Error.SPARSE_RUN if kind == "run" else isa.Error.SPARSE_POINTER
    assert set(run.errors) == {(code, isa.Unit.SPARSE, pe << 16 | column)}


def test_no_error_where_the_last_place_is_met():
    """The same job, not spoiled: every PE's last place has a weight in each column."""
    cfg = make_config(pes=8, queue=3)
    job = spoiled(cfg, np.random.default_rng(1), [])
    run = Bench(cfg, [job]).run()
    assert run.words == expected_words(cfg, [job]) and not run.errors
