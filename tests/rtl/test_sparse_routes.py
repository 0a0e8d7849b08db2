"""What the units around the sparse engine do with its data: words of INPUT, jobs of ACC, beats of LOAD, counters."""

import random

import numpy as np
import pytest

from dataflows import isa
from rtl.accumulator import LEVELS, Accumulator
from rtl.counters import Counters
from rtl.memory import OperandBuffer
from rtl.pop_count import PopCount
from rtl.sparse_write import SparseWrite
from rtl.streamer import Streamer
from tests.rtl import axi_model
from tests.rtl.compute_bench import idle, put, simulate
from tests.rtl.sparse_engine_bench import make_config


@pytest.mark.parametrize("stall", [0, 0.6])
@pytest.mark.parametrize("bits", [8, 16])
def test_words_of_input_go_where_their_job_says(bits, stall):
    cfg = make_config(bits=bits)
    rng = np.random.default_rng(bits)
    dut, latency = Streamer(cfg, isa.Unit.INPUT, OperandBuffer.latency), OperandBuffer.latency
    levels = cfg.dataflow.input_nest.levels
    jobs, expected = [], {"array": [], "sparse": []}
    for number in range(12):
        count, kind = int(rng.integers(1, 7)), int(rng.integers(2))
        nest = {name: {"count": count if name == levels[0] else 1, "step": 1} for name in levels}
        jobs.append({"base": {"address": 100 * number}, "mode": {"sparse": kind}, **nest, "give": 1})
        expected["sparse" if kind else "array"] += range(100 * number, 100 * number + count)
    found, order = {"array": [], "sparse": []}, []

    async def buffer(ctx):
        """A word tells its address in its first element."""
        reads = [0] * latency
        while True:
            _, _, address = await ctx.tick().sample(dut.read_address.payload)
            reads = [address, *reads][:latency]
            ctx.set(dut.read_data, [reads[-1] & cfg.act_mask] + [0] * (cfg.input_elements - 1))

    async def receive(ctx):
        ports = {"array": dut.o, "sparse": dut.sparse}
        while sum(map(len, found.values())) < sum(map(len, expected.values())):
            for port in ports.values():
                ctx.set(port.ready, rng.random() >= stall)
            taken = {name: port.valid & port.ready for name, port in ports.items()}
            firsts = (dut.o.payload.data[0], dut.sparse.payload[0])
            *_, array, sparse, one, other = await ctx.tick().sample(*taken.values(), *firsts)
            for name, there, word in (("array", array, one), ("sparse", sparse, other)):
                if there:
                    found[name].append(word & cfg.act_mask)
                    order.append(word & cfg.act_mask)

    simulate(dut, axi_model.testbench_of(put, dut.job, jobs), receive, limit=5000, background=(buffer,))
    wanted = {name: [a & cfg.act_mask for a in addresses] for name, addresses in expected.items()}
    assert found == wanted
    assert order == [a & cfg.act_mask for a in sorted(expected["array"] + expected["sparse"])]


def test_sums_of_one_source_at_a_time():
    """A job is taken while one of the other source is open only after that one's last sum."""
    cfg = make_config()
    dut, rng = Accumulator(cfg), random.Random(1)
    jobs = [(rng.randrange(2), rng.randrange(1, 5)) for _ in range(60)]
    nest = {name: {"count": 1, "step": 0} for name in LEVELS}
    payloads = [
        {"base": {"address": 0}, "mode": {"sparse": source}, **nest, "word": {"count": count, "step": 0}, "give": 1}
        for source, count in jobs
    ]
    opened, summed = [], [0]  # sources of the jobs taken, sums given

    async def watch(ctx):
        while True:
            *_, array, sparse = await ctx.tick().sample(dut.open, dut.open_sparse)
            assert not (array and sparse)
            if array or sparse:
                opened.append(int(sparse))
                done = np.cumsum([0] + [count for _, count in jobs])
                last = max((i for i in range(len(opened)) if jobs[i][0] != sparse), default=-1)
                assert summed[0] >= done[last + 1]

    async def sums(ctx):
        for number, (_, count) in enumerate(jobs):
            while len(opened) <= number:
                await ctx.tick()
            for _ in range(count):
                await idle(ctx, rng.choice([0, 0, 3]))
                ctx.set(dut.i.valid, 1)
                await ctx.tick()
                summed[0] += 1
                ctx.set(dut.i.valid, 0)
        for _ in range(10):
            await ctx.tick()

    simulate(dut, axi_model.testbench_of(put, dut.job, payloads), sums, limit=5000, background=(watch,))
    assert opened == [source for source, _ in jobs]


