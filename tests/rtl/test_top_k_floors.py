"""Top-k engine with floors: what is above, in order, and how long it takes; jobs by rank between them."""

import numpy as np
import pytest

from dataflows.top_k import cycles, floor_cycles
from rtl.top_k import TopK
from sim.golden.top_k import top_k
from tests.rtl.axi_model import simulate


@pytest.mark.parametrize(("parallel", "length", "is_signed"), [(4, 22, False), (2, 9, True), (16, 40, False)])
def test_jobs(parallel, length, is_signed, rng):
    dut = TopK(parallel, length, 7, is_signed, floors=True)
    low = -64 if is_signed else 0

    async def testbench(ctx):
        ctx.set(dut.o.ready, 1)
        for n in range(24):
            count = length if n < 4 else int(rng.integers(1, length + 1))
            values = rng.integers(low, low + rng.choice([2, 5, 128]), count)
            by_floor = n % 3 != 2
            floor, k = int(rng.choice([values.min(), values.max(), low])), int(rng.integers(count + 1))
            ctx.set(dut.job.payload, {"length": count, "k": k, "by_floor": by_floor, "floor": floor})
            ctx.set(dut.job.valid, 1)
            while not ctx.get(dut.job.ready):
                await ctx.tick()
            await ctx.tick()
            ctx.set(dut.job.valid, 0)
            padded = [*values.tolist(), *[low] * (-count % parallel)]
            words = [padded[at : at + parallel] for at in range(0, len(padded), parallel)]
            found, spent, last = [], 0, False
            while not last:
                ctx.set(dut.i.valid, bool(words))
                if words:
                    ctx.set(dut.i.payload, words[0])
                    if ctx.get(dut.i.ready):
                        words.pop(0)
                if ctx.get(dut.o.valid):
                    word = dut.o.payload
                    found += [ctx.get(word.indices[lane]) for lane in range(ctx.get(word.count))]
                    last = ctx.get(word.last)
                await ctx.tick()
                spent += 1
            wanted = np.flatnonzero(values > floor) if by_floor else top_k(values, k)
            assert found == wanted.tolist()
            law = floor_cycles(values, floor, parallel) if by_floor else cycles(values, k, parallel)
            assert spent == law.total

    simulate(dut, [testbench])
