"""Operand buffer: any run of bytes in, any window of bytes out, every cycle."""

import gc
import random

import pytest

from rtl.memory import OperandBuffer
from tests.rtl.axi_model import simulate


@pytest.mark.parametrize(
    ("rows", "word", "beat", "read", "granule", "read_granule"),
    [
        (5, 8, 8, 3, 1, 1), (16, 16, 16, 16, 1, 1), (4, 32, 16, 20, 1, 1), (3, 16, 8, 1, 1, 1), (7, 16, 16, 12, 1, 1),
        (1, 8, 8, 8, 1, 1), (2, 64, 64, 20, 1, 1), (4, 32, 16, 20, 2, 1), (4, 32, 16, 20, 4, 1), (3, 16, 16, 16, 16, 1),
        (2, 64, 16, 64, 64, 1), (3, 64, 16, 48, 16, 1), (3, 64, 16, 32, 32, 1), (2, 32, 32, 16, 16, 1),
        (5, 8, 8, 8, 64, 1), (4, 32, 16, 32, 1, 32), (4, 32, 16, 24, 2, 8), (3, 16, 8, 15, 1, 1), (3, 8, 8, 5, 1, 16),
    ],
)  # fmt: skip
def test_random_runs_and_windows(rows, word, beat, read, granule, read_granule):
    rng = random.Random(1)
    dut = OperandBuffer(2 * word * rows, word, beat, read, granule, read_granule)
    size = dut.size_bytes
    unit = min(granule, beat)  # of writes
    pitch = min(max(granule, read_granule), word)  # of reads
    last = (size - read) // pitch * pitch
    steps = 400

    async def testbench(ctx):
        model = bytearray(size)
        expected = []  # what each read must return, one per cycle
        written = (False, 0, 0)  # the run of the cycle before: it reaches the memory now
        for _ in range(steps):
            first = rng.randrange(beat // unit) * unit
            count = rng.choice([unit, beat - first, rng.randint(1, (beat - first) // unit) * unit])
            count = min(count, size)
            address = rng.choice([0, size - count, rng.randint(0, (size - count) // unit) * unit])
            valid = rng.random() < 0.8
            data = [rng.randrange(256) for _ in range(beat)]
            window = rng.choice([0, last, rng.randint(0, last // pitch) * pitch])
            ctx.set(dut.write.payload, {"address": address, "data": data, "first": first, "count": count})
            ctx.set(dut.write.valid, valid)
            # A window is undefined while the memory is written there: the same words are not read then.
            busy, begin, size_ = written
            clash = busy and (begin // word - 1) * word <= window + read and window <= begin + size_ + 2 * word
            written = (valid, address, count)
            ctx.set(dut.read_address.payload, window)
            ctx.set(dut.read_address.valid, not clash)
            expected.append(None if clash else list(model[window : window + read]))
            await ctx.tick()
            if valid:
                model[address : address + count] = bytes(data[first : first + count])
            if len(expected) >= dut.latency and (e := expected[-dut.latency]) is not None:
                assert [ctx.get(dut.read_data[i]) for i in range(read)] == e
        # Everything that was written, read one window a cycle: also the last write, two cycles after it.
        ctx.set(dut.write.valid, 0)
        await ctx.tick()
        ctx.set(dut.read_address.valid, 1)
        windows = [min(at // pitch * pitch, last) for at in [address, *range(0, size, pitch)]]
        for step in range(len(windows) + dut.latency):
            if step < len(windows):
                ctx.set(dut.read_address.payload, windows[step])
            if step >= dut.latency:
                at = windows[step - dut.latency]
                assert [ctx.get(dut.read_data[i]) for i in range(read)] == list(model[at : at + read])
            await ctx.tick()

    simulate(dut, [testbench])


def test_windows_and_runs_beyond_the_end_do_no_harm():
    dut = OperandBuffer(80, 8, 8, 8)

    async def testbench(ctx):
        ctx.set(dut.write.valid, 1)
        for address in range(0, 80, 8):
            data = [address + i for i in range(8)]
            ctx.set(dut.write.payload, {"address": address, "data": data, "first": 0, "count": 8})
            await ctx.tick()
        ctx.set(dut.write.payload, {"address": 100, "data": [255] * 8, "first": 0, "count": 8})
        await ctx.tick()
        ctx.set(dut.write.valid, 0)
        ctx.set(dut.read_address.valid, 1)
        for address in range(73):
            ctx.set(dut.read_address.payload, address)
            await ctx.tick().repeat(dut.latency)
            assert [ctx.get(dut.read_data[i]) for i in range(8)] == list(range(address, address + 8))

    simulate(dut, [testbench])


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
@pytest.mark.parametrize("args", [
    (96, 12, 8, 8), (128, 8, 16, 8), (128, 8, 8, 16), (100, 8, 8, 8), (0, 8, 8, 8), (128, 8, 6, 8),
    (128, 8, 8, 8, 3), (128, 8, 8, 8, 0),
])  # fmt: skip
def test_wrong_sizes_are_refused(args):
    with pytest.raises(ValueError, match=r"OperandBuffer .* must be"):
        OperandBuffer(*args)
    gc.collect()  # the half-made component goes while its warning is ignored
