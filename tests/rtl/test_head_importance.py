"""Importance of heads against plain sums of magnitudes."""

import random

import pytest

from dataflows.pruning import MAX_FACTOR, MAX_HEADS
from rtl.head_importance import HeadImportance
from tests.rtl.axi_model import simulate


@pytest.mark.parametrize(("lanes", "stall"), [(1, 0.0), (4, 0.5), (16, 0.0)])
def test_sums_of_magnitudes(lanes, stall):
    rng = random.Random(lanes)
    dut = HeadImportance(lanes)
    wanted = {}
    jobs = []
    heads = [0, MAX_HEADS - 1, *rng.sample(range(MAX_HEADS), 4)]
    for n in range(24):
        head = rng.choice(heads)
        words = rng.choice([8, rng.randint(8, 20)]) if n % 6 else 1
        zero, factor = rng.choice([-128, 127, rng.randrange(-128, 128)]), rng.choice([1, 256, MAX_FACTOR])
        counts = [rng.randint(0 if lanes > 1 else 1, lanes) for _ in range(words)]
        codes = [[rng.choice([-128, 127, rng.randrange(-128, 128)]) for _ in range(lanes)] for _ in range(words)]
        fresh = head not in wanted or rng.random() < 0.2
        total = sum(abs(v - zero) for word, count in zip(codes, counts, strict=True) for v in word[:count])
        wanted[head] = (0 if fresh else wanted[head]) + factor * total
        jobs.append([
            {"data": word, "count": count, "zero": zero, "head": head, "factor": factor, "fresh": fresh,
             "last": i == words - 1}
            for i, (word, count) in enumerate(zip(codes, counts, strict=True))
        ])  # fmt: skip

    async def testbench(ctx):
        for job in jobs:
            for word in job:
                while rng.random() < stall:
                    await ctx.tick()
                ctx.set(dut.i.payload, word)
                ctx.set(dut.i.valid, 1)
                await ctx.tick()
                ctx.set(dut.i.valid, 0)
        cycles = 1  # the last word's own cycle has passed
        while ctx.get(dut.busy):
            await ctx.tick()
            cycles += 1
        if len(jobs[-1]) > dut.spacing:
            assert cycles == dut.latency
        for head, value in wanted.items():
            ctx.set(dut.read, 1)
            ctx.set(dut.read_word, head // lanes)
            await ctx.tick()
            assert ctx.get(dut.read_data[head % lanes]) == value

    simulate(dut, [testbench], cycles=5000)
