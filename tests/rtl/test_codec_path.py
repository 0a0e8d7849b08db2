"""STORE and LOAD where rows may be compressed blocks: against the golden model, with random pauses."""

import random

import numpy as np
import pytest
from amaranth import Elaboratable, Module
from amaranth.lib import wiring

from dataflows import isa
from dataflows.config import Config
from rtl.block_sizes import BlockSizes
from rtl.load import LoadEngine
from rtl.read_master import ReadMaster
from rtl.store import StoreEngine
from sim.golden.run_length import encode
from tests.rtl.axi_model import AxiSlave, make_config, sender, simulate

SLOT = 4096
BASE = 0x12_3456_7000


def config(bus, lanes, run_bits, bits, **limits):
    values = make_config(bus, lanes, **limits).model_dump()
    if bits == 16:
        values["numbers"] = {"act_bits": 16}
        values["memory"] = {name: 8 * size for name, size in values["memory"].items()} | {"acc_bytes": 96 * lanes}
    return Config.model_validate(values | {"codec": {"run_bits": run_bits, "level_bits": bits, "blocks": 100}})


def packed(x, cfg, zero):
    """Bytes of a block of bytes ``x``."""
    elements = np.array(x, np.uint8).view(f"<i{cfg.act_bytes}")
    words = encode(elements, cfg.codec_format, zero=int(np.array(zero).astype(elements.dtype)))
    return words.astype("<u8").tobytes()


def random_bytes(rng, length, zero, size):
    """Bytes of ``length`` elements of ``size`` bytes, some of them zero."""
    share = rng.choice([0, 0.5, 0.9, 1])
    elements = [zero if rng.random() < share else rng.randrange(1 << 8 * size) for _ in range(length)]
    return [byte for element in elements for byte in element.to_bytes(size, "little")]


def random_jobs(rng, count, size):
    """Descriptions of jobs: rows of equal length, half of the jobs compressed, every row in a slot of its own."""
    jobs, slot, block = [], 0, 0
    for n in range(count):
        coded, rows = rng.random() < 0.6, rng.randint(1, 4)
        length = rng.randint(1, 150)
        zero = rng.randrange(1 << 8 * size)
        content = [random_bytes(rng, length, zero, size) for _ in range(rows)]
        length *= size
        jobs.append({"n": n, "coded": coded, "length": length, "zero": zero, "rows": content, "slot": slot,
                     "block": block})  # fmt: skip
        slot, block = slot + rows, block + rows * coded
    return jobs


def registers(job, side):
    one = {"count": 1, "step": 0}
    return {
        side: {"address": job["slot"] * SLOT, "region": 0}, "row": {"bytes": job["length"]},
        "row_a": {"count": len(job["rows"]), "step": SLOT}, "row_b": one, "row_c": one,
        "codec": {"coded": job["coded"], "block": job["block"], "zero": job["zero"]},
        "give": 1 << job["n"] % 12, "tag": 0, "mark": 0,
    }  # fmt: skip


