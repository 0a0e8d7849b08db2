"""STORE unit against a plain model of rows in DRAM."""

import random

import pytest

from rtl.store import StoreEngine
from tests.rtl.axi_model import AxiSlave, make_config, sender, simulate, split, visit

REGIONS = [0x12_3456_7000, 0xFF_0000_0000, 0x1_0000, 0, 0x80_0000_0FF8]
MARK_BASE = 0x55_0000_0FF0


def level(count, step):
    return {"count": count, "step": step}


def make_job(address, row, levels, *, region=3, give=1, mark=0, tag=0, rows=None):
    levels = [*levels, (1, 0), (1, 0), (1, 0)][:3]
    return {
        "target": {"address": address, "region": region},
        "row": {"bytes": row},
        **{f"row_{x}": level(*values) for x, values in zip("abc", levels, strict=True)},
        "give": give, "tag": tag, "mark": mark, **({} if rows is None else {"mode": {"rows": rows}}),
    }  # fmt: skip


def random_job(rng, lanes, slot, number):
    """A job whose rows, of any length and alignment, do not overlap; also the lengths of its words."""
    words = rng.randint(1, 4) if lanes > 4 else rng.randint(1, 30)
    lengths = [rng.randint(1, lanes) for _ in range(words)]
    row = sum(lengths)
    counts = split(rng, rng.choices([2, 3], k=rng.randint(0, 2)), 3)
    order = rng.sample(range(3), 3)  # which level has the smallest stride
    strides, reach = [0] * 3, row + rng.randint(0, 40)
    for at in order:
        strides[at] = reach * rng.choice([1, -1])
        reach *= counts[at]
    steps = [strides[at] - sum((counts[i] - 1) * strides[i] for i in range(at)) for at in range(3)]
    region = rng.randrange(len(REGIONS))
    address = (slot - REGIONS[region]) % (1 << 40)
    mark = rng.random() < 0.5
    job = make_job(
        address, row, list(zip(counts, steps, strict=True)), region=region, give=1 << number % 12, mark=mark, tag=number
    )
    return job, lengths * (counts[0] * counts[1] * counts[2])


def reference(jobs, words):
    """Bytes in DRAM after the jobs, and the bytes each job has written by its end."""
    stream = iter([byte for data, count in words for byte in data[:count]])
    memory, ends = {}, []
    for job in jobs:
        base = REGIONS[job["target"]["region"]] + job["target"]["address"]
        for start in visit(base, [(job[f"row_{x}"]["count"], job[f"row_{x}"]["step"]) for x in "abc"]):
            for i in range(job["row"]["bytes"]):
                assert (start + i) % (1 << 40) not in memory, "the test writes a byte twice"
                memory[(start + i) % (1 << 40)] = next(stream)
        ends.append(len(memory))
    assert next(stream, None) is None
    return memory, ends


