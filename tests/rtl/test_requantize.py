"""Requantization against exact rational arithmetic."""

import gc
import random
from fractions import Fraction

import pytest
from amaranth.sim import Simulator

from rtl.requantize import Requantize

WIDTHS = [(34, 8), (56, 8), (42, 16), (72, 16)]
"""Product and result: of a sum of two operands and of an accumulator, for both widths of operands."""


def requantize(product: int, shift: int, zero: int, low: int, high: int) -> int:
    """The definition: Python rounds a Fraction half to even."""
    return min(max(round(Fraction(product, 2**shift)) + zero, low), high)


def rtl_requantize(
    product_bits: int, bits: int, cases: list[tuple[int, int, int, int, int]], wide_bits: int = 0
) -> list[int]:
    """One case per cycle through the component; with ``wide_bits`` the wide results."""
    dut = Requantize(product_bits, bits, wide_bits)
    results = []
    latency = dut.latency - 1 if wide_bits else dut.latency

    def inputs(i, age):
        case = cases[min(max(i, 0), len(cases) - 1)]
        return (case[:2], case[2:3], case[3:])[age]

    async def drive(ctx):
        ctx.set(dut.enable, 7)
        if wide_bits:
            ctx.set(dut.widen, 1)
        for i in range(len(cases) + latency):
            # Each input belongs to the case that is at its stage.
            for ports, age in (((dut.product, dut.shift), 0), ((dut.zero,), 1), ((dut.low, dut.high), 2)):
                for port, value in zip(ports, inputs(i - age, age), strict=True):
                    ctx.set(port, value)
            if i >= latency:
                results.append(ctx.get(dut.wide if wide_bits else dut.o))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-9)
    simulator.add_testbench(drive)
    simulator.run()
    return results


def check(product_bits: int, bits: int, cases: list[tuple[int, int, int, int, int]]) -> None:
    found = rtl_requantize(product_bits, bits, cases)
    wrong = [(c, f, requantize(*c)) for c, f in zip(cases, found, strict=True) if f != requantize(*c)]
    assert not wrong, f"{len(wrong)} wrong, first (case, found, expected): {wrong[0]}"


def test_all_small_products():
    """Every product around zero, with every shift that matters to it: all ties, both signs."""
    check(12, 8, [(p, s, 0, -128, 127) for s in range(6) for p in range(-300, 300)])


def test_wide_results():
    """Neither zero point nor clamps; saturated where the quotient, rounded, does not fit."""
    rng = random.Random("wide")
    ends = [top << s for s in range(3) for top in (-(2**15), 2**15 - 1)]
    cases = [(end + rest, i // 2, 5, -3, 3) for i, end in enumerate(ends) for rest in range(-9, 9)]
    cases += [(rng.randrange(-(2**55), 2**55), rng.randrange(64), -128, -128, 127) for _ in range(500)]
    cases += [(rng.randrange(-(2**40), 2**40), rng.randrange(20, 30), 1, 0, 0) for _ in range(500)]
    expected = [requantize(p, s, 0, -(2**15), 2**15 - 1) for p, s, *_ in cases]
    assert rtl_requantize(56, 8, cases, wide_bits=16) == expected


@pytest.mark.parametrize(("product_bits", "bits"), WIDTHS)
def test_random_products(product_bits, bits):
    rng = random.Random(product_bits)
    limit, most = 1 << bits - 1, 1 << product_bits - 1
    near = range(-2 * limit - 44, 2 * limit + 44)
    cases = []
    for _ in range(4000):
        shift = rng.randrange(64)
        product = rng.choice([
            rng.randrange(-most, most),
            rng.choice(near) << shift,  # no fraction
            (2 * rng.choice(near) + 1) << shift >> 1,  # a tie
            ((2 * rng.choice(near) + 1) << shift >> 1) + rng.choice([-1, 1]),  # next to a tie
        ])
        product = min(max(product, -most), most - 1)
        bounds = [(-limit, limit - 1), (rng.randrange(-limit, limit), rng.randrange(-limit, limit))]
        low, high = sorted(rng.choice(bounds))
        cases.append((product, shift, rng.choice([-limit, limit - 1, 0, rng.randrange(-limit, limit)]), low, high))
    check(product_bits, bits, cases)


@pytest.mark.parametrize(("product_bits", "bits"), WIDTHS)
def test_extremes(product_bits, bits):
    """Ends of the range with every shift, zero points at both ends."""
    limit, most = 1 << bits - 1, 1 << product_bits - 1
    products = [-most, -most + 1, most - 1, -most // 2, -1, 0, 1]
    zeros = (-limit, 0, limit - 1)
    check(product_bits, bits, [(p, s, z, -limit, limit - 1) for p in products for s in range(64) for z in zeros])


def test_holds_without_enable():
    dut = Requantize(12, 8)

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
        Requantize(10, 8)
    gc.collect()  # the half-made component warns when it is collected: now, where that is expected
