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

    def inputs(i, age):
        case = cases[min(max(i, 0), len(cases) - 1)]
        return (case[:2], case[2:3], case[3:])[age]

    async def drive(ctx):
        ctx.set(dut.enable, 7)
        for i in range(len(cases) + dut.latency):
            # Each input belongs to the case that is at its stage.
            for ports, age in (((dut.product, dut.shift), 0), ((dut.zero,), 1), ((dut.low, dut.high), 2)):
                for port, value in zip(ports, inputs(i - age, age), strict=True):
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
        ctx.set(dut.enable, 7)
        await ctx.tick().repeat(3)
        assert ctx.get(dut.o) == 5
        for enable in (6, 5, 3):  # one stage stands: nothing new gets to the end
            ctx.set(dut.enable, 7)
            ctx.set(dut.product, 5)
            await ctx.tick().repeat(3)
            ctx.set(dut.enable, enable)
            ctx.set(dut.product, 9)
            await ctx.tick().repeat(4)
            assert ctx.get(dut.o) == 5
        ctx.set(dut.enable, 4)
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