class Bench:
    """Runs jobs and keeps what can be seen."""

    def __init__(self, cfg, jobs, words, *, stall=0.0, latency=5, jitter=0, bad=(), from_rows=(), position=0):
        self.dut = dut = StoreEngine(cfg)
        self.jobs = jobs
        self.position = position
        self.slave = AxiSlave(cfg, stall=stall, latency=latency, jitter=jitter, bad=bad)
        self.tokens, self.written, self.errors, self.token_cycles = [], [], [], []
        items, row_items = ([{"data": data, "count": count} for data, count in w] for w in (words, from_rows))
        row_senders = [sender(dut.rows, row_items, stall, seed=3)] if cfg.attention else []
        simulate(
            dut,
            [self.watch, sender(dut.job, jobs, stall, seed=1), sender(dut.i, items, stall, seed=2), *row_senders],
            [self.slave.writer(dut.axi)],
            cycles=60000,
        )

    def records(self, count):
        """Records of the mark table, taken out of the memory: (cycle, tag)."""
        take = self.slave.memory.pop
        raw = [bytes(take(MARK_BASE + 16 * n + i) for i in range(16)) for n in range(count)]
        return [(int.from_bytes(r[:8], "little"), int.from_bytes(r[8:], "little")) for r in raw]

    async def watch(self, ctx):
        dut = self.dut
        now = 1000
        ctx.set(dut.regions, REGIONS)
        ctx.set(dut.mark_base, MARK_BASE)
        if self.position:
            ctx.set(dut.position, self.position)
        while len(self.tokens) < len(self.jobs) or ctx.get(dut.busy):
            ctx.set(dut.cycle, now)
            *_, done, give, error, address = await ctx.tick().sample(
                dut.done.valid, dut.done.payload, dut.error.valid, dut.error.payload
            )
            if done:
                self.tokens.append(give)
                self.token_cycles.append(now)
                self.written.append(sum(not 0 <= a - MARK_BASE < 4096 for a in self.slave.memory))
            if error:
                self.errors.append(address)
            now += 1
        self.marks = ctx.get(dut.marks)
        assert ctx.get(dut.idle)


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize("bus", [64, 128])
@pytest.mark.parametrize("lanes", [1, 4, 12, 16, 20])
def test_random_jobs(bus, lanes, stall):
    rng = random.Random(bus + lanes + int(10 * stall))
    cfg = make_config(
        bus, lanes, max_write_burst=rng.choice([1, 2, 3, 16]), writes_in_flight=rng.choice([1, 2, 5, 40])
    )
    jobs, words = [], []
    for n in range(10):
        job, lengths = random_job(rng, lanes, 0x20_0000_0000 + (n << 20) - rng.randrange(400), n)
        jobs.append(job)
        words += [([rng.randrange(256) for _ in range(lanes)], count) for count in lengths]
    bench = Bench(cfg, jobs, words, stall=stall, jitter=30 if stall else 0)
    expected, ends = reference(jobs, words)
    marked = [n for n, job in enumerate(jobs) if job["mark"]]
    records = bench.records(len(marked))
    assert bench.slave.memory == expected
    assert bench.tokens == [job["give"] for job in jobs]
    assert all(seen >= end for seen, end in zip(bench.written, ends, strict=True))
    assert [tag for _, tag in records] == marked and bench.marks == len(marked)
    assert [cycle for cycle, _ in records] == [bench.token_cycles[n] - 1 for n in marked]
    assert bench.slave.max_in_flight <= cfg.bus.writes_in_flight
    assert not bench.errors


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize(("bus", "lanes"), [(64, 1), (128, 12), (64, 20)])
def test_two_sources(bus, lanes, stall):
    """Jobs that take words of the row engine among those that take the vector unit's; both offer all the time."""
    rng = random.Random(bus + lanes + int(10 * stall))
    cfg = make_config(bus, lanes, attention=True, max_write_burst=3)
    jobs, words = [], []
    for n in range(16):
        job, lengths = random_job(rng, lanes, 0x20_0000_0000 + (n << 20) - rng.randrange(400), n)
        jobs.append(job | {"mode": {"rows": rng.randrange(2)}})
        words.append([([rng.randrange(256) for _ in range(lanes)], count) for count in lengths])
    sources = [
        [word for job, some in zip(jobs, words, strict=True) if job["mode"]["rows"] == rows for word in some]
        for rows in (0, 1)
    ]
    bench = Bench(cfg, jobs, sources[0], from_rows=sources[1], stall=stall, jitter=30 if stall else 0)
    assert bench.slave.memory == {
        **reference(jobs, [word for some in words for word in some])[0],
        **{address: byte for address, byte in bench.slave.memory.items() if 0 <= address - MARK_BASE < 4096},
    }
    assert bench.tokens == [job["give"] for job in jobs]


@pytest.mark.parametrize("position", [1, 77, (1 << 16) - 1])
@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_jobs_move_on_with_the_position(position, stall):
    """Jobs with a pitch begin further on, those without do not; neighbours have other pitches."""
    rng = random.Random(position)
    cfg = make_config(64, 4, attention=True)
    jobs, moved, words = [], [], []
    for n in range(12):
        job, lengths = random_job(rng, 4, 0x20_0000_0000 + (n << 20), n)
        pitch = rng.choice([0, 1, 3, 768, (1 << 24) - 1, rng.randrange(1 << 24)])
        target = job["target"] | {"address": (job["target"]["address"] - position * pitch) % (1 << 40)}
        jobs.append(job | {"target": target, "mode": {"rows": 0, "pitch": pitch}})
        moved.append(job)
        words += [([rng.randrange(256) for _ in range(4)], count) for count in lengths]
    bench = Bench(cfg, jobs, words, stall=stall, position=position)
    expected = reference(moved, words)[0]
    assert {address: bench.slave.memory.get(address) for address in expected} == expected
    assert bench.tokens == [job["give"] for job in jobs]


def test_sources_take_turns_without_a_gap():
    """Rows of one beat of either source, in turn: one per cycle."""
    cfg = make_config(128, 16, attention=True)
    jobs = [make_job(n << 16, 16, [(4, 64)], rows=n % 2) for n in range(8)]
    words = words_of(32, 16)
    sources = [[word for n in range(rows, 8, 2) for word in words[4 * n : 4 * n + 4]] for rows in (0, 1)]
    bench = Bench(cfg, jobs, sources[0], from_rows=sources[1])
    assert gaps(bench.slave.beat_cycles) == 0
    assert bench.slave.memory == reference(jobs, words)[0]


def words_of(count, lanes):
    rng = random.Random(count)
    return [([rng.randrange(256) for _ in range(lanes)], lanes) for _ in range(count)]


def gaps(cycles):
    return cycles[-1] - cycles[0] + 1 - len(cycles)


