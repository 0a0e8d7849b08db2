"""Operand streamers against a nested loop in Python."""

import itertools

import numpy as np
import pytest

from dataflows import isa
from rtl.memory import OperandBuffer
from rtl.streamer import Streamer
from tests.rtl.compute_bench import WIDTHS, idle, make_config, put, simulate

UNITS = [isa.Unit.INPUT, isa.Unit.WEIGHT]


def random_job(rng, nest, give):
    """Register values of a job; at most a few dozen words, steps of both signs."""
    counts = [int(c) for c in rng.choice([1, 1, 2, 3], len(nest.levels))]
    job = {"base": {"address": int(rng.integers(0, 3000))}, "give": give}
    for name, count in zip(nest.levels, counts, strict=True):
        job[name] = {"count": count, "step": int(rng.integers(-40, 60))}
    return job


def element(memory, address, size):
    """The signed number in the ``size`` bytes at ``address``, the lowest one first; the memory wraps around."""
    values = [int(memory[(address + i) % len(memory)]) & 255 for i in range(size)]
    return int.from_bytes(bytes(values), "little", signed=True)


def expect(job, nest, memory, elements, size=1):
    """Words of a job, of elements of ``size`` bytes, with their flags."""
    counts = [job[name]["count"] for name in nest.levels]
    address, words = job["base"]["address"], []
    indices = [index[::-1] for index in itertools.product(*(range(c) for c in reversed(counts)))]
    for number, index in enumerate(indices):
        inner = list(zip(index, counts, strict=True))[: nest.inner]
        words.append({
            "data": [element(memory, address + i * size, size) for i in range(elements)],
            "first": int(all(i == 0 for i, _ in inner)),
            "last": int(all(i == c - 1 for i, c in inner)),
            "begin": int(number == 0),
            "end": int(number == len(indices) - 1),
        })
        if number + 1 < len(indices):
            level = next(i for i, (at, count) in enumerate(zip(index, counts, strict=True)) if at < count - 1)
            address += job[nest.levels[level]]["step"]
    return words


PRECISION = ("a_bits", "w_bits", "a_unsigned", "w_unsigned")


def run(cfg, unit, jobs, memory, count, job_gap=lambda i: 0, pause=lambda i: 0, latency=OperandBuffer.latency):
    """Run jobs; returns words, cycles of jobs taken, words and tokens, and the tokens."""
    dut = Streamer(cfg, unit, latency)
    size = cfg.act_bytes
    words, tokens = [], []
    times = {"job": [], "word": [], "done": [], "read": [], "latency": dut.latency}

    async def send(ctx):
        await put(ctx, dut.job, jobs, job_gap)

    async def buffer(ctx):
        reads = [0] * latency
        while True:
            _, _, address = await ctx.tick().sample(dut.read_address.payload)
            reads = [address, *reads][:latency]
            word = [element(memory, reads[-1] + i * size, size) % 256**size for i in range(dut.elements)]
            ctx.set(dut.read_data, word)

    async def receive(ctx):
        for index in range(count):
            ctx.set(dut.o.ready, 0)
            await idle(ctx, pause(index))
            ctx.set(dut.o.ready, 1)
            valid = False
            while not valid:
                _, _, valid, word = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            names = ("first", "last", "begin", "end", *(PRECISION if cfg.multiplier else ()))
            words.append({"data": list(word.data)} | {name: word[name] for name in names})
        while len(tokens) < len(jobs):
            await ctx.tick()

    async def watch(ctx):
        cycle = 0
        events = {
            "job": dut.job.valid & dut.job.ready,
            "word": dut.o.valid & dut.o.ready,
            "done": dut.done.valid,
            "read": dut.read_address.valid,
        }
        while True:
            _, _, *seen, token = await ctx.tick().sample(*events.values(), dut.done.payload)
            for name, happened in zip(events, seen, strict=True):
                times[name] += [cycle] * happened
            tokens.extend([token] * seen[2])
            cycle += 1

    simulate(dut, send, receive, limit=20000, background=(buffer, watch))
    return words, tokens, times


