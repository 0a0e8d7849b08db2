"""The vector unit against :mod:`vector_model`: results, timing, tokens, stalls."""

import gc
import random
from collections import deque
from dataclasses import dataclass, field

import pytest
from amaranth.sim import Simulator

from rtl.queue import Queue
from rtl.vector import VectorEngine
from rtl.vector_lane import VectorLane
from rtl.vector_table import LaneTable
from tests.rtl import vector_model as model
from tests.rtl.vector_model import Memories, make_config, random_job


@dataclass
class Run:
    """What happened, in cycle numbers, and the latency the unit states."""

    latency: int
    words: list = field(default_factory=list)  # (cycle, valid bytes), to STORE
    kept: list = field(default_factory=list)  # (address, valid bytes), to the operand buffer
    rows: list = field(default_factory=list)  # (cycle, elements), to the row engine
    acc_reads: list = field(default_factory=list)
    operand_reads: list = field(default_factory=list)
    begun: list = field(default_factory=list)
    done: list = field(default_factory=list)  # (cycle, mask, words that had left)
    busy: list = field(default_factory=list)
    stalled: list = field(default_factory=list)


def simulate(cfg, memories, jobs, ready=lambda cycle: True, offer=lambda cycle: True, latencies=(2, 2), limit=6000):
    """Write the parameters, run the jobs and record."""
    dut = VectorEngine(cfg, *latencies)
    result = Run(dut.latency)
    rng = random.Random(1)

    most = 1 << cfg.numbers.act_bits - 1

    async def job_side(ctx):
        for address, beat in memories.param_beats(cfg):
            ctx.set(dut.param_write.payload, {"address": address, "data": list(beat), "first": 0, "count": len(beat)})
            ctx.set(dut.param_write.valid, 1)
            await ctx.tick()
        ctx.set(dut.param_write.valid, 0)
        if cfg.attention:
            await write_rows(ctx)
        cycle = 0
        for job in jobs:
            while not offer(cycle):
                cycle += 1
                await ctx.tick()
            ctx.set(dut.job.payload, job)
            ctx.set(dut.job.valid, 1)
            taken = False
            while not taken:
                _, _, taken = await ctx.tick().sample(dut.job.ready)
                cycle += 1
            ctx.set(dut.job.valid, 0)

    async def write_rows(ctx):
        for address, beat in memories.table_beats(cfg):
            ctx.set(dut.table.payload, {"address": address, "data": list(beat), "first": 0, "count": len(beat)})
            ctx.set(dut.table.valid, 1)
            await ctx.tick()
        ctx.set(dut.table.valid, 0)
        for entry, (multiplier, shift) in enumerate([*memories.scales, (1, 1)]):
            ctx.set(dut.scale.payload, {"entry": entry, "multiplier": multiplier, "shift": shift})
            ctx.set(dut.scale.valid, 1)
            await ctx.tick()
        ctx.set(dut.scale.valid, 0)

    async def rows_side(ctx):
        cycle = 0
        while True:
            ctx.set(dut.rows.ready, ready(cycle))
            *_, valid, is_ready, word = await ctx.tick().sample(dut.rows.valid, dut.rows.ready, dut.rows.payload)
            if valid and is_ready:
                result.rows.append((cycle, list(word)))
            cycle += 1

    def memory_side(port, data, latency, read, reads):
        async def process(ctx):
            waiting = deque([None] * (latency - 1))
            cycle = 0
            while True:
                _, _, valid, address = await ctx.tick().sample(port.valid, port.payload)
                if valid:
                    reads.append(cycle)
                waiting.append(address if valid else None)
                due = waiting.popleft()
                # Rubbish wherever nothing was asked for: the unit must look in the right cycle only.
                ctx.set(data, read(due) if due is not None else [rng.randrange(128) for _ in range(cfg.lanes)])
                cycle += 1
        return process

    async def output_side(ctx):
        for cycle in range(limit):
            ctx.set(dut.o.ready, ready(cycle))
            sampled = await ctx.tick().sample(
                dut.o.valid, dut.o.ready, dut.o.payload, dut.done.valid, dut.done.payload, dut.busy, dut.stalled,
                dut.job.valid, dut.job.ready,
            )
            valid, is_ready, word, done, mask, busy, stalled, job_valid, job_ready = sampled[2:]
            if job_valid and job_ready:
                result.begun.append(cycle)
            result.busy.append(busy)
            result.stalled.append(stalled)
            if done:
                result.done.append((cycle, mask, len(result.words)))
            if valid and is_ready:
                data = b"".join(element.to_bytes(cfg.act_bytes, "little") for element in word.data)
                result.words.append((cycle, data[: word.count]))
            if len(result.done) == len(jobs) and not busy:
                return
        raise AssertionError(f"{len(result.done)} of {len(jobs)} jobs done after {limit} cycles")

    async def result_side(ctx):
        cycle = 0
        while True:
            ctx.set(dut.result.ready, ready(cycle))
            _, _, valid, is_ready, write = await ctx.tick().sample(
                dut.result.valid, dut.result.ready, dut.result.payload
            )
            if valid and is_ready:
                assert write.first == 0
                result.kept.append((write.address, bytes(write.data)[: write.count]))
            cycle += 1

    def operand_word(address):
        return [element % (2 * most) for element in memories.word(cfg, address)]

    simulator = Simulator(dut)
    simulator.add_clock(1e-9)
    simulator.add_testbench(job_side, background=True)
    acc = memory_side(
        dut.acc_address, dut.acc_data, latencies[0], lambda a: memories.acc[a % model.ACC_WORDS], result.acc_reads
    )
    operand = memory_side(dut.operand_address, dut.operand_data, latencies[1], operand_word, result.operand_reads)
    simulator.add_testbench(acc, background=True)
    simulator.add_testbench(operand, background=True)
    simulator.add_testbench(result_side, background=True)
    if cfg.attention:
        simulator.add_testbench(rows_side, background=True)
    simulator.add_testbench(output_side)
    simulator.run()
    return result


