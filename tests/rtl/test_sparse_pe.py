"""The sparse PE against a plain model: sums, places, order of columns, cycles to the cycle, errors."""

import random

import pytest

from rtl.sparse_pe import SparsePE
from tests.rtl.sparse_bench import Bench, Job, entries_of, make_config

SHAPES = [
    {"queue": 1}, {"queue": 2, "code_bits": 8, "run_bits": 8, "accumulators": 400}, {"queue": 8, "bits": 16},
    {"queue": 5, "bus_bits": 512, "code_bits": 8}, {"queue": 3, "bus_bits": 256, "run_bits": 1, "code_bits": 1},
    {"queue": 8, "bits": 16, "bus_bits": 128, "code_bits": 5, "run_bits": 5, "codebooks": 3},
    {"queue": 4, "accumulators": 2, "run_bits": 3, "code_bits": 3, "codebooks": 1},
    {"queue": 3, "accumulators": 5, "codebooks": 1, "weight_bytes": 8, "pointer_bytes": 8},
    {"queue": 16, "bits": 16, "bus_bits": 512, "code_bits": 2, "run_bits": 2},
]  # fmt: skip


def _name(shape):
    return "-".join(f"{name}{value}" for name, value in shape.items())


def _value(rng, cfg):
    """An activation less its zero point: the whole range, its ends often, never zero."""
    half = 1 << cfg.numbers.act_bits
    return rng.choice([-half, half - 1, 1, -1]) if rng.random() < 0.3 else rng.choice([-1, 1]) * rng.randrange(1, half)


def _columns(rng, cfg, rows, count):
    """Columns of random density: empty ones, full ones, single entries at either end."""
    codes = 1 << cfg.sparse.code_bits
    columns = []
    for _ in range(count):
        density = rng.choice([0, 0, 0.05, 0.3, 1])
        column = [rng.randrange(1, codes) if rng.random() < density else 0 for _ in range(rows)]
        if rows and rng.random() < 0.3:
            column = [0] * rows
            column[rng.choice([0, -1, rng.randrange(rows)])] = rng.randrange(1, codes)
        columns.append(entries_of(column, cfg.sparse.run_bits))
    return columns


