"""LOAD unit and read master against a plain model of segments (the number of lanes plays no part)."""

import random
from functools import reduce

import pytest
from amaranth import Elaboratable, Module
from amaranth.lib import wiring

from dataflows import isa
from rtl.axi import BurstSplitter
from rtl.load import LoadEngine
from rtl.read_master import ReadMaster
from tests.rtl.axi_model import AxiSlave, dram_byte, make_config, sender, simulate, split, visit

REGIONS = [0x12_3456_7000, 0xFF_0000_0000, 0x1_0000, 0, 0x80_0000_0FF8]


class LoadPath(Elaboratable):
    """LOAD engine and read master, connected."""

    def __init__(self, cfg):
        self.cfg = cfg
        self.engine = LoadEngine(cfg)
        self.master = ReadMaster(cfg)

    def elaborate(self, platform):
        m = Module()
        m.submodules.engine = self.engine
        m.submodules.master = self.master
        wiring.connect(m, self.engine.request, self.master.load)
        wiring.connect(m, self.master.load_data, self.engine.data)
        return m


def level(count, step):
    return {"count": count, "step": step}


def make_job(rng, factors, fill, give):
    """A random job: rows and segments hold the same number of bytes."""
    row, *rows = split(rng, factors, 4)
    segment, *segments = split(rng, factors, 4)

    def levels(counts):
        steps = [rng.choice([rng.randint(-(1 << 31), (1 << 31) - 1), rng.randint(-9000, 9000)]) for _ in counts]
        return [level(*both) for both in zip(counts, steps, strict=True)]

    row_a, row_b, row_c = levels(rows)
    segment_a, segment_b, segment_c = levels(segments)
    return {
        "source": {"address": rng.randrange(1 << 40), "region": rng.randrange(len(REGIONS))},
        "row": {"bytes": row}, "row_a": row_a, "row_b": row_b, "row_c": row_c,
        "destination": {
            "address": rng.randrange(1 << 32), "target": rng.randrange(4),
            "fill": fill, "fill_value": rng.randrange(256),
        },
        "segment": {"bytes": segment}, "segment_a": segment_a, "segment_b": segment_b, "segment_c": segment_c,
        "give": give, "tag": 0, "mark": 0,
    }  # fmt: skip


def nest(job, base, prefix):
    return visit(base, [(job[f"{prefix}_{x}"]["count"], job[f"{prefix}_{x}"]["step"]) for x in "abc"])


def reference(job):
    """(target, address, byte) in the order in which a LOAD job writes them."""
    base = REGIONS[job["source"]["region"]] + job["source"]["address"]
    if job["destination"]["fill"]:
        source = iter(lambda: job["destination"]["fill_value"], None)
    else:
        source = (
            dram_byte((row + i) % (1 << 40)) for row in nest(job, base, "row") for i in range(job["row"]["bytes"])
        )
    for start in nest(job, job["destination"]["address"], "segment"):
        for i in range(job["segment"]["bytes"]):
            yield job["destination"]["target"], (start + i) % (1 << 32), next(source)


