"""The first set bit of a mask: every mask of small widths, random ones of large widths."""

import gc
import random

import pytest
from amaranth.sim import Simulator

from rtl.leading_non_zero import LeadingNonZero


def find_first(width, masks):
    """(found, index, rest) of each mask."""
    dut = LeadingNonZero(width)
    results = []

    async def bench(ctx):
        for mask in masks:
            ctx.set(dut.mask, mask)
            results.append((ctx.get(dut.found), ctx.get(dut.index), ctx.get(dut.rest)))

    sim = Simulator(dut)
    sim.add_testbench(bench)
    sim.run()
    return results


def reference(mask):
    """The same in Python."""
    return int(mask != 0), (mask & -mask).bit_length() - 1 if mask else 0, mask & (mask - 1)


@pytest.mark.parametrize("width", range(1, 10))
def test_every_mask(width):
    masks = range(1 << width)
    assert find_first(width, masks) == [reference(mask) for mask in masks]


@pytest.mark.parametrize("width", [12, 16, 17, 48, 64, 65, 256])
def test_random_masks(width):
    rng = random.Random(width)
    masks = [0, 1, (1 << width) - 1, 1 << width - 1, *(1 << i for i in range(width))]
    masks += [rng.getrandbits(width) & rng.getrandbits(width) << rng.randrange(width) for _ in range(200)]
    masks = [mask & (1 << width) - 1 for mask in masks]
    assert find_first(width, masks) == [reference(mask) for mask in masks]


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
@pytest.mark.parametrize(("width", "levels"), [(1, 0), (2, 1), (4, 1), (5, 2), (16, 2), (17, 3), (64, 3), (256, 4)])
def test_depth_of_the_tree(width, levels):
    assert LeadingNonZero(width).levels == levels
    gc.collect()  # a component that is not used goes while its warning is ignored


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_a_mask_has_bits():
    with pytest.raises(ValueError, match="width must be at least 1, not 0"):
        LeadingNonZero(0)
    gc.collect()