def check(cfg, memories, jobs, result):
    """Words and tokens of all jobs, in order; a token never before its job's last word."""
    found = [model.run(cfg, memories, job) for job in jobs]
    to_rows = [word for words, job in zip(found, jobs, strict=True) if job["mode"].get("rows") for word in words]
    assert [row[: len(word)] for (_, row), word in zip(result.rows, to_rows, strict=True)] == to_rows
    results = [
        [model.image(cfg, job, word) for word in words if not job["mode"].get("rows")]
        for words, job in zip(found, jobs, strict=True)
    ]
    kept = [list(zip(model.kept(j), r, strict=bool(model.kept(j)))) for j, r in zip(jobs, results, strict=True)]
    assert result.kept == [write for writes in kept for write in writes]
    expected = [[] if writes else words for words, writes in zip(results, kept, strict=True)]
    assert [w for _, w in result.words] == [w for words in expected for w in words]
    assert [mask for _, mask, _ in result.done] == [job["give"] for job in jobs]
    left = 0
    for words, (_, _, seen) in zip(expected, result.done, strict=True):
        left += len(words)
        assert seen >= left


@pytest.mark.parametrize("stall", [0.0, 0.6])
@pytest.mark.parametrize(("lanes", "bus"), [(1, 64), (3, 64), (4, 128), (16, 128), (3, 256)])
@pytest.mark.parametrize("bits", [8, 16])
def test_random_jobs(lanes, bus, bits, stall):
    """Jobs of all kinds, one after the other, each with its own constants."""
    cfg = make_config(lanes, bus, bits=bits)
    rng = random.Random(f"{lanes} {bus} {bits} {stall}")
    memories = Memories.random(rng, cfg)
    kinds = [kind for kind in model.KINDS for _ in range(2 if lanes == 16 else 4)]
    rng.shuffle(kinds)
    jobs = [random_job(rng, cfg, kind) for kind in kinds]
    result = simulate(cfg, memories, jobs, lambda _: rng.random() >= stall, lambda _: rng.random() >= stall)
    check(cfg, memories, jobs, result)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("stall", [0.0, 0.6])
def test_kept_words(bits, stall):
    """Jobs that keep their words for the operand buffer among jobs that do not; each runs alone."""
    cfg = make_config(3, bits=bits)
    rng = random.Random(f"kept {bits} {stall}")
    memories = Memories.random(rng, cfg)
    jobs = [random_job(rng, cfg, kind) for kind in ("acc", "acc_add") * 8]
    jobs = [model.keeping(rng, job) if rng.random() < 0.6 else job for job in jobs]
    result = simulate(cfg, memories, jobs, lambda _: rng.random() >= stall, lambda _: rng.random() >= stall)
    check(cfg, memories, jobs, result)
    for i, job in enumerate(jobs[:-1]):
        if job["mode"].get("keep") or jobs[i + 1]["mode"].get("keep"):
            assert result.begun[i + 1] > result.done[i][0]


