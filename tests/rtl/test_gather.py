"""Gathered rows of LOAD: lists on chip choose where the iterations of ``row_c`` begin."""

import random

import pytest

from dataflows import isa
from dataflows.config import Config
from rtl.gather import Gather
from tests.rtl.axi_model import AxiSlave, dram_byte, make_config, sender, simulate, visit
from tests.rtl.test_load import REGIONS, LoadPath, level

LISTS = 0x40_0000
"""DRAM address of lists in region 3."""


def attention_config(bus, indices=48, pruning=False, **more):
    cfg = make_config(bus, 4, **more)
    attention = {"row_elements": 16, "indices": indices, "pruning": pruning, "values": pruning}
    return Config.model_validate(cfg.model_dump() | {"attention": attention})


POSITION = 0xFFF4
"""So that tokens of a position go beyond 16 bits and around."""


def make_job(*, source, row, levels, destination, target, segment, gather=None, fill=0, positioned=0, nibbles=0):
    row_a, row_b, row_c = levels
    one = level(1, 0)
    return {
        "source": {"address": source, "region": 3}, "row": {"bytes": row},
        "row_a": row_a, "row_b": row_b, "row_c": row_c,
        "destination": {"address": destination, "target": target, "fill": fill, "fill_value": 0x5A},
        "segment": {"bytes": segment}, "segment_a": one, "segment_b": one, "segment_c": one,
        "gather": {"indexed": gather is not None, "first": gather or 0, "positioned": positioned, "nibbles": nibbles},
        "give": 1, "tag": 0, "mark": 0,
    }  # fmt: skip


def list_job(source, index, count):
    """Writes ``count`` indices from index ``index`` on."""
    levels = [level(1, 0)] * 3
    place = {"destination": 2 * index, "target": isa.Target.INDEX}
    return make_job(source=source, row=2 * count, levels=levels, segment=2 * count, **place)


