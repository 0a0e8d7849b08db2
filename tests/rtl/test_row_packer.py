"""Packed rows: every density, every length, stalls, and how many cycles they take."""

import pytest

from rtl.row_packer import RowPacker
from tests.rtl.axi_model import simulate

BITS = 7


def cases(rng, lanes, words):
    """(flags, rows, elements that leave): none, one, all, any; with as many elements as stay, or more."""
    for density in (0.0, 0.1, 0.5, 0.9, 1.0):
        elements = int(rng.integers(1, lanes * words + 1)) if density != 0.9 else lanes * words
        flags = rng.random(elements) < density
        values = rng.integers(0, 128, (int(rng.integers(1, 5)), elements))
        most = max(1, int(flags.sum()))
        for count in (most, int(rng.integers(most, lanes * words + 1))):
            yield flags, values, count


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize(("lanes", "words"), [(1, 5), (4, 6), (16, 3)])
def test_rows(lanes, words, stall, rng):
    dut = RowPacker(lanes, words, BITS)

    async def testbench(ctx):
        for flags, values, count in cases(rng, lanes, words):
            for word in range(words):
                here = flags[word * lanes :][:lanes]
                for value in (0, 1):  # cleared, then set, as the selector does
                    ctx.set(dut.mask, sum(1 << lane for lane, flag in enumerate(here) if flag) if value else -1)
                    ctx.set(dut.mask_word, word)
                    ctx.set(dut.mask_value, value)
                    await ctx.tick()
            ctx.set(dut.mask, 0)
            blocks = -(-len(flags) // lanes)
            tail = len(flags) - (blocks - 1) * lanes
            job = {"rows": len(values), "blocks": blocks, "tail": tail, "count": count}
            ctx.set(dut.job.payload, job)
            ctx.set(dut.job.valid, 1)
            await ctx.tick()
            ctx.set(dut.job.valid, 0)
            filled = rng.integers(0, 128, (len(values), blocks * lanes))  # lanes behind the tail hold anything
            filled[:, : len(flags)] = values
            pending = filled.reshape(-1, lanes).tolist()
            found, cycles = [], 0
            while ctx.get(dut.busy):
                offered = bool(pending) and rng.random() >= stall
                ctx.set(dut.i.valid, offered)
                if offered:
                    ctx.set(dut.i.payload, pending[0])
                ready = rng.random() >= stall
                ctx.set(dut.o.ready, int(ready))
                if offered and ctx.get(dut.i.ready):
                    pending.pop(0)
                if ready and ctx.get(dut.o.valid):
                    word = dut.o.payload
                    found.append([ctx.get(word.data[lane]) for lane in range(ctx.get(word.count))])
                await ctx.tick()
                cycles += 1
            assert not pending
            ctx.set(dut.i.valid, 0)
            left = -(-count // lanes)
            sizes = [lanes] * (left - 1) + [count - (left - 1) * lanes]
            assert [len(word) for word in found] == sizes * len(values)
            wanted = [[*row[flags].tolist(), *[0] * (count - flags.sum())] for row in values]
            assert [v for word in found for v in word] == [v for row in wanted for v in row]
            if not stall:
                assert cycles <= len(values) * (max(blocks, left) + 1) + dut.latency + left

    simulate(dut, [testbench])


def test_full_rate(rng):
    """All flags set: a word per cycle."""
    dut = RowPacker(4, 3, BITS)
    cycles = []

    async def testbench(ctx):
        ctx.set(dut.mask_value, 1)
        ctx.set(dut.mask, -1)
        for word in range(3):
            ctx.set(dut.mask_word, word)
            await ctx.tick()
        ctx.set(dut.mask, 0)
        ctx.set(dut.job.payload, {"rows": 5, "blocks": 3, "tail": 4, "count": 12})
        ctx.set(dut.job.valid, 1)
        await ctx.tick()
        ctx.set(dut.job.valid, 0)
        ctx.set(dut.i.valid, 1)
        ctx.set(dut.o.ready, 1)
        now = 0
        while ctx.get(dut.busy):
            if ctx.get(dut.o.valid):
                cycles.append(now)
            await ctx.tick()
            now += 1

    simulate(dut, [testbench])
    assert cycles == list(range(dut.latency, dut.latency + 15))
