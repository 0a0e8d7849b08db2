"""Top-k engine: values, ties and order against the golden model, cycles against the law, published figures, lint."""

import gc

import numpy as np
import pytest
import torch

from dataflows.top_k import cycles, mean_cycles, output_latency, select
from rtl.documents import lint_waivers
from rtl.top_k import TopK
from sim import verilator
from sim.golden.top_k import top_k
from tests.rtl.top_k_bench import Engine

SIZES = {"p4": (4, 45, 6, True), "p1": (1, 9, 3, False), "p32": (32, 200, 9, True)}
"""parallel, length, bits, signed of engines beside the published one."""

AUTHORS = {(1024, 512): 260, (256, 32): 74}
"""Mean cycles of selecting k of n values with 16 comparators: the model in SpAtten's released simulator."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """The engine of the published figures."""
    return Engine(TopK(16, 1024, 16), "top_k", tmp_path_factory.mktemp("top_k"))


def check(found, values, k):
    """One result against the golden model."""
    expected = top_k(values, k)
    np.testing.assert_array_equal(found[1], expected)
    np.testing.assert_array_equal(found[0], values[expected])


def random_jobs(rng, length, bits, is_signed, count):
    """Lists of any length: random, few different values, the least and greatest only, sorted; any k."""
    low = -(1 << bits - 1) if is_signed else 0
    high = low + (1 << bits) - 1
    jobs = []
    for number in range(count):
        n = (1, length, int(rng.integers(1, length, endpoint=True)))[min(number, 2)]
        k = int(rng.choice([0, 1, n, rng.integers(n, endpoint=True), rng.integers(n, endpoint=True)]))
        match rng.integers(5):
            case 0:
                values = rng.choice([low, high, 0], n)
            case 1:
                values = np.full(n, rng.choice([low, high, 1]))
            case 2:
                values = np.sort(rng.integers(low, high, n, endpoint=True))[:: rng.choice([1, -1])]
            case _:
                values = rng.integers(low, high, n, endpoint=True)
        jobs.append((values, k))
    return jobs


def check_jobs(engine, jobs):
    """Values and, without stalls, cycles: of every job, and from one to the next."""
    results, times = engine.run(jobs)
    for (values, k), found in zip(jobs, results, strict=True):
        check(found, values, k)
    law = [cycles(values, k, engine.parallel) for values, k in jobs]
    np.testing.assert_array_equal(times[:, 1] - times[:, 0], [each.load for each in law])
    np.testing.assert_array_equal(times[:, 2] - times[:, 0], [each.total for each in law])
    np.testing.assert_array_equal(np.diff(times[:, 0]), [each.total + 1 for each in law[:-1]])
    for (values, k), found in zip(jobs, engine.run(jobs, stall=40)[0], strict=True):
        check(found, values, k)


def test_random_jobs(engine, rng):
    check_jobs(engine, random_jobs(rng, 1024, 16, False, 300))


@pytest.mark.parametrize("name", [*(pytest.param(name, marks=pytest.mark.regress) for name in ("p4", "p1")), "p32"])
def test_other_sizes(name, rng, tmp_path):
    parallel, length, bits, is_signed = SIZES[name]
    engine = Engine(TopK(parallel, length, bits, is_signed), name, tmp_path)
    check_jobs(engine, random_jobs(rng, length, bits, is_signed, 400))


@pytest.mark.parametrize("k", [0, 1, 5, 33, 34, 35])
def test_ties_at_the_threshold(engine, k):
    """Those that come first are kept: at the ends of words, across them, after greater ones."""
    values = np.full(35, 7)
    values[[3, 16, 34]] = 9
    values[[0, 15, 20]] = 2
    ((found_values, found),), _ = engine.run([(values, k)])
    check((found_values, found), values, k)
    ties = found[values[found] == 7]
    np.testing.assert_array_equal(ties, np.flatnonzero(values == 7)[: len(ties)])


def test_the_set_is_that_of_torch(engine, rng):
    """Without ties there is only one set of the k largest."""
    values = rng.permutation(65536)[:1000]
    for k in (1, 17, 999):
        ((found, indices),), _ = engine.run([(values, k)])
        assert set(indices) == set(torch.topk(torch.from_numpy(values), k).indices.tolist())
        assert sorted(found, reverse=True) == torch.topk(torch.from_numpy(values), k).values.tolist()


@pytest.mark.parametrize(("n", "k"), AUTHORS)
def test_no_slower_than_published(engine, n, k, rng):
    """Mean of selecting over 500 random lists: measured, as what is left between loading and the last pass."""
    jobs = [(values, k) for values in rng.integers(65536, size=(500, n))]
    results, times = engine.run(jobs)
    for (values, _), found in zip(jobs, results, strict=True):
        check(found, values, k)
    total = times[:, 2] - times[:, 0]
    np.testing.assert_array_equal(total, [cycles(values, k, 16).total for values, _ in jobs])
    streamed = n // 16 + output_latency(16)
    assert (total - n // 16 - streamed - 1).mean() <= AUTHORS[n, k]  # a last word of its own is one cycle at most
    assert np.mean([select(values, k, 16).cycles for values, _ in jobs]) <= AUTHORS[n, k]


def test_structured_lists_take_few_rounds():
    """What a fixed choice of samples must not fall for: sorted, mirrored, saw teeth, one value but for one."""
    x = np.arange(1024)
    shapes = [x, -x, abs(x - 512), -abs(x - 512), x % 64 * 100 + x // 64, 60000 // (1 + x), x == 512, x % 7]
    for values in shapes:
        for k in (1, 64, 128, 256, 512, 768, 1023):
            found = select(values.astype(np.int64), k, 16)
            assert found.cycles <= 500 and found.threshold == np.sort(values)[-k]


def test_estimate_of_random_lists():
    """What the mapper may count with where there are no data."""
    total = np.mean([cycles(np.random.default_rng(n).permutation(256), 32, 16).total for n in range(200)])
    assert mean_cycles(256, 32, 16) == mean_cycles(256, 32, 16) == pytest.approx(total, rel=0.1)


def test_a_limit_is_an_error(engine):
    with pytest.raises(TimeoutError):
        engine.run([(np.arange(100), 50)], limit=20)


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
@pytest.mark.parametrize(("parallel", "length", "message"), [(12, 64, "a power of two, not 12"), (4, 0, "at least 1")])
def test_bad_sizes(parallel, length, message):
    with pytest.raises(ValueError, match=message):
        TopK(parallel, length, 8)
    gc.collect()


def test_lint_clean(engine):
    (engine.folder / f"{engine.name}.vlt").write_text(lint_waivers(engine.name), encoding="utf-8")
    arguments = ["--lint-only", "-Wall", "--top-module", engine.name, f"{engine.name}.vlt", f"{engine.name}.v"]
    result = verilator.run(arguments, engine.folder)
    assert result.returncode == 0 and not result.stderr, result.stderr[:3000]