def run(cfg, jobs, *, stall=0.0, latency=5, jitter=0, bad=()):
    """Run jobs; returns (written bytes in order, bytes written at each token, tokens, write cycles, slave, errors)."""
    dut = LoadPath(cfg)
    engine, master = dut.engine, dut.master
    slave = AxiSlave(cfg, stall=stall, latency=latency, jitter=jitter, bad=bad)
    written, at_token, tokens, cycles, errors = [], [], [], [], []
    ports = [getattr(engine, target.name.lower()) for target in isa.targets(cfg)]

    async def watch(ctx):
        now = 0
        pending = 0  # bytes whose write a read of this cycle does not see yet
        ctx.set(engine.regions, REGIONS)
        while len(tokens) < len(jobs):
            *_, done, give, error, address = await ctx.tick().sample(
                engine.done.valid, engine.done.payload, master.error.valid, master.error.payload
            )
            del _
            now += 1
            if done:
                tokens.append(give)
                at_token.append(len(written))
            if error:
                errors.append(address)
            pending = 0
            for number, port in enumerate(ports):
                if ctx.get(port.valid):
                    p = port.payload
                    at, first, count = ctx.get(p.address), ctx.get(p.first), ctx.get(p.count)
                    assert count >= 1 and first + count <= cfg.bus_bytes
                    data = ctx.get(p.data.as_value())
                    written.extend(
                        (number, (at + i) % (1 << 32), data >> 8 * (first + i) & 0xFF) for i in range(count)
                    )
                    pending += count
                    cycles.append(now)
            assert pending <= cfg.bus_bytes, "two writes in a cycle"
            assert ctx.get(engine.busy) or len(tokens) in (0, len(jobs))
        await ctx.tick().repeat(3)
        assert not ctx.get(engine.busy) and ctx.get(master.idle)

    simulate(dut, [watch, sender(engine.job, jobs, stall=stall)], [slave.reader(master.axi)], cycles=60000)
    return written, at_token, tokens, cycles, slave, errors


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize("bus", [64, 128])
def test_random_jobs(bus, stall):
    rng = random.Random(bus + int(10 * stall))
    cfg = make_config(bus, max_read_burst=rng.choice([1, 3, 16]), reads_in_flight=rng.choice([1, 2, 5]))
    jobs = []
    for n in range(12):
        factors = rng.choices([2, 3, 5, 7, 11], k=rng.randint(0, 3))
        jobs.append(make_job(rng, factors, fill=rng.random() < 0.3, give=1 << (n % 12)))
    written, at_token, tokens, _, slave, errors = run(cfg, jobs, stall=stall, jitter=20 if stall else 0)
    expected = [list(reference(job)) for job in jobs]
    assert written == [x for job in expected for x in job]
    assert tokens == [job["give"] for job in jobs]
    ends = reduce(lambda sums, job: [*sums, (sums or [0])[-1] + len(job)], expected, [])
    assert all(seen >= end for seen, end in zip(at_token, ends, strict=True))
    assert slave.max_in_flight <= cfg.bus.reads_in_flight
    assert not errors


def simple_job(*, address=0, row=96, rows=40, pitch=96, segment=None, segments=None, destination=0, fill=0):
    one = level(1, 0)
    return {
        "source": {"address": address, "region": 3}, "row": {"bytes": row},
        "row_a": level(rows, pitch), "row_b": one, "row_c": one,
        "destination": {"address": destination, "target": 0, "fill": fill, "fill_value": 0x80},
        "segment": {"bytes": segment or row * rows}, "segment_a": level(segments or 1, segment or 0),
        "segment_b": one, "segment_c": one, "give": 1, "tag": 0, "mark": 0,
    }  # fmt: skip


def gaps(cycles):
    return cycles[-1] - cycles[0] + 1 - len(cycles)


def test_one_beat_per_cycle_across_rows_and_jobs():
    cfg = make_config(128, 16)
    jobs = [simple_job(address=n << 16, rows=10, row=112, pitch=512) for n in range(5)]
    _, _, _, cycles, slave, _ = run(cfg, jobs, latency=100)
    assert gaps(slave.beat_cycles) == 0 and gaps(cycles) == 0
    assert len(cycles) == 5 * 10 * 7


def test_single_beat_rows_and_beat_segments():
    cfg = make_config(64, 4, reads_in_flight=16)
    _, _, _, cycles, slave, _ = run(cfg, [simple_job(row=8, rows=50, pitch=24, segment=8, segments=50)] * 3, latency=10)
    assert gaps(cycles) == 0 and gaps(slave.beat_cycles) == 0


def test_fill_writes_a_beat_per_cycle_and_reads_nothing():
    cfg = make_config(128, 16)
    _, _, _, cycles, slave, _ = run(cfg, [simple_job(fill=1, row=16, rows=30)] * 3)
    assert gaps(cycles) == 0 and len(cycles) == 90 and not slave.read_bursts