@pytest.mark.parametrize("stall", [0.0, 0.6])
@pytest.mark.parametrize(("lanes", "window_words"), [(1, 0), (2, 9), (3, 0), (5, 0), (8, 24)])
def test_turned_accumulators(lanes, window_words, stall):
    """Blocks of pixels are turned, in any mixture with jobs on operands and windows."""
    cfg = make_config(lanes, window_words=window_words, turned=True)
    rng = random.Random(f"turn {lanes} {stall}")
    memories = Memories.random(rng, cfg)
    kinds = [*("turn",) * 6, "none", "sum", "max", "operand_add", *(("window",) if window_words else ())]
    rng.shuffle(kinds)
    jobs = []
    for kind in kinds:
        if kind == "window":
            jobs += model.window_jobs(rng, cfg, 2)
        elif kind == "turn":
            jobs.append(model.turned_job(rng, cfg))
        else:
            jobs.append(random_job(rng, cfg, kind))
    unused = {"turn": {"first": 0, "count": 1}}
    if window_words:
        unused["window"] = {"stride_x": 1, "stride_y": 1, "skip": 0, "max": 0}
    jobs = [unused | job for job in jobs]
    result = simulate(cfg, memories, jobs, lambda _: rng.random() >= stall, lambda _: rng.random() >= stall)
    check(cfg, memories, jobs, result)


def test_last_windows_come_while_turned_accumulators_are_next():
    """A job on accumulators is taken with the last read of windows, whose words are still on their way."""
    cfg = make_config(3, window_words=24, turned=True)
    rng = random.Random("windows, then turned")
    memories = Memories.random(rng, cfg)
    windows = [job for _ in range(6) for job in model.window_jobs(rng, cfg, 2)]
    unused = {"turn": {"first": 0, "count": 1}, "window": {"stride_x": 1, "stride_y": 1, "skip": 0, "max": 0}}
    jobs = [unused | job for pair in windows for job in (pair, model.turned_job(rng, cfg))]
    check(cfg, memories, jobs, simulate(cfg, memories, jobs))


def test_turned_blocks_follow_each_other():
    """One read per cycle, and the first word ``latency`` cycles after the last read of its block."""
    cfg = make_config(4, turned=True)
    rng = random.Random("rate")
    memories = Memories.random(rng, cfg)
    jobs = [model.turned_job(rng, cfg, sizes=(2,)) | {"turn": {"first": 0, "count": 4}} for _ in range(3)]
    result = simulate(cfg, memories, jobs)
    check(cfg, memories, jobs, result)
    reads = result.acc_reads
    assert reads == list(range(reads[0], reads[0] + len(reads)))
    assert result.words[0][0] == reads[3] + 1 + result.latency
    assert result.words[-1][0] == reads[-1] + 4 + result.latency


@pytest.mark.parametrize("latencies", [(1, 1), (1, 3), (4, 2)])
def test_memory_latencies(latencies):
    cfg = make_config(2)
    rng = random.Random(str(latencies))
    memories = Memories.random(rng, cfg)
    jobs = [random_job(rng, cfg, kind) for kind in ("acc", *model.KINDS * 2)]
    result = simulate(cfg, memories, jobs, latencies=latencies)
    check(cfg, memories, jobs, result)
    # The address of the faster memory is sent later; the job of the slower one tells the latency.
    assert result.words[0][0] == result.acc_reads[0] + result.latency - max(0, latencies[1] - latencies[0])


def test_one_word_jobs():
    """Jobs of a single word, of every kind, several of which could be in the pipeline at once."""
    cfg = make_config(2)
    rng = random.Random(3)
    memories = Memories.random(rng, cfg)
    jobs = [random_job(rng, cfg, kind, sizes=(1,)) for kind in model.KINDS * 3]
    check(cfg, memories, jobs, simulate(cfg, memories, jobs))


@pytest.mark.parametrize("kind", model.KINDS)
def test_full_rate(kind):
    """A read in every cycle, across words and jobs; latency as published."""
    cfg = make_config(3)
    rng = random.Random(kind)
    memories = Memories.random(rng, cfg)
    jobs = [random_job(rng, cfg, kind, sizes=(3,)) for _ in range(3)]
    result = simulate(cfg, memories, jobs)
    check(cfg, memories, jobs, result)
    reads = result.acc_reads if kind in ("acc", "acc_add") else result.operand_reads
    assert reads == list(range(reads[0], reads[0] + sum(model.reads(job) for job in jobs)))
    if kind == "acc_add":
        assert result.operand_reads == result.acc_reads
    if kind == "acc":
        assert not result.operand_reads
    taps = jobs[0]["operand_tap_a"]["count"] * jobs[0]["operand_tap_b"]["count"]
    assert result.words[0][0] == reads[taps - 1] + result.latency
    assert result.words[-1][0] == reads[-1] + result.latency
    assert not any(result.stalled)


