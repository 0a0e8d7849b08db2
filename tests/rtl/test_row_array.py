"""The row-stationary array against convolutions in NumPy, and against its timing law."""

import pytest

from rtl.row_array import RowArray
from tests.rtl.compute_bench import idle, put, simulate
from tests.rtl.row_bench import make_config, make_job, random_geometry


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
@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (1, 3), (3, 1), (4, 5), (7, 3)])
def test_random_jobs_back_to_back(rows, cols, bits, gaps, rng):
    cfg = make_config(rows, cols, bits, gating=bits == 16)
    jobs = [make_job(rng, cfg, random_geometry(rng, cfg), zeros=0.3) for _ in range(5)]
    gap = [anywhere(rng) for _ in range(3)] if gaps else []
    out, gated, _ = run(cfg, jobs, *gap)
    assert out == [word for job in jobs for word in job.sums]
    if cfg.array.zero_gating:
        assert gated == sum(job.zeros for job in jobs)
