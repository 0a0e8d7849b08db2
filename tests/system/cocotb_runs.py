"""cocotb side of ``test_bus``: whole programs, from the start register to the interrupt."""

import random

import cocotb
from cocotb.triggers import RisingEdge

from tests.system.cocotb_bench import BUSY, DONE, PERIOD_NS, START, Bench
from tests.system.small import configuration, small

LIMIT = {"timeout_time": 200_000 * PERIOD_NS, "timeout_unit": "ns"}


@cocotb.test(**LIMIT)
async def without_pauses(dut):
    """The bus limits of the configuration are reached, and never passed."""
    case = small()
    bench = await Bench.begin(dut, case.before)
    await bench.run(case)
    bus = configuration().bus
    assert 1 < bench.watch.most_reads <= bus.reads_in_flight
    assert 1 <= bench.watch.most_writes <= bus.writes_in_flight


@cocotb.test(**LIMIT)
@cocotb.parametrize(seed=[1, 2, 3])
async def with_random_pauses(dut, seed):
    """Pauses on all channels of both buses change no bit; one program after the other runs on one instance."""
    rng = random.Random(seed)
    case = small(seed)
    bench = await Bench.begin(dut, case.before)
    bench.pause_randomly(rng)
    await bench.run(case)
    other = small(seed + 100)
    bench.pause_randomly(rng)
    await bench.run(other)


@cocotb.test(**LIMIT)
async def start_while_busy(dut):
    """A second start, and writes to read-only registers, do not disturb a run."""
    case = small(4)
    bench = await Bench.begin(dut, case.before)
    await bench.prepare(case)
    await bench.write("CONTROL", START)
    for _ in range(5):
        await bench.cycles(150)
        assert await bench.read("STATUS") == BUSY
        before = await bench.read("CYCLES_LOW")
        await bench.write("CONTROL", START)
        await bench.write("STATUS", 0xFFFF_FFFF)
        await bench.write("CYCLES_LOW", 0)
        assert await bench.read("CYCLES_LOW") > before, "the counter began again"
    await bench.interrupt()
    case.check_done(bench.memory.data, await bench.read("CYCLES_LOW"))
    assert await bench.read("MARKS") == len(case.program.schedule)


@cocotb.test(**LIMIT)
async def interrupt_follows_enable_and_done(dut):
    """No interrupt unless enabled; done and counters stay until cleared or started again."""
    case = small(5)
    bench = await Bench.begin(dut, case.before)
    await bench.prepare(case)
    await bench.write("IRQ_ENABLE", 0)
    rises = []

    async def watch() -> None:
        while True:
            await RisingEdge(dut.irq)
            rises.append(1)

    cocotb.start_soon(watch())
    await bench.write("CONTROL", START)
    for _ in range(2000):
        if await bench.read("STATUS") != BUSY:
            break
    else:
        raise AssertionError("the run did not end")
    assert await bench.read("STATUS") == DONE
    assert not rises
    cycles = await bench.read("CYCLES_LOW")
    await bench.cycles(20)
    assert await bench.read("CYCLES_LOW") == cycles, "the counter goes on after the end"
    await bench.write("IRQ_ENABLE", 1)
    await bench.cycles(2)
    assert dut.irq.value and len(rises) == 1
    await bench.write("IRQ_CLEAR", 0)
    assert await bench.read("STATUS") == DONE
    await bench.write("CONTROL", START)
    assert await bench.read("STATUS") == BUSY, "start does not clear done"
    assert not dut.irq.value
    await bench.interrupt()
    assert await bench.read("STATUS") == DONE