@pytest.mark.parametrize("unit", UNITS, ids=lambda u: u.name)
@pytest.mark.parametrize("dataflow", ["weight_stationary", "output_stationary", "input_stationary", "no_local_reuse"])
@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (3, 5)])
@pytest.mark.parametrize("pauses", [False, True], ids=["steady", "pauses"])
@pytest.mark.parametrize("bits", WIDTHS)
def test_words(rows, cols, dataflow, unit, pauses, bits, rng):
    cfg = make_config(rows, cols, dataflow, bits=bits)
    nest = cfg.dataflow.input_nest if unit is isa.Unit.INPUT else cfg.dataflow.weight_nest
    elements = cfg.input_elements if unit is isa.Unit.INPUT else cfg.weight_elements
    memory = rng.integers(-128, 128, 4096)
    jobs = [random_job(rng, nest, 1 << i) for i in range(8)]
    expected = [word for job in jobs for word in expect(job, nest, memory, elements, cfg.act_bytes)]
    options = {}
    if pauses:
        options["pause"] = lambda i: int(rng.choice([0, 0, 0, 1, rng.integers(2, 12)]))
        options["job_gap"] = lambda i: int(rng.integers(0, 30))
    words, tokens, times = run(cfg, unit, jobs, memory, len(expected), **options)
    assert words == expected
    assert tokens == [job["give"] for job in jobs]
    ends = [time for time, word in zip(times["read"], expected, strict=True) if word["end"]]
    assert times["done"] == [time + 1 for time in ends]
    if not pauses:
        assert times["word"] == list(range(times["job"][0] + times["latency"], times["word"][0] + len(words)))


@pytest.mark.parametrize("latency", [1, 2, 3])
@pytest.mark.parametrize("pause", [1, 2, 3, 20])
def test_no_gap_after_a_pause(latency, pause, rng):
    """A sink that stops at one word and goes on later gets one word per cycle, over job borders."""
    cfg = make_config(2, 2, "weight_stationary")
    nest = cfg.dataflow.weight_nest
    memory = rng.integers(-128, 128, 4096)
    jobs = [random_job(rng, nest, 1) | {"word": {"count": 5, "step": 3}} for _ in range(6)]
    expected = [word for job in jobs for word in expect(job, nest, memory, 2)]
    words, _, times = run(
        cfg, isa.Unit.WEIGHT, jobs, memory, len(expected), pause=lambda i: pause if i == 12 else 0, latency=latency
    )
    assert words == expected
    gaps = np.diff(times["word"])
    assert gaps[11] == 1 + pause
    assert set(np.delete(gaps, 11)) == {1}


UNITS_OF_NARROW_OPERANDS = [
    ("weight_stationary", {"kind": "fusion"}),
    ("output_stationary", {"kind": "serial", "lanes": 16}),
    ("output_stationary", {"kind": "binary", "lanes": 16}),
]


@pytest.mark.parametrize("unit", UNITS, ids=lambda u: u.name)
@pytest.mark.parametrize(("dataflow", "kind"), UNITS_OF_NARROW_OPERANDS, ids=["fusion", "serial", "binary"])
def test_words_of_bytes_say_their_precision(dataflow, kind, unit, rng):
    """Jobs of different widths without a gap; one-bit inputs behind the tail are 1."""
    cfg = make_config(2, 8, dataflow, multiplier=kind)
    nest = cfg.dataflow.input_nest if unit is isa.Unit.INPUT else cfg.dataflow.weight_nest
    size = cfg.input_read_bytes if unit is isa.Unit.INPUT else cfg.weight_read_bytes
    memory, binary = rng.integers(-128, 128, 4096), kind["kind"] == "binary" and unit is isa.Unit.INPUT
    jobs, expected = [], []
    for number in range(8):
        told = {name: int(rng.choice(cfg.operand_bits)) for name in PRECISION[:2]}
        told |= {name: int(rng.integers(0, 2)) for name in PRECISION[2:]}
        tail = 8 * size if number % 4 == 0 else int(rng.integers(1, 8 * size + 1))
        job = random_job(rng, nest, 1 << number) | {"precision": told | ({"tail": tail} if binary else {})}
        jobs.append(job)
        words = expect(job, nest, memory, size)
        place, inner = nest.levels.index("word"), job["word"]["count"]
        stride = int(np.prod([job[name]["count"] for name in nest.levels[:place]]))
        for index, word in enumerate(words):
            bits = sum((byte & 255) << 8 * i for i, byte in enumerate(word["data"]))
            if binary and index // stride % inner == inner - 1:
                bits |= (1 << 8 * size) - (1 << tail)
            expected.append(word | told | {"data": list(bits.to_bytes(size, "little"))})
    words, tokens, _ = run(cfg, unit, jobs, memory, len(expected), pause=lambda i: int(rng.choice([0, 0, 0, 1])))
    assert words == expected
    assert tokens == [job["give"] for job in jobs]