def _random_job(rng, cfg):
    rows = rng.choice([0, 1, cfg.sparse.accumulators, rng.randint(1, cfg.sparse.accumulators)])
    columns = _columns(rng, cfg, rows, rng.randint(1, 40))
    entry_room = cfg.sparse.weight_bytes // cfg.entry_bytes
    while sum(map(len, columns)) > entry_room or 2 * (len(columns) + 1) > cfg.sparse.pointer_bytes:
        columns.pop()
    beats = -(-sum(map(len, columns)) * cfg.entry_bytes // cfg.bus_bytes)
    pointer_beats = -(-2 * (len(columns) + 1) // cfg.bus_bytes)
    chosen = sorted(rng.sample(range(len(columns)), rng.randint(0, len(columns))))
    if rng.random() < 0.3:
        chosen += [chosen[-1]] * 4 if chosen else []  # the same places again and again
    return Job(
        columns, [(k, _value(rng, cfg)) for k in chosen], rows, rng.randrange(cfg.sparse.codebooks),
        rng.randint(0, cfg.sparse.weight_bytes // cfg.bus_bytes - beats),
        rng.randint(0, cfg.sparse.pointer_bytes // cfg.bus_bytes - pointer_beats),
    )  # fmt: skip


@pytest.mark.parametrize("stall", [0.0, 0.7])
@pytest.mark.parametrize("shape", SHAPES, ids=_name)
def test_random_jobs(shape, stall):
    """Sums of each job leave while the next one runs in the other bank; some jobs go on adding."""
    cfg = make_config(**shape)
    bench = Bench(cfg, seed=f"{shape} {stall}")
    rng = bench.rng

    async def testbench(ctx):
        bank = 0
        for _ in range(8):
            job = _random_job(rng, cfg)
            await bench.load(ctx, job)
            await bench.begin(ctx, job, bank)
            await bench.send(ctx, job, stall)
            if rng.random() < 0.7:
                while bench.to_drain:
                    await bench.tick(ctx)
                bank = 1 - bank
                bench.to_drain = rng.sample(range(cfg.sparse.accumulators), cfg.sparse.accumulators)
        while bench.to_drain:
            await bench.tick(ctx)
        await bench.begin(ctx, job, 1 - bank)
        await bench.drain(ctx)
        assert bench.sums[bank] == [0] * cfg.sparse.accumulators

    bench.run(testbench, 40000)


def _run_alone(cfg, columns, activations, rows, seed=0):
    """One job from an idle PE; returns the cycles from its first activation to idle, its sums, the codebook."""
    bench = Bench(cfg, seed)
    job = Job(columns, activations, rows)
    result = []

    async def testbench(ctx):
        await bench.load(ctx, job)
        await bench.begin(ctx, job, 0)
        await bench.send(ctx, job)
        result.extend([bench.cycle, list(bench.sums[0]), bench.codebooks[0]])
        await bench.begin(ctx, job, 1)
        await bench.drain(ctx)

    bench.run(testbench)
    return result


@pytest.mark.parametrize("gap", [14, 15, 16, 17, 31, 32, 33, 47, 48])
def test_gaps(gap):
    cfg = make_config()
    column = [0] * 70
    column[gap] = 3
    column[min(2 * gap + 1, 69)] = 5
    entries = entries_of(column, 4)
    assert len(entries) == 2 + gap // 16 + (min(2 * gap + 1, 69) - gap - 1) // 16
    cycles, sums, codebook = _run_alone(cfg, [entries] * 3, [(0, 7), (1, -256), (2, 255)], 70)
    assert sums == [codebook[code] * 6 if code else 0 for code in column]
    assert cycles == SparsePE.start + 3 * len(entries) + SparsePE.latency


def test_columns_follow_each_other_without_a_gap():
    """Columns of 0, 1, 2, ... entries: as many cycles as entries, one for an empty column, at every alignment."""
    cfg = make_config()
    lengths = [0, 1, 0, 0, 2, 3, 1, 1, 1, 9, 0, 8, 1, 7, 16, 0, 0, 0, 5]
    columns = [[(0, 1 + n % 15) for n in range(length)] for length in lengths]
    cycles, *_ = _run_alone(cfg, columns, [(k, 1 + k) for k in range(len(columns))], 70)
    assert cycles == SparsePE.start + sum(max(1, n) for n in lengths) + SparsePE.latency


def test_one_place_again_and_again():
    """Sums of consecutive cycles, every second and every third cycle at one place; extremes wrap around."""
    cfg = make_config(bits=16, accumulators=3)
    columns = [[(0, 1)], [(1, 2)], [(2, 3)], [], [(0, 4), (0, 5)], [(0, 6), (1, 7)]]
    rng = random.Random(4)
    activations = [(rng.choice([0, 0, 0, 1, 2, 3, 4, 5]), rng.choice([-65536, 65535, 1])) for _ in range(600)]
    _run_alone(cfg, columns, activations, 3)


def test_sums_are_modular():
    cfg = make_config(accumulators=2)
    bench = Bench(cfg)
    bench.codebooks[0][1] = -128
    bench.sums[0][0] = 0
    job = Job([[(0, 1)]], [(0, -256)] * 200, 1)

    async def testbench(ctx):
        await bench.load(ctx, job)
        await bench.begin(ctx, job, 0)
        for _ in range(4):
            await bench.send(ctx, job)
        assert bench.sums[0][0] == 800 * 32768
        await bench.begin(ctx, job, 1)
        await bench.drain(ctx)

    bench.run(testbench)


# -- errors ----------------------------------------------------------------------------------------


def _fail(columns, activations, rows, pointers=None, entries=None):
    """Run a bad job; returns the error, and all sums."""
    cfg = make_config()
    bench = Bench(cfg, 3)
    job = Job(columns, activations, rows)
    if pointers:
        job.listed = pointers
    found = []

    async def testbench(ctx):
        await bench.load(ctx, job)
        await bench.begin(ctx, job, 0)
        if entries is not None:
            ctx.set(bench.dut.entries, entries)
        bench.lawful = False
        for activation in activations:
            for _ in range(10):  # what is in flight gets there
                await bench.tick(ctx)
            while not await bench.tick(ctx, activation):
                pass
        for _ in range(100):
            await bench.tick(ctx)
        assert ctx.get(bench.dut.idle)
        error = ctx.get(bench.dut.error)
        ctx.set(bench.dut.bank, 1)
        sums = []
        ctx.set(bench.dut.drain, 1)
        for place in range(cfg.sparse.accumulators):
            ctx.set(bench.dut.drain_place, place)
            await ctx.tick()
            sums.append(ctx.get(bench.dut.drained))
        ctx.set(bench.dut.drain, 0)
        found.extend([error, sums])
        # A reset makes everything as new: what the banks held is gone.
        ctx.set(bench.reset, 1)
        await ctx.tick()
        ctx.set(bench.reset, 0)
        bench.forget()
        good = Job([[(0, 1), (0, 2)]], [(0, 5), (0, -3)], 2)
        await bench.prepare(ctx)
        await bench.load(ctx, good)
        await bench.begin(ctx, good, 0)
        await bench.send(ctx, good)
        await bench.begin(ctx, good, 1)
        await bench.drain(ctx)

    bench.run(testbench)
    return found[0], found[1], bench.codebooks[0]


def test_a_run_beyond_the_rows_adds_nothing():
    columns = [[(0, 1)], [(1, 2), (15, 0), (2, 3), (0, 4)], [(0, 5)]]
    for rows, added in ((21, 2), (20, 1), (18, 1), (17, 1), (2, 1)):
        error, sums, weights = _fail(columns, [(0, 3), (1, 4), (2, 5)], rows)
        assert (error.run, error.pointer, error.column) == (1, 0, 1)
        assert added == 1 + (rows == 21)
        wanted = [0] * 70
        wanted[0] = weights[1] * 3
        wanted[1] = weights[2] * 4
        if rows == 21:
            wanted[20] = weights[3] * 4
        assert sums == wanted


def test_an_entry_of_a_pe_without_rows():
    error, sums, _ = _fail([[(0, 1)]], [(0, 3)], 0)
    assert (error.run, error.column) == (1, 0) and sums == [0] * 70


@pytest.mark.parametrize(("pointers", "entries"), [([0, 3, 1, 4], 9), ([0, 3, 9, 11], 8), ([0, 3, 0xFFFF, 4], 0xFFFE)])
def test_a_bad_pointer_walks_nothing(pointers, entries):
    columns = [[(0, 1), (0, 2), (0, 3)], [(0, 4)] * 6, [(0, 5)] * 2]
    error, sums, weights = _fail(columns, [(0, -7), (1, 4), (2, 5)], 70, pointers, entries)
    assert (error.run, error.pointer, error.column) == (0, 1, 1)
    assert sums == [weights[code] * -7 for code in (1, 2, 3)] + [0] * 67


def test_entries_up_to_the_last_are_no_error():
    """A column may end where the entries do, a run with the last row."""
    cfg = make_config(accumulators=16)
    cycles, *_ = _run_alone(cfg, [[(15, 1)], [(7, 2), (7, 3)]], [(1, 9), (0, 9)], 16)
    assert cycles == SparsePE.start + 3 + SparsePE.latency