@pytest.mark.parametrize(("sources", "held"), [((1, 1, 1), 2), ((0, 0, 0), 2), ((1, 0), 1), ((0, 1), 1)])
def test_jobs_held_without_sums(sources, held):
    cfg = make_config()
    dut, taken = Accumulator(cfg), []
    nest = {name: {"count": 1, "step": 0} for name in LEVELS}

    async def offer(ctx):
        for source in sources:
            await put(ctx, dut.job, [{"base": {"address": 0}, "mode": {"sparse": source}, **nest, "give": 1}])
            taken.append(source)

    async def wait(ctx):
        await idle(ctx, 50)

    simulate(dut, wait, limit=200, background=(offer,))
    assert taken == list(sources[:held])


@pytest.mark.parametrize("shape", [{"pes": 8}, {"pes": 4, "bits": 16, "bus_bits": 128, "weight_bytes": 80}])
def test_beats_reach_their_pe(shape):
    cfg = make_config(**shape)
    dut, rng = SparseWrite(cfg), random.Random(2)
    sparse, size = cfg.sparse, cfg.bus_bytes
    kinds = {
        "entries": (cfg.sparse_weight_pitch, sparse.weight_bytes, sparse.pes + 1),
        "pointers": (cfg.sparse_pointer_pitch, sparse.pointer_bytes, sparse.pes + 1),
        "codebook": (cfg.codebook_pitch, cfg.codebook_pitch, sparse.codebooks + 1),
    }

    async def bench(ctx):
        for _ in range(300):
            name = rng.choice(list(kinds))
            pitch, held, places = kinds[name]
            number, place = rng.randrange(places), rng.randrange(pitch // size) * size
            data, port = [rng.randrange(256) for _ in range(size)], getattr(dut, name)
            ctx.set(port.payload, {"address": number * pitch + place, "data": data, "first": 0, "count": size})
            ctx.set(port.valid, 1)
            await ctx.tick()
            ctx.set(port.valid, 0)
            inside = place < held and number < places - 1
            for other in ("entries", "pointers"):
                assert ctx.get(getattr(dut, f"to_{other}")) == (inside and name == other) << number
            assert ctx.get(dut.to_codebook) == (inside and name == "codebook")
            if inside:
                beat = number * pitch // size + place // size if name == "codebook" else place // size
                assert ctx.get(dut.beat) == beat
                assert ctx.get(dut.data) == int.from_bytes(bytes(data), "little")
        await ctx.tick()
        assert not ctx.get(dut.to_entries | dut.to_pointers | dut.to_codebook)

    simulate(dut, bench, limit=1000)


@pytest.mark.parametrize("width", [1, 2, 3, 7, 64, 100])
def test_bits_are_counted(width):
    dut, rng = PopCount(width), random.Random(width)
    masks = [0, (1 << width) - 1, 1, *(rng.getrandbits(width) for _ in range(60))]

    async def bench(ctx):
        for mask in masks:
            ctx.set(dut.i, mask)
            await ctx.tick()
            assert ctx.get(dut.o) == mask.bit_count()

    simulate(dut, bench, limit=1000)


def test_entries_and_full_queues_are_counted():
    cfg = make_config(pes=8)
    dut, rng = Counters(cfg), random.Random(3)

    async def bench(ctx):
        ctx.set(dut.clear, 1)
        await ctx.tick()
        ctx.set(dut.clear, 0)
        entries = full = 0
        for _ in range(200):
            running, walked, held = rng.random() < 0.8, rng.randrange(9), rng.randrange(2)
            for port, value in ((dut.running, running), (dut.entries, walked), (dut.full, held)):
                ctx.set(port, value)
            await ctx.tick()
            entries, full = entries + running * walked, full + running * held
        ctx.set(dut.running, 0)
        await ctx.tick()
        assert (ctx.get(dut.entries_total), ctx.get(dut.sparse_full)) == (entries, full)
        ctx.set(dut.clear, 1)
        await ctx.tick()
        assert (ctx.get(dut.entries_total), ctx.get(dut.sparse_full)) == (0, 0)

    simulate(dut, bench, limit=1000)
