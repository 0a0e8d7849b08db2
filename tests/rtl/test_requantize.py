"""Requantization against exact rational arithmetic."""

import gc
import random
from fractions import Fraction

import pytest
from amaranth.sim import Simulator

from rtl.requantize import Requantize


def requantize(product: int, shift: int, zero: int, low: int, high: int) -> int:
    """The definition: Python rounds a Fraction half to even."""
    return min(max(round(Fraction(product, 2**shift)) + zero, low), high)


def rtl_requantize(bits: int, cases: list[tuple[int, int, int, int, int]]) -> list[int]:
    """One case per cycle through the component."""
    dut = Requantize(bits)
    results = []

    async def drive(ctx):
        ctx.set(dut.enable, 3)
        for i in range(len(cases) + dut.latency):
            if i < len(cases):
                ctx.set(dut.product, cases[i][0])
                ctx.set(dut.shift, cases[i][1])
            if 1 <= i <= len(cases):  # the bounds belong to the product of the cycle before
                for port, value in zip((dut.zero, dut.low, dut.high), cases[i - 1][2:], strict=True):
                    ctx.set(port, value)
            if i >= dut.latency:
                results.append(ctx.get(dut.o))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-9)
    simulator.add_testbench(drive)
    simulator.run()
    return results


def check(bits: int, cases: list[tuple[int, int, int, int, int]]) -> None:
    found = rtl_requantize(bits, cases)
    wrong = [(c, f, requantize(*c)) for c, f in zip(cases, found, strict=True) if f != requantize(*c)]
    assert not wrong, f"{len(wrong)} wrong, first (case, found, expected): {wrong[0]}"


def test_all_small_products():
    """Every product around zero, with every shift that matters to it: all ties, both signs."""
    check(12, [(p, s, 0, -128, 127) for s in range(6) for p in range(-300, 300)])


@pytest.mark.parametrize("bits", [34, 56])
def test_random_products(bits):
    rng = random.Random(bits)
    cases = []
    for _ in range(4000):
        shift = rng.randrange(64)
        product = rng.choice([
            rng.randrange(-(2 ** (bits - 1)), 2 ** (bits - 1)),
            rng.randrange(-300, 300) << shift,  # no fraction
            (2 * rng.randrange(-300, 300) + 1) << shift >> 1,  # a tie
            ((2 * rng.randrange(-300, 300) + 1) << shift >> 1) + rng.choice([-1, 1]),  # next to a tie
        ])
        product = min(max(product, -(2 ** (bits - 1))), 2 ** (bits - 1) - 1)
        low, high = sorted(rng.choice([(-128, 127), (rng.randrange(-128, 128), rng.randrange(-128, 128))]))
        cases.append((product, shift, rng.choice([-128, 127, 0, rng.randrange(-128, 128)]), low, high))
    check(bits, cases)


@pytest.mark.parametrize("bits", [34, 56])
def test_extremes(bits):
    """Ends of the range with every shift, zero points at both ends."""
    products = [-(2 ** (bits - 1)), -(2 ** (bits - 1)) + 1, 2 ** (bits - 1) - 1, -(2 ** (bits - 2)), -1, 0, 1]
    check(bits, [(p, s, z, -128, 127) for p in products for s in range(64) for z in (-128, 0, 127)])


def test_holds_without_enable():
    dut = Requantize(12)

    async def drive(ctx):
        ctx.set(dut.high, 127)
        ctx.set(dut.product, 5)
        ctx.set(dut.enable, 3)
        await ctx.tick().repeat(2)
        assert ctx.get(dut.o) == 5
        ctx.set(dut.product, 9)
        ctx.set(dut.enable, 2)
        await ctx.tick().repeat(3)
        assert ctx.get(dut.o) == 5
        ctx.set(dut.enable, 1)
        await ctx.tick().repeat(3)
        assert ctx.get(dut.o) == 5
        ctx.set(dut.enable, 2)
        await ctx.tick()
        assert ctx.get(dut.o) == 9

    simulator = Simulator(dut)
    simulator.add_clock(1e-9)
    simulator.add_testbench(drive)
    simulator.run()


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_narrow_product_is_refused():
    with pytest.raises(ValueError, match="product_bits must be at least 11, not 10"):
        Requantize(10)
    gc.collect()  # the half-made component warns when it is collected: now, where that is expected
