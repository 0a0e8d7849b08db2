"""cocotb side of ``test_bus``: error responses, resets in mid-flight, and good runs after them."""

import random

import cocotb

from dataflows import isa
from tests.system.cocotb_bench import BUSY, ERROR, ORIGIN, PERIOD_NS, RESETTING, SOFT_RESET, START, Bench
from tests.system.small import Small, configuration, small

LIMIT = {"timeout_time": 400_000 * PERIOD_NS, "timeout_unit": "ns"}


def middle(where: range) -> range:
    """The beat in the middle of a range."""
    beat = configuration().bus_bytes
    start = (where.start + where.stop) // 2 // beat * beat
    return range(start, start + beat)


def faults(case: Small) -> dict[str, tuple[isa.Error, range]]:
    """What can fail: the error it gives, and the addresses."""
    reads, writes = isa.Error.READ_RESPONSE, isa.Error.WRITE_RESPONSE
    return {
        "weights": (reads, middle(case.loaded_constants)),
        "input": (reads, middle(case.place("x"))),
        "first word": (reads, range(case.image.bases[isa.Region.PROGRAM], 1)),
        "program": (reads, middle(case.region(isa.Region.PROGRAM))),
        "result": (writes, middle(case.place("total"))),
        "mark": (writes, middle(case.mark_table)),
    }


@cocotb.test(**LIMIT)
@cocotb.parametrize(pauses=[False, True], what=list(faults(small())))
async def error_response(dut, what, pauses):
    """The reason is told, the bus drains, nothing starts before a soft reset, and then all is as new."""
    case = small(6)
    bench = await Bench.begin(dut, case.before)
    await bench.prepare(case)
    error, where = faults(case)[what]
    if error is isa.Error.READ_RESPONSE:
        bench.memory.fail_reads = where
    else:
        bench.memory.fail_writes = where
    if pauses:
        bench.pause_randomly(random.Random(what))
    await bench.write("CONTROL", START)
    await bench.interrupt()
    assert await bench.read("ERROR") == error, "another error, or bits of a unit"
    info = await bench.read("ERROR_INFO")
    offset = (info - ORIGIN) % (1 << 32)  # of the burst
    longest = configuration().bus.max_read_burst * configuration().bus_bytes
    assert offset < where.stop and where.start < offset + longest, f"ERROR_INFO {info:#x} does not tell the burst"
    await bench.drained(ERROR)
    case.check_untouched(bench.memory.data)
    cycles = await bench.read("CYCLES_LOW")

    await bench.write("CONTROL", START)
    await bench.write("IRQ_CLEAR", 1)
    await bench.drained(ERROR)
    assert dut.irq.value and await bench.read("ERROR_INFO") == info
    assert await bench.read("CYCLES_LOW") == cycles
    await bench.soft_reset()
    await bench.run(case)


@cocotb.test(**LIMIT)
@cocotb.parametrize(seed=[1, 2])
async def soft_reset_in_mid_flight(dut, seed):
    """At random cycles, with the answers held back: busy until the last of them, then clean, then a good run."""
    rng = random.Random(seed)
    case = small(seed)
    bench = await Bench.begin(dut, case.before)
    in_flight = 0
    for _ in range(6):
        bench.pause_randomly(rng)
        await bench.prepare(case)
        await bench.write("CONTROL", START)
        await bench.cycles(rng.randrange(1, 3000))
        bench.hold_answers()
        await bench.cycles(rng.randrange(1, 30))
        await bench.write("CONTROL", SOFT_RESET)
        await bench.cycles(40)
        if bench.watch.open:
            in_flight += 1
            assert await bench.read("STATUS") == BUSY | RESETTING
        bench.pause_randomly(rng)
        await bench.drained(0)
        assert await bench.read("ERROR") == 0
        assert not dut.irq.value
        case.check_untouched(bench.memory.data)
    assert in_flight > 2, "the resets hit nothing in flight"
    await bench.run(case)


@cocotb.test(**LIMIT)
async def start_and_reset_together(dut):
    """Soft reset wins over start; a soft reset of an idle accelerator changes nothing."""
    case = small(7)
    bench = await Bench.begin(dut, case.before)
    await bench.prepare(case)
    await bench.write("CONTROL", START | SOFT_RESET)
    await bench.drained(0)
    assert not bench.watch.transfers, "the program was started"
    await bench.soft_reset()
    await bench.write("CONTROL", START)
    await bench.interrupt()
    case.check_done(bench.memory.data, await bench.read("CYCLES_LOW"))


@cocotb.test(**LIMIT)
async def hard_reset_in_mid_flight(dut):
    """The reset input, seen by the whole system, needs no draining."""
    rng = random.Random(8)
    case = small(8)
    bench = await Bench.begin(dut, case.before)
    for _ in range(4):
        bench.pause_randomly(rng)
        await bench.prepare(case)
        await bench.write("CONTROL", START)
        await bench.cycles(rng.randrange(50, 2500))
        await bench.reset()
        assert await bench.read("STATUS") == await bench.read("PROGRAM_WORDS") == 0
        assert not dut.irq.value
    await bench.run(case)
