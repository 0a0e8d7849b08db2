"""cocotb side of ``test_bus``: pruned layers on the sparse engine, from the start register to the interrupt."""

import random

import cocotb

from dataflows import isa
from tests.system.cocotb_bench import ERROR, PERIOD_NS, START, Bench
from tests.system.pruned import Stream, pruned

LIMIT = {"timeout_time": 400_000 * PERIOD_NS, "timeout_unit": "ns"}


@cocotb.test(**LIMIT)
async def without_pauses(dut):
    """The engine walks entries, and the counters say so."""
    case = pruned()
    bench = await Bench.begin(dut, case.before)
    await bench.run(case)
    assert await bench.read("SPARSE_BUSY") > 0
    assert await bench.read("SPARSE_ENTRIES_LOW") > 0 and await bench.read("SPARSE_ENTRIES_HIGH") == 0


@cocotb.test(**LIMIT)
@cocotb.parametrize(seed=[1, 2, 3])
async def with_random_pauses(dut, seed):
    """Pauses on all channels of both buses change no bit; one program after the other runs on one instance."""
    rng = random.Random(seed)
    case = pruned(seed)
    bench = await Bench.begin(dut, case.before)
    bench.pause_randomly(rng)
    await bench.run(case)
    other = pruned(seed + 100)
    bench.pause_randomly(rng)
    await bench.run(other)


@cocotb.test(**LIMIT)
async def damaged_stream(dut):
    """A pointer behind the entries: the reason and its place are told, the interrupt comes, a soft reset helps."""
    rng = random.Random(7)
    case = pruned(7)
    stream = Stream.of(case)
    column = int(stream.lives.argmax())
    bench = await Bench.begin(dut, case.before)
    bench.pause_randomly(rng)
    await bench.prepare(case)
    at = stream.pointer_at(3, column + 1)
    bench.memory.data[at : at + 2] = 0xFF
    await bench.write("CONTROL", START)
    await bench.interrupt()
    assert await bench.read("ERROR") == isa.Error.SPARSE_POINTER | isa.Unit.SPARSE << 8
    assert await bench.read("ERROR_INFO") == 3 << 16 | column
    await bench.drained(ERROR)
    bench.memory.data[at : at + 2] = case.before[at : at + 2]
    case.check_untouched(bench.memory.data)
    await bench.soft_reset()
    await bench.run(case)
