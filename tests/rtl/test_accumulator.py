"""Accumulator against a nested loop in Python."""

import itertools

import numpy as np
import pytest

from rtl.accumulator import LEVELS, Accumulator
from tests.rtl.compute_bench import WIDTHS, idle, integers, make_config, put, simulate


def make_job(base, counts, strides, keep=0, give=1):
    """Register values from counts and plain strides, innermost first: a step also takes back what inner levels did."""
    job = {"base": {"address": base}, "mode": {"keep": keep}, "give": give}
    back = 0
    for name, count, stride in zip(LEVELS, counts, strides, strict=True):
        job[name] = {"count": count, "step": stride - back}
        back += (count - 1) * stride
    return job, (base, counts, strides, keep)


def visit(plan):
    """Word addresses of a job, and whether each is added."""
    base, counts, strides, keep = plan
    for index in itertools.product(*(range(c) for c in reversed(counts))):
        index = index[::-1]
        yield base + sum(i * s for i, s in zip(index, strides, strict=True)), keep or index[LEVELS.index("pass")] > 0


def run(cfg, jobs, rng, gap=lambda i: 0, read=()):
    """Run jobs, then read words. Returns their values, the expected ones, the tokens and cycles of events."""
    dut = Accumulator(cfg)
    depth = 2 * cfg.acc_bank_words
    bits = cfg.numbers.acc_bits
    initial = integers(rng, bits, depth, cfg.lanes)
    model = initial.copy()
    words = []
    for _, plan in jobs:
        for address, added in visit(plan):
            word = integers(rng, bits, cfg.lanes)
            words.append(word)
            if 0 <= address < depth:
                model[address] = word + (model[address] if added else 0)
    model = (model + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)
    fill = make_job(0, (depth, 1, 1, 1), (1, 0, 0, 0), give=2)[0]
    tokens, values = [], []
    times = {"open": [], "i": [], "done": []}

    async def commands(ctx):
        await put(ctx, dut.job, [fill] + [job for job, _ in jobs])

    async def sums(ctx):
        payloads = [*initial.tolist(), *(w.tolist() for w in words)]
        lengths = [depth] + [int(np.prod(plan[1])) for _, plan in jobs]
        starts = {int(s): number for number, s in enumerate(np.cumsum([0, *lengths[:-1]]))}
        for index, payload in enumerate(payloads):
            ctx.set(dut.i.valid, 0)
            if index in starts:  # the array sends nothing before the job is opened
                while len(times["open"]) <= starts[index]:
                    await ctx.tick()
            await idle(ctx, gap(index))
            ctx.set(dut.i.payload, payload)
            ctx.set(dut.i.valid, 1)
            await ctx.tick()
        ctx.set(dut.i.valid, 0)

    async def reader(ctx):
        while not tokens or len(tokens) <= len(jobs):
            await ctx.tick()
        pending = []
        for address in [*(read or range(depth)), *[None] * dut.latency]:
            ctx.set(dut.read_address.valid, address is not None)
            ctx.set(dut.read_address.payload, address or 0)
            pending.append(address)
            _, _, word = await ctx.tick().sample(dut.read_data)
            if len(pending) > dut.latency:
                values.append(list(word))

    async def watch(ctx):
        cycle = 0
        while True:
            _, _, opened, valid, done, token = await ctx.tick().sample(
                dut.open, dut.i.valid, dut.done.valid, dut.done.payload
            )
            for name, happened in (("open", opened), ("i", valid), ("done", done)):
                times[name] += [cycle] * happened
            tokens.extend([token] * done)
            cycle += 1

    simulate(dut, commands, sums, reader, limit=8000, background=(watch,))
    return values, model[list(read)] if read else model, tokens, times


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("gaps", [False, True], ids=["steady", "gaps"])
@pytest.mark.parametrize("passes", [1, 2, 3])
@pytest.mark.parametrize("lanes", [1, 3])
def test_random_nests(lanes, passes, gaps, bits, rng):
    """Any strides, so that one address comes again after any number of cycles; beyond the banks nothing is written."""
    cfg = make_config(1, lanes, "weight_stationary", acc_words=11, bits=bits)
    jobs = []
    for number in range(12):
        counts = [int(c) for c in rng.integers(1, 5, 4)]
        counts[2] = passes
        strides = [int(s) for s in rng.integers(0, 3, 4)]
        jobs.append(make_job(int(rng.integers(0, 24)), counts, strides, int(rng.integers(0, 2)), 1 << number))
    gap = (lambda i: int(rng.choice([0, 0, 1, 2, 3]))) if gaps else (lambda i: 0)
    values, expected, tokens, _ = run(cfg, jobs, rng, gap)
    assert values == expected.tolist()
    assert tokens == [2] + [job["give"] for job, _ in jobs]