def test_one_row_per_cycle():
    """Rows of one beat, in bursts of one beat, at full rate and at a latency of 100 cycles, across jobs."""
    cfg = make_config(128, 16)
    bench = Bench(cfg, [make_job(n << 16, 16, [(60, 64)]) for n in range(4)], words_of(240, 16), latency=100)
    assert gaps(bench.slave.beat_cycles) == 0
    assert bench.slave.write_bursts[1] == (64, 1) and len(bench.slave.write_bursts) == 240


@pytest.mark.parametrize(("lanes", "count"), [(32, 100), (16, 100), (4, 400)])
def test_one_beat_or_word_per_cycle_in_long_rows(lanes, count):
    cfg = make_config(128, lanes)
    bench = Bench(cfg, [make_job(n << 16, lanes * count // 2, []) for n in range(2)], words_of(count, lanes))
    cycles = bench.slave.beat_cycles
    words_per_beat = max(1, 16 // lanes)
    slack = 16 * words_per_beat  # the last burst leaves at once, when its last word is there
    assert cycles[-1] - cycles[0] + 1 <= len(cycles) * words_per_beat + slack
    assert max(beats for _, beats in bench.slave.write_bursts) == 16


@pytest.mark.parametrize(("bus", "lanes", "size"), [(128, 16, 1), (64, 16, 2), (64, 4, 1)])
def test_one_short_word_per_cycle(bus, lanes, size):
    """Words of narrow elements: far shorter than they could be, one per cycle across beats, rows and jobs."""
    words = [(data, size) for data, _ in words_of(240, lanes)]
    jobs = [make_job((n << 16) + 3, 20 * size, [(4, 20 * size + 5)]) for n in range(3)]
    bench = Bench(make_config(bus, lanes), jobs, words)
    assert bench.slave.memory == reference(jobs, words)[0]
    latency = 20  # from the first job to its first word, and from the last word to the last response
    assert bench.token_cycles[-1] - 1000 <= len(words) + latency


def test_marks_do_not_stop_later_jobs():
    cfg = make_config(64, 8)
    jobs = [make_job(n << 16, 8, [(20, 8)], mark=1, tag=n) for n in range(6)]
    bench = Bench(cfg, jobs, words_of(120, 8), latency=20)
    assert len(bench.slave.beat_cycles) == 120 + 12
    assert bench.slave.beat_cycles[-1] - bench.slave.beat_cycles[0] < 132 + 50


def test_error_response_is_reported():
    cfg = make_config(64, 8, max_write_burst=4)
    bench = Bench(cfg, [make_job(0, 64, [(3, 64)])], words_of(24, 8), bad=(32, 128))
    assert bench.errors == [32, 128]


def test_clear_restarts_the_mark_table():
    cfg = make_config(128, 16)
    dut = StoreEngine(cfg)
    slave = AxiSlave(cfg)
    job = make_job(0, 16, [], mark=1, tag=7)
    word = {"data": [1] * 16, "count": 16}

    async def testbench(ctx):
        ctx.set(dut.mark_base, MARK_BASE)
        for expected in (1, 2, 1):
            if expected == 1:
                ctx.set(dut.clear, 1)
                await ctx.tick()
                ctx.set(dut.clear, 0)
            for stream, item in ((dut.job, job), (dut.i, word)):
                ctx.set(stream.payload, item)
                ctx.set(stream.valid, 1)
                await ctx.tick().until(stream.ready)
                ctx.set(stream.valid, 0)
            await ctx.tick().until(~dut.busy)
            assert ctx.get(dut.marks) == expected
        assert slave.write_bursts[1::2] == [(MARK_BASE + 16 * n, 1) for n in (0, 1, 0)]

    simulate(dut, [testbench], [slave.writer(dut.axi)])


def test_drain_ends_what_has_begun_and_discards_words():
    cfg = make_config(64, 8, max_write_burst=2, writes_in_flight=2)
    dut = StoreEngine(cfg)
    slave = AxiSlave(cfg, latency=20, stall=0.5)

    async def testbench(ctx):
        await ctx.tick().repeat(60)
        assert not ctx.get(dut.idle)
        ctx.set(dut.drain, 1)
        issued = len(slave.write_bursts) + ctx.get(dut.axi.awvalid)
        await ctx.tick().until(dut.idle)
        assert ctx.get(dut.i.ready)
        await ctx.tick().repeat(100)
        assert len(slave.write_bursts) == issued
        assert len(slave.beat_cycles) == sum(beats for _, beats in slave.write_bursts)

    words = [{"data": data, "count": count} for data, count in words_of(500, 8)]
    background = [sender(dut.job, [make_job(0, 8 * 500, [])]), sender(dut.i, words), slave.writer(dut.axi)]
    simulate(dut, [testbench], background, cycles=3000)
