"""Prefix counts of flags: every mask of small widths, random ones of large widths, a mask per cycle."""

import gc
import random

import pytest
from amaranth.sim import Simulator

from rtl.prefix_sum import PrefixSum

PERIOD = 1e-9


def prefix_counts(width, masks, pauses=()):
    """(counts, total) of each mask, one after the other; the registers stand in the cycles of ``pauses``."""
    dut = PrefixSum(width)
    results = []

    async def bench(ctx):
        given = list(masks) + [0] * dut.latency
        for cycle, mask in enumerate(given):
            ctx.set(dut.flags, mask)
            if cycle in pauses:
                ctx.set(dut.enable, 0)
                await ctx.delay(PERIOD)
            ctx.set(dut.enable, 1)
            results.append(([ctx.get(dut.counts[i]) for i in range(width)], ctx.get(dut.total)))
            await ctx.delay(PERIOD)

    sim = Simulator(dut)
    sim.add_clock(PERIOD, if_exists=True)  # small ones have no registers
    sim.add_testbench(bench)
    sim.run()
    return results[dut.latency :]


def reference(width, mask):
    """The same in Python."""
    return [(mask & (1 << i) - 1).bit_count() for i in range(width)], mask.bit_count()


@pytest.mark.parametrize("width", range(1, 8))
def test_every_mask(width):
    masks = range(1 << width)
    assert prefix_counts(width, masks) == [reference(width, mask) for mask in masks]


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
@pytest.mark.parametrize(("width", "latency"), [(12, 0), (16, 0), (17, 1), (64, 1)])
def test_random_masks(width, latency):
    rng = random.Random(width)
    masks = [0, (1 << width) - 1, 1, 1 << width - 1, *(rng.getrandbits(width) for _ in range(40))]
    expected = [reference(width, mask) for mask in masks]
    assert prefix_counts(width, masks) == expected
    assert prefix_counts(width, masks, pauses={2, 3, 11, 30}) == expected
    assert PrefixSum(width).latency == latency
    gc.collect()


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_there_are_flags():
    with pytest.raises(ValueError, match="width must be at least 1, not 0"):
        PrefixSum(0)
    gc.collect()
