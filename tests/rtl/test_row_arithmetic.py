"""Roots, reciprocals, maxima and numerators of the row engine against exact integers."""

from math import isqrt

import numpy as np
import pytest

from rtl.maximum_tree import MaximumTree
from rtl.reciprocal import Reciprocal
from rtl.softmax_lane import SoftmaxLane
from rtl.square_root import SquareRoot
from sim.golden import softmax
from tests.rtl.compute_bench import simulate


def corners(rng, bits, count):
    """Random numbers of every length, and those around powers of two."""
    around = [(1 << place) + step for place in range(bits) for step in (-1, 0, 1)]
    drawn = [int(rng.integers(1 << bits)) >> int(rng.integers(bits)) for _ in range(count)]
    values = [*around, (1 << bits) - 1, *drawn]
    return [value for value in values if 0 < value < 1 << bits]


@pytest.mark.parametrize("bits", [2, 14, 22])
def test_reciprocals_at_full_rate(bits, rng):
    dut = Reciprocal(bits)
    values = corners(rng, bits, 30)
    took, results = [], []

    async def bench(ctx):
        given = cycle = 0
        while len(results) < len(values):
            ctx.set(dut.i.valid, given < len(values))
            ctx.set(dut.i.payload, values[min(given, len(values) - 1)])
            _, _, taken, done, result = await ctx.tick().sample(
                dut.i.valid & dut.i.ready, dut.o.valid, dut.o.payload
            )
            if taken:
                took.append(cycle)
                given += 1
            if done:
                results.append((cycle, result.inverse, result.top))
            cycle += 1

    simulate(dut, bench, limit=20 * len(values))
    assert np.ptp(np.diff(took)) == 0 and took[1] - took[0] == Reciprocal.interval
    assert [cycle for cycle, *_ in results] == [cycle + Reciprocal.latency for cycle in took]
    for value, (_, inverse, top) in zip(values, results, strict=True):
        length = value.bit_length()
        assert (inverse, top) == (((1 << length + 23) - 1) // value, length - 1)


def test_roots_at_full_rate(rng):
    bits = 22
    dut = SquareRoot(bits)
    squares = [root * root + step for root in corners(rng, bits, 20) for step in (-1, 0)]
    values = [0, (1 << 2 * bits) - 1, *corners(rng, 2 * bits, 20), *squares]
    results = []

    async def bench(ctx):
        for cycle in range(len(values) * dut.latency + 1):
            number, phase = divmod(cycle, dut.latency)
            ctx.set(dut.start, phase == 0 and number < len(values))
            if phase == 0 and number < len(values):
                ctx.set(dut.x, values[number])
            _, _, done, root = await ctx.tick().sample(dut.done, dut.root)
            if done:
                results.append((cycle, root))

    simulate(dut, bench, limit=30 * len(values))
    assert results == [((n + 1) * dut.latency, isqrt(value)) for n, value in enumerate(values)]


@pytest.mark.parametrize("count", [2, 5, 16, 19])
def test_maxima(count, rng):
    dut = MaximumTree(count, 16)
    words = rng.integers(-(2**15), 2**15, (40, count))
    words[::5] = rng.choice([-(2**15), 2**15 - 1], words[::5].shape)
    largest = []

    async def bench(ctx):
        for word in [*words.tolist(), *[[0] * count] * dut.latency]:
            for port, value in zip(dut.i, word, strict=True):
                ctx.set(port, value)
            _, _, value = await ctx.tick().sample(dut.o)
            largest.append(value)

    simulate(dut, bench, limit=100)
    assert largest[dut.latency :] == words.max(axis=1).tolist()


@pytest.mark.parametrize("least", [None, 0, 1, 2, 77, 127])
def test_numerators_of_all_distances(least):
    """Every distance at which a numerator is not 0, and some of all others; the largest score is anything."""
    dut = SoftmaxLane(drops=least is not None)
    distances = np.r_[:2400, 2400:65536:97, 65535]
    largest = np.clip(distances - 32768 + np.arange(distances.size) % 5000, -32768, 32767)
    pairs = np.stack([largest, largest - distances], axis=1)
    expected, _ = softmax.numerators(pairs, np.ones(2, bool), least or 0)
    found = []

    async def bench(ctx):
        ctx.set(dut.stage, -1)
        ctx.set(dut.counts, 1)
        if least is not None:
            ctx.set(dut.bound, max(0, 2 * least - 1))
        for top, score in [*pairs.tolist(), *[(0, 0)] * dut.latency]:
            ctx.set(dut.maximum, top)
            ctx.set(dut.score, score)
            _, _, value = await ctx.tick().sample(dut.o)
            found.append(value)

    simulate(dut, bench, limit=5000)
    assert found[dut.latency :] == expected[:, 1].tolist()
