"""Run-length encoder and decoder against the golden model, with random pauses at both ends."""

import random

import numpy as np
import pytest

from dataflows.run_length import EIE, EYERISS, EYERISS_V2, SCNN, Format
from rtl.run_length import Decoder, Encoder
from sim.golden.run_length import encode, pairs
from tests.rtl.axi_model import sender, simulate

CASES = [(EYERISS, 4), (EYERISS, 8), (EIE, 16), (EYERISS_V2, 16), (SCNN, 3), (Format(5, 8), 64),
         (Format(1, 2), 1), (Format(4, 27), 5)]  # fmt: skip
BYTES = Format(5, 8)


def unsigned(x, form):
    return [int(v) & ((1 << form.level_bits) - 1) for v in x]


def random_blocks(rng, form, number):
    """Blocks of all kinds: lengths 1 to 100, runs at the limits of a pair, no zero, nothing but zeros."""
    blocks, full = [], (1 << form.level_bits) - 1
    longest = form.longest_run
    for n in range(number):
        length = rng.randint(1, 100)
        zero = rng.randint(0, full)
        share = rng.choice([0, 0.3, 0.7, 0.95, 1])
        x = [zero if rng.random() < share else rng.randint(0, full) for _ in range(length)]
        if n % 4 == 0:
            runs = [longest, longest + 1, longest + 2, 2 * longest + 1, 2 * longest + 2, 0]
            x = [v for run in rng.sample(runs, 3) for v in [*[zero] * run, rng.randint(0, full)]]
            x += [zero] * rng.choice(runs)
        blocks.append((x, zero))
    return blocks


def cut(rng, x, lanes, most):
    """Words of elements: full ones, or of any size."""
    words, i = [], 0
    while i < len(x):
        count = min(len(x) - i, lanes if most else rng.randint(1, lanes))
        part = x[i : i + count]
        junk = [rng.randint(0, 15) for _ in range(lanes - count)]
        i += count
        words.append({"data": part + junk, "count": count, "last": i == len(x)})
    return words


def setting(dut, values):
    """Testbench piece that changes constants of the device before each block."""
    return lambda ctx, n: [ctx.set(getattr(dut, name), value) for name, value in values(n).items()]


def block_sender(port, blocks, constants, stall, seed, quiet):
    """Sends the items of one block after the other; constants change only while nothing of a block is inside."""
    rng = random.Random(seed)

    async def testbench(ctx):
        for number, items in enumerate(blocks):
            while not quiet(number):
                await ctx.tick()
            constants(ctx, number)
            for item in items:
                while rng.random() < stall:
                    await ctx.tick()
                ctx.set(port.payload, item)
                ctx.set(port.valid, 1)
                taken = False
                while not taken:
                    *_, taken = await ctx.tick().sample(port.ready)
                ctx.set(port.valid, 0)

    return testbench


def collector(port, ends, stall, seed, blocks, number):
    """Takes transfers; ``blocks`` gets a list per block."""
    rng = random.Random(seed)

    async def testbench(ctx):
        current = []
        while len(blocks) < number:
            ctx.set(port.ready, rng.random() >= stall)
            _, _, valid, ready, payload = await ctx.tick().sample(port.valid, port.ready, port.payload)
            if valid and ready:
                current.append(payload)
                if ends(payload, current):
                    blocks.append(current)
                    current = []
        ctx.set(port.ready, 0)

    return testbench


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize(("form", "lanes"), CASES, ids=str)
def test_encoder(form, lanes, stall):
    rng = random.Random(lanes)
    blocks = random_blocks(rng, form, 24)
    dut = Encoder(form, lanes)
    items = [cut(rng, x, lanes, n % 2) for n, (x, _) in enumerate(blocks)]
    got = []
    constants = setting(dut, lambda n: {"zero": blocks[n][1]})
    simulate(
        dut,
        [
            block_sender(dut.i, items, constants, stall, 1, lambda n: len(got) == n),
            collector(dut.o, lambda p, _: p.last, stall, 2, got, len(blocks)),
        ],
        cycles=40000,
    )
    for (x, zero), words in zip(blocks, got, strict=True):
        assert [w.bits for w in words] == encode(np.array(x, np.int64), form, zero=zero).tolist()


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize(("form", "lanes"), CASES, ids=str)
def test_decoder(form, lanes, stall):
    rng = random.Random(lanes)
    blocks = random_blocks(rng, form, 24)
    dut = Decoder(form, lanes)
    items = [encode(np.array(x, np.int64), form, zero=zero).tolist() for x, zero in blocks]
    got = []
    constants = setting(dut, lambda n: {"zero": blocks[n][1], "length": len(blocks[n][0])})
    simulate(
        dut,
        [
            block_sender(dut.i, items, constants, stall, 1, lambda n: len(got) == n),
            collector(dut.o, lambda p, _: p.last, stall, 2, got, len(blocks)),
        ],
        cycles=40000,
    )
    for (x, _), words in zip(blocks, got, strict=True):
        assert all(1 <= w.count <= lanes for w in words)
        assert [w.data[i] for w in words for i in range(w.count)] == x


