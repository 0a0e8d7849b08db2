"""The broadcast of the sparse engine: what is sent, in which cycle, whatever the ends do."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from amaranth.sim import Simulator

from dataflows.config import Config, load, parse
from rtl.sparse_broadcast import SparseBroadcast
from tests.rtl.compute_bench import put

LIMIT = 20_000


def config(elements: int, bits: int = 8) -> Config:
    """A sparse engine whose INPUT words have so many elements."""
    values = load("configs/eie4.toml").model_dump()
    values["array"] |= {"rows": elements}
    values["memory"] |= {"input_bytes": 1 << 14, "weight_bytes": 1 << 14, "acc_bytes": 9216, "param_bytes": 8192}
    values["numbers"] = {"act_bits": bits}
    return parse(values, "test")


@dataclass
class Run:
    """What happened: cycles of ``begin`` and ``end``, and of every element its cycles of first offer and transfer."""

    sent: list[tuple[int, int]] = field(default_factory=list)  # column, value
    offered: list[int] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    begun: list[int] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)


def broadcast(cfg, vectors, zeros, *, gap=0.0, stall=0.0, pause=0, seed=0) -> Run:
    """Send vectors; ``gap`` and ``stall``: chances that a word or the sink is not there; ``pause``: cycles to begin."""
    dut, rng, run, now = SparseBroadcast(cfg), np.random.default_rng(seed), Run(), [0]
    width = cfg.input_elements
    words = []
    for vector in vectors:
        filled = rng.integers(-128, 128, -(-len(vector) // width) * width)
        filled[: len(vector)] = vector
        words += filled.reshape(-1, width).tolist()

    async def count(ctx):
        for now[0] in range(1, LIMIT):
            await ctx.tick()
        raise AssertionError("the broadcast does not end")

    async def tell(ctx):
        for vector, zero in zip(vectors, zeros, strict=True):
            await put(ctx, dut.vector, [{"count": len(vector), "zero": zero}])

    async def feed(ctx):
        for word in words:
            while rng.random() < gap:
                await ctx.tick()
            await put(ctx, dut.i, [word])

    async def take(ctx):
        fresh = True
        while True:
            ready = rng.random() >= stall
            ctx.set(dut.o.ready, ready)
            at = now[0]
            _, _, valid, column, value = await ctx.tick().sample(dut.o.valid, dut.o.p.column, dut.o.p.value)
            if valid and fresh:
                run.offered.append(at)
            if valid and ready:
                run.sent.append((column, value))
                run.left.append(at)
            fresh = not valid or ready

    async def control(ctx):
        for _ in vectors:
            for _ in range(5 + pause):
                await ctx.tick()
            assert ctx.get(dut.end)
            ctx.set(dut.begin, 1)
            run.begun.append(now[0])
            await ctx.tick()
            ctx.set(dut.begin, 0)
            while not ctx.get(dut.end):
                await ctx.tick()
            run.ended.append(now[0])

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    for bench in (count, tell, feed, take):
        sim.add_testbench(bench, background=True)
    sim.add_testbench(control)
    sim.run()
    return run


def random_vectors(rng, bits, count, longest, activity):
    """Vectors over the whole range and their zero points; runs of zeros as long as several words."""
    limit = 1 << bits - 1
    vectors, zeros = [], rng.choice([-limit, limit - 1, 0, 3], count).tolist()
    for zero in zeros:
        vector = rng.choice([-limit, limit - 1, *rng.integers(-limit, limit, 9)], rng.integers(1, longest + 1))
        vector[rng.random(vector.size) >= activity] = zero
        start = rng.integers(vector.size)
        vector[start : start + rng.integers(longest)] = zero
        vectors.append(vector.tolist())
    return vectors, zeros


def expected(vectors, zeros):
    """(column, value) of all that is sent."""
    return [(k, x - z) for v, z in zip(vectors, zeros, strict=True) for k, x in enumerate(v) if x != z]


@pytest.mark.parametrize("activity", [0, 0.1, 0.5, 1])
@pytest.mark.parametrize(("elements", "bits"), [(1, 8), (4, 8), (5, 16), (8, 8), (17, 8)])
def test_what_is_sent(elements, bits, activity):
    rng = np.random.default_rng(elements)
    vectors, zeros = random_vectors(rng, bits, 6, 60, activity)
    for gap, stall in ((0, 0), (0.5, 0), (0, 0.5), (0.3, 0.3)):
        run = broadcast(config(elements, bits), vectors, zeros, gap=gap, stall=stall, seed=elements)
        assert run.sent == expected(vectors, zeros)


@pytest.mark.parametrize("stall", [0, 0.3, 0.8])
@pytest.mark.parametrize("seed", range(4))
def test_cycles_follow_the_law(seed, stall):
    """Words are always there: each element comes in the cycle that the recurrence says, and so does the end."""
    rng = np.random.default_rng(seed)
    width = int(rng.choice([1, 4, 8]))
    vectors, zeros = random_vectors(rng, 8, 5, 100, float(rng.choice([0.05, 0.3, 1])))
    run = broadcast(config(width), vectors, zeros, stall=stall, seed=seed)
    place = 0
    for vector, zero, begun, ended in zip(vectors, zeros, run.begun, run.ended, strict=True):
        search = begun + 1  # cycle of the next search
        left = 0
        for first in range(0, len(vector), width):
            sent = [x for x in vector[first : first + width] if x != zero]
            for _ in sent:
                found = max(search, left)
                assert run.offered[place] == found + 1
                left = run.left[place]
                search, place = found + 1, place + 1
            search += not sent
        assert ended == max(search, left + 1)
    assert place == len(run.sent)


def test_a_word_of_zeros_takes_one_cycle_and_others_none_in_between():
    run = broadcast(config(8), [[1] * 24 + [0] * 16 + [1] * 8], [0])
    assert run.left == [*range(run.left[0], run.left[0] + 24), *range(run.left[0] + 26, run.left[0] + 34)]


def test_the_next_vector_waits_for_its_begin():
    run = broadcast(config(4), [[1, 2], [3], [4, 5, 6, 7, 8]], [0, 0, 0], pause=30)
    assert [value for _, value in run.sent] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [run.left[i] for i in (0, 2, 3)] == [begun + 2 for begun in run.begun]