def stored(job, cfg):
    """Address to byte of everything a job writes, and (entry, words) of its blocks."""
    memory, sizes = {}, []
    for r, row in enumerate(job["rows"]):
        content = row
        if job["coded"]:
            content = packed(row, cfg, job["zero"])
            sizes.append((job["block"] + r, len(content) // 8))
        memory |= {BASE + (job["slot"] + r) * SLOT + i: byte for i, byte in enumerate(content)}
    return memory, sizes


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize(
    ("bus", "lanes", "bits"),
    [(64, 3, 8), (64, 16, 8), (128, 16, 8), (256, 5, 8), (512, 64, 8), (64, 9, 16), (128, 7, 16)],
)
def test_store(bus, lanes, bits, stall):
    rng = random.Random(bus + lanes + int(10 * stall))
    cfg = config(bus, lanes, rng.choice([3, 5]), bits, max_write_burst=rng.choice([1, 3, 16]))
    size = cfg.act_bytes
    jobs = random_jobs(rng, 16, size)
    dut, slave = StoreEngine(cfg), AxiSlave(cfg, stall=stall, jitter=10 if stall else 0)
    words = []
    for row in (row for job in jobs for row in job["rows"]):
        while row:
            count = size * rng.randint(1, min(lanes, len(row) // size))
            words.append({"data": row[:count] + [0x55] * (size * lanes - count), "count": count})
            row = row[count:]
    tokens, sizes, ends = [], [], []

    async def watch(ctx):
        ctx.set(dut.regions, [BASE, 0, 0, 0, 0])
        while len(tokens) < len(jobs):
            _, _, done, give, noted, size = await ctx.tick().sample(
                dut.done.valid, dut.done.payload, dut.size.valid, dut.size.payload
            )
            if noted:
                sizes.append((size.block, size.words))
            if done:
                tokens.append(give)
                ends.append((len(slave.memory), len(sizes)))

    items = [registers(job, "target") for job in jobs]
    simulate(dut, [watch, sender(dut.job, items, stall, 1), sender(dut.i, words, stall, 2)], [slave.writer(dut.axi)],
             cycles=60000)  # fmt: skip
    memory, entries = {}, []
    for job, end in zip(jobs, ends, strict=True):
        written, noted = stored(job, cfg)
        memory |= written
        entries += noted
        assert end[0] >= len(memory) and end[1] >= len(entries)
    assert slave.memory == memory
    assert sizes == entries
    assert tokens == [item["give"] for item in items]


class LoadPath(Elaboratable):
    """LOAD engine, size table and read master, connected."""

    def __init__(self, cfg):
        self.engine, self.sizes, self.master = LoadEngine(cfg), BlockSizes(cfg), ReadMaster(cfg)

    def elaborate(self, platform):
        m = Module()
        m.submodules.engine, m.submodules.sizes, m.submodules.master = self.engine, self.sizes, self.master
        wiring.connect(m, self.engine.request, self.sizes.i)
        wiring.connect(m, self.sizes.o, self.master.load)
        wiring.connect(m, self.master.load_data, self.engine.data)
        return m


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize(("bus", "bits"), [(64, 8), (128, 8), (512, 8), (64, 16), (256, 16)])
def test_load(bus, bits, stall):
    rng = random.Random(bus + int(10 * stall))
    cfg = config(bus, 4, rng.choice([3, 5]), bits, max_read_burst=rng.choice([1, 3, 16]),
                 reads_in_flight=rng.choice([1, 2, 5]))  # fmt: skip
    size = cfg.act_bytes
    jobs = random_jobs(rng, 24, size)
    slave = AxiSlave(cfg, stall=stall, jitter=10 if stall else 0)
    items, expected, entries = [], [], []
    for job in jobs:
        memory, sizes = stored(job, cfg)
        slave.contents |= memory
        entries += [{"block": block, "words": words} for block, words in sizes]
        total = [byte for row in job["rows"] for byte in row]
        cut = rng.choice([n for n in range(size, len(total) + 1, size) if len(total) % n == 0])
        fill, at = rng.random() < 0.2, size * rng.randrange(1 << 20)
        if fill:
            total = [0x77] * len(total)
        segments = isa.spread(
            cfg, isa.Unit.LOAD, isa.SEGMENT_REGISTERS,
            address=at, target=job["n"] % 4, fill=fill, fill_value=int.from_bytes(b"\x77" * size), bytes=cut,
        )  # fmt: skip
        items.append(registers(job, "source") | segments | {
            "segment_a": {"count": len(total) // cut, "step": 2 * cut},
            "segment_b": {"count": 1, "step": 0}, "segment_c": {"count": 1, "step": 0},
        })  # fmt: skip
        expected += [(job["n"] % 4, at + i + i // cut * cut, byte) for i, byte in enumerate(total)]
    dut = LoadPath(cfg)
    engine, written, tokens = dut.engine, [], []
    ports = [engine.input, engine.weight, engine.operand, engine.param]

    async def note(ctx):
        for entry in entries:
            ctx.set(dut.sizes.write.payload, entry)
            ctx.set(dut.sizes.write.valid, 1)
            await ctx.tick()
        ctx.set(dut.sizes.write.valid, 0)
        await sender(engine.job, items, stall)(ctx)

    async def watch(ctx):
        ctx.set(engine.regions, [BASE, 0, 0, 0, 0])
        while len(tokens) < len(jobs):
            _, _, done, give = await ctx.tick().sample(engine.done.valid, engine.done.payload)
            if done:
                tokens.append(give)
            for number, port in enumerate(ports):
                if ctx.get(port.valid):
                    p = port.payload
                    at, first, count = ctx.get(p.address), ctx.get(p.first), ctx.get(p.count)
                    data = ctx.get(p.data.as_value())
                    written.extend((number, at + i, data >> 8 * (first + i) & 0xFF) for i in range(count))
        await ctx.tick().repeat(3)
        assert not ctx.get(engine.busy) and ctx.get(dut.master.idle)

    simulate(dut, [note, watch], [slave.reader(dut.master.axi)], cycles=60000)
    assert written == expected
    assert tokens == [item["give"] for item in items]
    read = sum(-(-len(packed(r, cfg, j["zero"])) // cfg.bus_bytes) if j["coded"] else -(-len(r) // cfg.bus_bytes)
               for j, item in zip(jobs, items, strict=True) if not item["destination"]["fill"]
               for r in j["rows"])  # fmt: skip
    assert sum(beats for _, beats in slave.read_bursts) == read, "requests are as long as the blocks"