def run_encoder(form, lanes, words, closes=None, zero=0):
    """Cycles until the last word left, and the words."""
    dut, got, cycles = Encoder(form, lanes), [], []

    async def close(ctx):
        for flag in closes or []:
            ctx.set(dut.close, flag)
            taken = False
            while not taken:
                *_, valid, ready = await ctx.tick().sample(dut.i.valid, dut.i.ready)
                taken = valid and ready

    async def count(ctx):
        n = 0
        while not got:
            await ctx.tick()
            n += 1
        cycles.append(n)

    benches = [sender(dut.i, words), collector(dut.o, lambda p, _: p.last, 0.0, 0, got, 1), count]
    simulate(dut, benches + ([close] if closes else []), cycles=20000)
    return cycles[0], [w.bits for w in got[0]]


@pytest.mark.parametrize("column", [16, 20, 50])
def test_runs_end_with_columns(column):
    """Restart: a run does not reach into the next column."""
    rng = random.Random(column)
    x = [0 if rng.random() < 0.9 else rng.randint(0, 15) for _ in range(6 * column)]
    words = [w for i in range(0, len(x), column) for w in cut(rng, x[i : i + column], 8, most=False)]
    closes = [bool(w["last"]) for w in words]
    words = [w | {"last": i == len(words) - 1} for i, w in enumerate(words)]
    _, got = run_encoder(EIE, 8, words, closes)
    assert got == encode(np.array(x), EIE, restart=column).tolist()


@pytest.mark.parametrize("share", [0, 0.5, 0.9, 1])
def test_encoder_takes_two_pairs_per_cycle(share):
    """Documented rate: a cycle per two levels of a word, per longest run, per word without levels."""
    rng = random.Random(3)
    x = [0 if rng.random() < share else rng.randint(1, 255) for _ in range(1600)]
    words = cut(rng, x, 16, most=True)
    cycles, _ = run_encoder(BYTES, 16, words)
    levels = [sum(v != 0 for v in word["data"]) for word in words]
    longest = int((pairs(np.array(x), BYTES)[0] == 31).sum())
    assert cycles <= sum(max(1, -(-n // 2)) for n in levels) + longest + 5
    if share == 0:
        assert sum(levels) == 1600 and cycles <= 805


@pytest.mark.parametrize("share", [0, 0.5, 0.9, 1])
def test_decoder_takes_a_cycle_per_word_or_beat(share):
    """Documented rate: all pairs of a word that fit the lanes at once."""
    rng = random.Random(3)
    x = [0 if rng.random() < share else rng.randint(1, 255) for _ in range(1600)]
    runs, _ = pairs(np.array(x), BYTES)
    dut, got, cycles = Decoder(BYTES, 16), [], 0
    words = encode(np.array(x), BYTES).tolist()

    async def watch(ctx):
        nonlocal cycles
        ctx.set(dut.length, len(x))
        while not got:
            await ctx.tick()
            cycles += 1

    simulate(dut, [watch, sender(dut.i, words), collector(dut.o, lambda p, _: p.last, 0.0, 0, got, 1)])
    expected = 0
    for i in range(0, runs.size, BYTES.pairs):
        sizes = [int(r) + 1 for r in runs[i : i + BYTES.pairs]]
        while sizes:
            expected += 1
            fitting = [n for n in range(1, len(sizes) + 1) if sum(sizes[:n]) <= 16]
            if fitting:
                sizes = sizes[fitting[-1] :]
            else:
                sizes[0] -= 16
    assert cycles <= expected + Decoder.latency + 3
    if share == 0:
        assert expected == 400