def test_stall_counts_and_loses_nothing():
    """A sink that stops for long: reads stop, the unit says so, and goes on."""
    cfg = make_config(2)
    rng = random.Random(9)
    memories = Memories.random(rng, cfg)
    jobs = [random_job(rng, cfg, "acc_add", sizes=(3,))]
    result = simulate(cfg, memories, jobs, ready=lambda cycle: cycle < 70 or cycle > 200)
    check(cfg, memories, jobs, result)
    assert all(result.stalled[120:200])
    assert not any(result.stalled[c] and not result.busy[c] for c in range(len(result.busy)))
    assert not any(c in range(120, 200) for c in result.acc_reads)


def test_busy_covers_the_job():
    """Busy from the cycle after begin up to and including the token."""
    cfg = make_config(1)
    rng = random.Random(4)
    memories = Memories.random(rng, cfg)
    jobs = [random_job(rng, cfg, "acc")]
    result = simulate(cfg, memories, jobs)
    begin, done = result.begun[0], result.done[0][0]
    assert [c for c, busy in enumerate(result.busy) if busy] == list(range(begin + 1, done + 1))
    assert result.words[-1][0] == done - 1


@pytest.mark.parametrize("stall", [0.0, 0.6])
@pytest.mark.parametrize(("lanes", "bus", "window_words"), [(1, 64, 0), (3, 128, 9), (6, 64, 0)])
def test_rows_and_tables(lanes, bus, window_words, stall):
    """Words to the row engine, wide and narrow, row scales, tables and halves, mixed with jobs of all kinds."""
    cfg = make_config(lanes, bus, window_words=window_words, attention=True)
    rng = random.Random(f"rows {lanes} {stall}")
    memories = Memories.random(rng, cfg)
    kinds = [kind for kind in model.KINDS for _ in range(3 if lanes == 6 else 5)]
    rng.shuffle(kinds)
    jobs = [model.row_job(rng, cfg, kind, sizes=(1, 1, 2)) for kind in kinds]
    jobs += [model.keeping(rng, random_job(rng, cfg, "acc")) for _ in range(2)]
    if window_words:
        jobs = [{"window": {"stride_x": 1, "stride_y": 1, "skip": 0, "max": 0}} | job for job in jobs]
    rng.shuffle(jobs)
    result = simulate(cfg, memories, jobs, lambda _: rng.random() >= stall, lambda _: rng.random() >= stall)
    check(cfg, memories, jobs, result)


@pytest.mark.parametrize("rows", [0, 1])
def test_full_rate_of_rows(rows):
    """With attention the latency is longer, wherever words go; the rate is the same."""
    cfg = make_config(2, attention=True)
    rng = random.Random(rows)
    memories = Memories.random(rng, cfg)
    jobs = [model.row_job(rng, cfg, "acc", sizes=(3,)) for _ in range(3)]
    for job in jobs:
        job["mode"] |= {"rows": rows, "wide": rows}
    result = simulate(cfg, memories, jobs)
    check(cfg, memories, jobs, result)
    reads, words = result.acc_reads, result.rows if rows else result.words
    assert reads == list(range(reads[0], reads[0] + 3 * 81))
    assert [words[0][0], words[-1][0]] == [reads[0] + result.latency, reads[-1] + result.latency]
    assert result.latency == 2 + VectorLane.latency + LaneTable.latency + Queue.latency


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_latency_zero_is_refused():
    with pytest.raises(ValueError, match="operand_latency must be at least 1, not 0"):
        VectorEngine(make_config(1), operand_latency=0)
    gc.collect()  # the half-made component warns when it is collected: now, where that is expected


@pytest.mark.parametrize("lanes, bus, attention", [(1, 64, False), (3, 64, True), (4, 128, False)])
@pytest.mark.parametrize("stall", [0.0, 0.6])
def test_products(lanes, bus, attention, stall):
    """Products of two operands among jobs of all other kinds, windows included."""
    cfg = make_config(lanes, bus, window_words=12, attention=attention, products=True)
    rng = random.Random(f"products {lanes} {stall}")
    memories = Memories.random(rng, cfg)
    kinds = ["product"] * 12 + [*model.KINDS]
    rng.shuffle(kinds)
    jobs = [random_job(rng, cfg, kind) for kind in kinds]
    jobs[5:5] = model.window_jobs(rng, cfg, 3)
    result = simulate(cfg, memories, jobs, lambda _: rng.random() >= stall, lambda _: rng.random() >= stall)
    check(cfg, memories, jobs, result)


def test_products_need_no_more_cycles():
    """An output word per two reads, without a gap, as additions have it."""
    cfg = make_config(3, window_words=12, products=True)
    rng = random.Random("rate")
    memories = Memories.random(rng, cfg)
    jobs = [random_job(rng, cfg, "product", (3, 4)) for _ in range(4)]
    result = simulate(cfg, memories, jobs)
    check(cfg, memories, jobs, result)
    first, count = result.operand_reads[0], len(result.operand_reads)
    assert result.operand_reads == list(range(first, first + count))
