"""The row-stationary array against convolutions in NumPy, and against its timing law."""

from dataclasses import replace
from itertools import pairwise

import pytest

from dataflows.catalogue import get
from dataflows.vocabulary import Axis, Kind, Link
from rtl.row_array import RowArray, check
from tests.rtl.compute_bench import idle, put, simulate
from tests.rtl.row_bench import Geometry, make_config, make_job, random_geometry
from tests.rtl.row_law import law


def run(cfg, jobs, input_gap=lambda i: 0, weight_gap=lambda i: 0, open_gap=lambda i: 0):
    """Sums, the number of gated products, and the cycles of transfers."""
    dut = RowArray(cfg)
    gating = cfg.array.zero_gating
    out, gated = [], [0]
    times = {name: [] for name in ("geometry", "input", "weight", "open", "sum")}
    expected = sum(len(job.sums) for job in jobs)

    async def inputs(ctx):
        await put(ctx, dut.input, [w.payload() for job in jobs for w in job.input], input_gap)

    async def weights(ctx):
        await put(ctx, dut.weight, [w.payload() for job in jobs for w in job.weight], weight_gap)

    async def geometries(ctx):
        await put(ctx, dut.geometry, [job.geometry.registers() for job in jobs])

    async def opener(ctx):
        for index in range(len(jobs)):
            await idle(ctx, open_gap(index))
            ctx.set(dut.open, 1)
            await ctx.tick()
            ctx.set(dut.open, 0)

    async def watch(ctx):
        cycle = 0
        ports = {"geometry": dut.geometry, "input": dut.input, "weight": dut.weight}
        taken = [port.valid & port.ready for port in ports.values()]
        while True:
            _, _, *transfers, opened, valid, word, gates = await ctx.tick().sample(
                *taken, dut.open, dut.o.valid, dut.o.payload, dut.gated if gating else 0
            )
            for name, transfer in zip(times, (*transfers, opened, valid), strict=True):
                times[name] += [cycle] * transfer
            gated[0] += gates
            if valid:
                out.append(list(word))
            cycle += 1

    async def end(ctx):
        while len(out) < expected:
            await ctx.tick()
        await idle(ctx, 3 * (cfg.array.rows + cfg.array.cols))  # nothing more may come

    words = sum(len(job.input) + len(job.weight) for job in jobs)
    steps = sum(g.passes * g.positions * g.taps * g.filters for g in (job.geometry for job in jobs))
    benches = (inputs, weights, geometries, opener, end)
    simulate(dut, *benches, limit=8 * (words + steps) + 3000, background=(watch,))
    return out, gated[0], times


def anywhere(rng):
    return lambda index: int(rng.choice([0, 0, 0, 1, rng.integers(2, 12)]))


@pytest.mark.parametrize("gaps", [False, True], ids=["steady", "gaps"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(
    ("rows", "cols"), [(1, 1), (1, 3), (3, 1), (4, 5), pytest.param(7, 3, marks=pytest.mark.regress)]
)
def test_random_jobs_back_to_back(rows, cols, bits, gaps, rng):
    cfg = make_config(rows, cols, bits, gating=bits == 16)
    jobs = [make_job(rng, cfg, random_geometry(rng, cfg), zeros=0.3) for _ in range(4)]
    gap = [anywhere(rng) for _ in range(3)] if gaps else []
    out, gated, _ = run(cfg, jobs, *gap)
    assert out == [word for job in jobs for word in job.sums]
    if cfg.array.zero_gating:
        assert gated == sum(job.zeros for job in jobs)


def test_stores_of_one_word(rng):
    cfg = make_config(2, 2, inputs=1, weights=1, sums=1, gating=True)
    jobs = [make_job(rng, cfg, random_geometry(rng, cfg), zeros=0.5) for _ in range(6)]
    out, gated, _ = run(cfg, jobs, *(anywhere(rng) for _ in range(3)))
    assert out == [word for job in jobs for word in job.sums]
    assert gated == sum(job.zeros for job in jobs)


@pytest.mark.parametrize("weights", [12, 24, 60])
@pytest.mark.parametrize(("rows", "cols"), [(1, 2), (5, 1), (4, 3)])
def test_timing_law(rows, cols, weights, rng):
    """Every transfer and every sum in the cycle the law says."""
    cfg = make_config(rows, cols, weights=weights)
    jobs = [make_job(rng, cfg, random_geometry(rng, cfg)) for _ in range(4)]
    out, _, times = run(cfg, jobs, open_gap=lambda index: 60 * index)
    assert out == [word for job in jobs for word in job.sums]
    expected = law(cfg, [job.geometry for job in jobs], times["open"])
    for name, cycles in expected.items():
        assert times[name] == cycles, name


def test_passes_follow_without_a_gap(rng):
    """Filter words of two passes fit, a group needs no longer than a step: only the first pass waits for words."""
    cfg = make_config(6, 3, weights=48)
    g = Geometry(filters=8, kernel=3, positions=4, kernel_rows=3, chained=2, columns=3, passes=4)
    job = make_job(rng, cfg, g)
    out, _, times = run(cfg, [job])
    assert out == job.sums
    starts = times["sum"][:: g.filters]
    assert {after - before for before, after in pairwise(starts)} == {g.taps * g.filters}


def test_a_full_filter_store_costs_the_skew(rng):
    """With room for one pass only, the next one's filter words follow the last row's last step."""
    cfg = make_config(6, 3, weights=24)
    g = Geometry(filters=8, kernel=3, positions=4, kernel_rows=3, chained=1, units=2, columns=3, passes=4)
    job = make_job(rng, cfg, g)
    out, _, times = run(cfg, [job])
    assert out == job.sums
    starts = times["sum"][:: g.positions * g.filters * g.units]
    skew = 5 + g.filters
    assert {after - before for before, after in pairwise(starts)} == {g.positions * g.taps * g.filters + skew + 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input": Link(Kind.BUS, Axis.BOTH, delay=0)}, "input must come over a bus and be stored, not bus"),
        ({"weight": Link(Kind.LOAD, Axis.EAST)}, "weight must be loaded along rows and be stored, not load"),
        ({"output": Link(Kind.SUM, Axis.SOUTH, delay=0)}, "output must be summed southwards with 1 register per hop"),
    ],
)
def test_refuses_what_it_cannot_build(change, message):
    with pytest.raises(ValueError, match=message):
        check(replace(get("row_stationary"), **change))