@pytest.mark.parametrize("distance", [1, 2, 3, 4])
@pytest.mark.parametrize("gap", [0, 1, 2])
def test_same_address_again(distance, gap, rng):
    """Passes over so few words that the sum before is still in the pipeline."""
    cfg = make_config(1, 2, "weight_stationary", acc_words=8)  # the words lie on both sides of the bank border
    jobs = [make_job(6, (distance, 1, 9, 1), (1, 0, 0, 0)), make_job(6, (distance, 1, 5, 1), (1, 0, 0, 0), keep=1)]
    values, expected, _, _ = run(cfg, jobs, rng, lambda i: gap if i > 16 else 0)
    assert values == expected.tolist()


def test_out_of_range_does_not_wrap(rng):
    cfg = make_config(1, 1, "weight_stationary", acc_words=4)
    jobs = [make_job(8, (9, 1, 1, 1), (1, 0, 0, 0)), make_job(2**32 - 2, (2, 1, 1, 1), (1, 0, 0, 0))]
    values, expected, _, _ = run(cfg, jobs, rng)
    assert values == expected.tolist()


def test_done_means_readable(rng):
    """A read in the cycle after the done pulse sees the last sum, and one of the other bank is not disturbed."""
    cfg = make_config(1, 1, "weight_stationary", acc_words=4)
    dut = Accumulator(cfg)
    got = []

    async def bench(ctx):
        for base in (5, 2):
            await put(ctx, dut.job, [make_job(base, (1, 1, 1, 1), (0, 0, 0, 0))[0]])
            await idle(ctx, 3)
            ctx.set(dut.i.valid, 1)
            ctx.set(dut.i.payload, [100 + base])
            ctx.set(dut.read_address.valid, 1)
            ctx.set(dut.read_address.payload, 5)
            await ctx.tick()
            ctx.set(dut.i.valid, 0)
            assert ctx.get(dut.busy)
            for _ in range(dut.done_latency - 1):
                assert not ctx.get(dut.done.valid)
                await ctx.tick()
            assert ctx.get(dut.done.valid)
            await idle(ctx, dut.write_latency - dut.done_latency)
            ctx.set(dut.read_address.payload, base)
            await idle(ctx, dut.latency)
            got.append(ctx.get(dut.read_data[0]))
            assert not ctx.get(dut.busy)
        ctx.set(dut.read_address.payload, 5)
        await idle(ctx, dut.latency)
        got.append(ctx.get(dut.read_data[0]))

    simulate(dut, bench, limit=100)
    assert got == [105, 102, 105]


def test_jobs_follow_without_a_gap(rng):
    """Two jobs are open at any time, and words may come in every cycle over job borders."""
    cfg = make_config(1, 1, "weight_stationary")
    jobs = [make_job(n, (4, 2, 1, 1), (1, 4, 0, 0), give=1 << n) for n in range(5)]
    values, expected, _, times = run(cfg, jobs, rng)
    assert values == expected.tolist()
    assert set(np.diff(times["i"])) == {1}
    assert times["done"] == [times["i"][127 + 8 * n] + Accumulator.done_latency for n in range(6)]
    begins = [times["i"][128 + 8 * n] for n in range(5)]
    assert all(opened < begin for opened, begin in zip(times["open"][1:], begins, strict=True))
