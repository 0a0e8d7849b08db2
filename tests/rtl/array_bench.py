"""Runs an array on words of both operands."""

from dataclasses import dataclass, field

import numpy as np

from rtl.arrays import array_of
from tests.rtl.compute_bench import Word, idle, job, put, simulate


@dataclass
class Traffic:
    """What goes into an array, and what must come out."""

    input: list[Word] = field(default_factory=list)
    weight: list[Word] = field(default_factory=list)
    sums: list[list[int]] = field(default_factory=list)
    jobs: int = 0

    def add(self, inputs, weights, sums):
        self.input += job(inputs)
        self.weight += job(weights)
        self.sums += np.asarray(sums).tolist()
        self.jobs += 1


def run(cfg, traffic, input_gap=lambda i: 0, weight_gap=lambda i: 0, open_gap=lambda i: 0):
    """Sums with the cycles in which they left, and the cycles of transfers: "input", "weight", "open", "sum"."""
    dut = array_of(cfg)
    out, times = [], {"input": [], "weight": [], "open": [], "sum": [], "latency": dut.latency}

    async def inputs(ctx):
        await put(ctx, dut.input, [w.payload() for w in traffic.input], input_gap)

    async def weights(ctx):
        await put(ctx, dut.weight, [w.payload() for w in traffic.weight], weight_gap)

    async def opener(ctx):
        for index in range(traffic.jobs):
            await idle(ctx, 1 + open_gap(index))
            ctx.set(dut.open, 1)
            await ctx.tick()
            ctx.set(dut.open, 0)

    async def watch(ctx):
        cycle = 0
        taken = [port.valid & port.ready for port in (dut.input, dut.weight)]
        while True:
            _, _, i, w, opened, valid, word = await ctx.tick().sample(*taken, dut.open, dut.o.valid, dut.o.payload)
            times["input"] += [cycle] * i
            times["weight"] += [cycle] * w
            times["open"] += [cycle] * opened
            if valid:
                times["sum"].append(cycle)
                out.append(list(word))
            cycle += 1

    async def end(ctx):
        while len(out) < len(traffic.sums):
            await ctx.tick()
        await idle(ctx, 3 * (cfg.array.rows + cfg.array.cols))  # nothing more may come

    simulate(dut, inputs, weights, opener, end, limit=8000, background=(watch,))
    return out, times


def anywhere(rng):
    return lambda index: int(rng.choice([0, 0, 0, 1, rng.integers(2, 12)]))