@pytest.mark.parametrize("bus", [64, 128])
def test_fill_of_wide_elements(bus):
    """The two bytes of an element lie in turn at even and odd addresses, in segments of any even address and size."""
    cfg = make_config(bus, bits=16)
    job = simple_job(destination=6, row=0, rows=1)
    where, size = {"address": 6, "target": 2, "fill": 1}, {"fill_value": 0x8001, "bytes": 42}
    job |= {"destination": where, "segment": size, "segment_a": level(3, 50)}
    written, *_ = run(cfg, [job])
    expected = [(2, 6 + 50 * s + i, (0x01, 0x80)[i % 2]) for s in range(3) for i in range(42)]
    assert written == expected


def test_requests_run_ahead_of_writes():
    """Four short jobs wait for the memory once, not four times."""
    cfg = make_config(128, 16)
    _, _, _, cycles, _, _ = run(cfg, [simple_job(row=16, rows=1)] * 4, latency=100)
    assert cycles[-1] < 130


def test_error_response_is_reported():
    cfg = make_config(64, 4, max_read_burst=4)
    address = REGIONS[3] + 32 * 5
    *_, errors = run(cfg, [simple_job(rows=10, row=64, pitch=64)], bad=(address,))
    assert errors == [address] * 4


def test_drain_discards_what_returns():
    cfg = make_config(64, 4, reads_in_flight=4, max_read_burst=8)
    dut = LoadPath(cfg)
    slave = AxiSlave(cfg, latency=30, stall=0.3)

    async def testbench(ctx):
        await ctx.tick().repeat(45)
        assert not ctx.get(dut.master.idle)
        ctx.set(dut.master.drain, 1)
        issued = len(slave.read_bursts) + ctx.get(dut.master.axi.arvalid)
        await ctx.tick().until(dut.master.idle)
        assert len(slave.read_bursts) <= issued
        await ctx.tick().repeat(80)
        assert ctx.get(dut.master.idle) and len(slave.beat_cycles) == sum(n for _, n in slave.read_bursts)

    simulate(
        dut, [testbench], [sender(dut.engine.job, [simple_job(rows=500)]), slave.reader(dut.master.axi)], cycles=2000
    )


@pytest.mark.parametrize(("bus_bytes", "max_beats"), [(8, 16), (16, 64), (16, 7), (64, 256), (8, 1)])
def test_burst_splitter(bus_bytes, max_beats):
    rng = random.Random(bus_bytes)
    lengths = [rng.choice([1, rng.randint(1, 40), rng.randint(1, 6000)]) for _ in range(30)]
    rows = [{"address": rng.randrange((1 << 40) - 8192), "bytes": n, "last": rng.randrange(2)} for n in lengths]
    dut = BurstSplitter(bus_bytes, max_beats)
    cycles = []

    async def check(ctx):
        ctx.set(dut.o.ready, 1)
        for row in rows:
            position, left = row["address"], row["bytes"]
            while left:
                clock = 0
                while not ctx.get(dut.o.valid):
                    await ctx.tick()
                    clock += 1
                cycles.append(clock)
                burst = {name: ctx.get(getattr(dut.o.payload, name)) for name, _ in dut.o.payload.shape()}
                assert burst["address"] == position - position % bus_bytes
                assert burst["first"] == position % bus_bytes
                assert 1 <= burst["beats"] <= max_beats
                assert burst["address"] // 4096 == (burst["address"] + burst["beats"] * bus_bytes - 1) // 4096
                covered = (burst["beats"] - 1) * bus_bytes + burst["tail"] - burst["first"]
                position, left = position + covered, left - covered
                assert burst["last_of_row"] == (left == 0)
                assert burst["last_of_job"] == (left == 0 and row["last"])
                if left:  # a burst that does not end the row is as long as it may be
                    assert burst["beats"] == max_beats or position % 4096 == 0
                await ctx.tick()
            assert left == 0

    simulate(dut, [check, sender(dut.i, rows)])
    assert sum(cycles) <= 2, "gap between bursts"