def reference(jobs, contents):
    """(target, address, byte) of everything that leaves LOAD; lists stay in it."""
    lists, out = {}, []
    for job in jobs:
        start = REGIONS[3] + job["source"]["address"]
        inner = [(job[name]["count"], job[name]["step"]) for name in ("row_a", "row_b")]
        outer = job["row_c"]
        first, count = job["gather"]["first"], outer["count"]
        segments = job["segment_c"]["count"]
        if counted := job["gather"].get("counted", 0):
            count, segments = min(count, lists[first]), min(segments, lists[first])
        numbers = range(count)
        if job["gather"]["indexed"] and job["gather"]["positioned"]:
            numbers = [(POSITION + i) % (1 << 16) for i in numbers]
        elif counted:
            numbers = [lists[first + 1 + i] for i in numbers]
        elif job["gather"]["indexed"]:
            numbers = [lists[job["gather"]["first"] + i] for i in numbers]
        rows = [row for n in numbers for row in visit(start + n * outer["step"], inner)]
        where = [(row + i) % (1 << 40) for row in rows for i in range(job["row"]["bytes"])]
        found = [contents.get(at, dram_byte(at)) for at in where]
        if job["destination"]["fill"]:
            found = [0x5A] * job["segment"]["bytes"]
        elif kind := job["gather"]["nibbles"]:
            halves = [half for byte in found for half in (byte & 15, byte >> 4)]
            found = [16 * half if kind == isa.Nibbles.HIGH else half for half in halves]
        target, address = job["destination"]["target"], job["destination"]["address"]
        size, step = job["segment"]["bytes"], job["segment_c"]["step"]
        assert len(found) == size * segments
        if counted:
            out += [(target, address + step * (i // size) + i % size, value) for i, value in enumerate(found)]
            continue
        if target == isa.Target.INDEX:
            assert address % 2 == 0 and len(found) % 2 == 0
            values = [found[i] | found[i + 1] << 8 for i in range(0, len(found), 2)]
            lists |= {address // 2 + i: value for i, value in enumerate(values)}
        else:
            out += [(target, address + i, value) for i, value in enumerate(found)]
    return out


def run(cfg, jobs, contents, *, stall=0.0, latency=5, jitter=0):
    """Returns (bytes written in order, cycles of writes, in which jobs are taken, in which they are done, slave)."""
    dut = LoadPath(cfg)
    engine = dut.engine
    slave = AxiSlave(cfg, stall=stall, latency=latency, jitter=jitter, contents=contents)
    written, cycles, taken, done = [], [], [], []
    ports = {t: getattr(engine, t.name.lower()) for t in isa.targets(cfg) if t is not isa.Target.INDEX}

    async def watch(ctx):
        now = 0
        ctx.set(engine.regions, REGIONS)
        ctx.set(engine.position, POSITION)
        while len(done) < len(jobs):
            *_, valid, ready, ends = await ctx.tick().sample(engine.job.valid, engine.job.ready, engine.done.valid)
            now += 1
            if valid and ready:
                taken.append(now)
            if ends:
                done.append(now)
            for target, port in ports.items():
                if ctx.get(port.valid):
                    p = port.payload
                    at, first, count = ctx.get(p.address), ctx.get(p.first), ctx.get(p.count)
                    data = ctx.get(p.data.as_value())
                    written.extend((target, at + i, data >> 8 * (first + i) & 0xFF) for i in range(count))
                    cycles.append(now)

    simulate(dut, [watch, sender(engine.job, jobs, stall=stall)], [slave.reader(dut.master.axi)], cycles=30000)
    return written, cycles, taken, done, slave


def put(contents, address, values):
    for i, value in enumerate(values):
        contents[REGIONS[3] + address + 2 * i] = value & 0xFF
        contents[REGIONS[3] + address + 2 * i + 1] = value >> 8


@pytest.mark.parametrize(("bus", "stall"), [(64, 0.0), (128, 0.3), (512, 0.3)])
def test_random_lists(bus, stall):
    """Lists at any even address, jobs right behind the lists they read, fills, plain jobs and halves between."""
    rng = random.Random(bus)
    cfg = attention_config(bus, indices=48)
    contents, jobs, known = {}, [], set()
    for n in range(24):
        kind = rng.choice(["list", "gather", "gather", "positioned", "plain", "fill"]) if known else "list"
        target, to = rng.choice([0, 2, isa.Target.TABLE, isa.Target.GAIN]), rng.randrange(1 << 20)
        row = rng.randint(1, 3 * bus // 8)
        a, b = level(rng.randint(1, 3), rng.randint(-5000, 5000)), level(rng.randint(1, 2), rng.randint(-5000, 5000))
        if kind == "list":
            index = rng.randrange(48)
            count = rng.randint(1, 48 - index)
            source = LISTS + 4096 * n + 2 * rng.randrange(bus)
            corners = [0, 1, 0x7FFF, 0x8000, 0xFFFF]
            put(contents, source, [rng.choice([*corners, rng.randrange(1 << 16)]) for _ in range(count)])
            jobs.append(list_job(source, index, count))
            known.update(range(index, index + count))
        elif kind in ("gather", "positioned"):
            first = rng.choice(sorted(known))
            count = 20 if kind == "positioned" else 1
            while first + count in known and count < 12:
                count += 1
            count = rng.randint(1, count)
            step = rng.choice([rng.randint(-(1 << 31), (1 << 31) - 1), rng.randint(0, 3000), -(1 << 31), 0])
            size = row * a["count"] * b["count"] * count
            nibbles = rng.choice(list(isa.Nibbles))
            jobs.append(make_job(source=rng.randrange(1 << 40), row=row, levels=[a, b, level(count, step)],
                                 destination=to, target=target, segment=size << (nibbles > 0), gather=first,
                                 positioned=kind == "positioned", nibbles=nibbles))  # fmt: skip
        else:
            size = row * a["count"] * b["count"]
            nibbles = rng.choice(list(isa.Nibbles))
            jobs.append(make_job(source=rng.randrange(1 << 38), row=row, levels=[a, b, level(1, 7)],
                                 destination=to, target=target, segment=size << (nibbles > 0 and kind == "plain"),
                                 fill=kind == "fill", nibbles=nibbles))  # fmt: skip
    written, _, _, _, slave = run(cfg, jobs, contents, stall=stall, jitter=20 if stall else 0)
    assert written == reference(jobs, contents)
    assert slave.max_in_flight <= cfg.bus.reads_in_flight


def test_law_and_full_rate():
    """Gathered jobs wait for the list alone; their first row comes as late as stated, then one per cycle."""
    cfg = attention_config(128, reads_in_flight=32)
    contents = {}
    values = [(37 * i) % 256 for i in range(40)]
    put(contents, LISTS, values)
    levels = [level(1, 0), level(1, 0), level(40, 64)]
    plain = make_job(source=0, row=16, levels=levels, destination=0, target=0, segment=640)
    gathered = plain | {"gather": {"indexed": 1, "first": 0, "positioned": 0, "nibbles": 0}}
    jobs = [plain, list_job(LISTS, 0, 40), gathered, gathered]
    written, cycles, taken, done, _ = run(cfg, jobs, contents, latency=8)
    assert written == reference(jobs, contents)
    delay = cycles[0] - taken[0]
    assert taken[2] == done[1] + 1
    for n in (1, 2):
        rows = cycles[40 * n : 40 * n + 40]
        assert rows == list(range(taken[n + 1] + Gather.latency + delay, taken[n + 1] + Gather.latency + delay + 40))
    assert taken[3] == taken[2] + Gather.latency + 40


@pytest.mark.parametrize("stall", [0.0, 0.3])
def test_lists_with_a_length(stall):
    """Counted jobs right behind their lists: fewer rows, as many, more than the list; one row; others between."""
    rng = random.Random(11)
    cfg = attention_config(64, indices=64, pruning=True)
    contents, jobs = {}, []
    for n in range(14):
        length, source = (1 if n == 3 else rng.randint(1, 20)), LISTS + 4096 * n
        numbers = [rng.choice([0, 0xFFFF, rng.randrange(1 << 16)]) for _ in range(length)]
        first = rng.randrange(64 - 21)
        put(contents, source, [length, *numbers])
        jobs.append(list_job(source, first, length + 1))
        for _ in range(rng.randint(1, 2)):
            a, row, most = level(rng.randint(1, 2), 700), rng.randint(1, 30), rng.choice([length, 1, 25, 20])
            target = rng.choice([0, 2, isa.Target.GAIN])
            job = make_job(source=rng.randrange(1 << 30), row=row, levels=[a, level(1, 0), level(most, 64)],
                           destination=rng.randrange(1 << 20), target=target, segment=row * a["count"], gather=first)
            job["gather"]["counted"] = 1
            job["segment_c"] = level(most, rng.choice([100, 64, -80]))
            jobs.append(job)
        if n % 4 == 0:  # by the same list, whose length is an index here
            levels = [level(1, 0), level(1, 0), level(length + 1, 32)]
            jobs.append(make_job(source=0, row=8, levels=levels, destination=0, target=0, segment=8 * (length + 1),
                                 gather=first))  # fmt: skip
    written, *_ = run(cfg, jobs, contents, stall=stall, jitter=20 if stall else 0)
    assert written == reference(jobs, contents)


def test_law_of_lists_with_a_length():
    """The length delays a job by as many cycles as are stated, its rows by none besides."""
    cfg = attention_config(128, pruning=True, reads_in_flight=32)
    contents = {}
    put(contents, LISTS, [16, *range(5, 21)])
    levels = [level(1, 0), level(1, 0), level(40, 64)]
    job = make_job(source=0, row=16, levels=levels, destination=0, target=0, segment=16, gather=0)
    counted = job | {"gather": {**job["gather"], "counted": 1}, "segment_c": level(40, 16)}
    jobs = [list_job(LISTS, 0, 17), counted, counted]
    written, cycles, taken, done, _ = run(cfg, jobs, contents, latency=8)
    assert written == reference(jobs, contents)
    assert taken[1] == done[0] + 1 + Gather.peek_latency
    for n in range(2):
        rows = cycles[-32:][16 * n :][:16]
        assert rows == list(range(rows[0], rows[0] + 16))
