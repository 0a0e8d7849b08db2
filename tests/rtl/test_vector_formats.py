"""Elements narrower than a byte in the vector unit: every combination of formats, in jobs of every kind."""

import random
from itertools import cycle, product

import pytest
from amaranth import Module
from amaranth.sim import Simulator

from rtl.elements import Pack, Unpack
from tests.rtl import vector_model as model
from tests.rtl.test_vector import check, simulate
from tests.rtl.vector_model import Memories, make_config, random_job

NAMES = ("source", "addend", "result")


def formats(cfg, rng):
    """Every combination of formats, in random order."""
    logarithms = [bits.bit_length() - 1 for bits in cfg.containers]
    combinations = [dict(zip(NAMES, three, strict=True)) for three in product(logarithms, repeat=3)]
    rng.shuffle(combinations)
    return combinations


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize(
    ("multiplier", "lanes", "bus"), [("fusion", 4, 64), ("fusion", 20, 128), ("binary", 8, 64), ("ternary", 8, 128)]
)
def test_every_combination_of_formats(multiplier, lanes, bus, stall):
    """Drains, sums, maxima and additions, some of which keep their words; a last block may fill no byte."""
    cfg = make_config(lanes, bus, multiplier=multiplier)
    rng = random.Random(f"{multiplier} {lanes} {stall}")
    memories = Memories.random(rng, cfg)
    jobs = []
    for kind, three in zip(cycle(model.KINDS), formats(cfg, rng), strict=False):
        job = random_job(rng, cfg, kind) | {"formats": three}
        jobs.append(model.keeping(rng, job) if kind.startswith("acc") and rng.random() < 0.4 else job)
    result = simulate(cfg, memories, jobs, lambda _: rng.random() >= stall, lambda _: rng.random() >= stall)
    check(cfg, memories, jobs, result)


@pytest.mark.parametrize("multiplier", ["fusion", "binary"])
def test_windows_of_narrow_elements(multiplier):
    """Windows slide over elements; the next job begins while the last windows of the one before are inside."""
    cfg = make_config(8, window_words=24, multiplier=multiplier)
    rng = random.Random(f"windows {multiplier}")
    memories = Memories.random(rng, cfg)
    combinations, jobs = formats(cfg, rng), []
    for i in range(12):
        group = model.window_jobs(rng, cfg, 2) if i % 3 else [random_job(rng, cfg, rng.choice(model.KINDS))]
        jobs += [job | {"formats": rng.choice(combinations)} for job in group]
    unused = {"window": {"stride_x": 1, "stride_y": 1, "skip": 0, "max": 0}}
    jobs = [unused | job for job in jobs]
    check(cfg, memories, jobs, simulate(cfg, memories, jobs))


def test_rate_and_latency_do_not_depend_on_formats():
    cfg = make_config(4, multiplier="fusion")
    rng = random.Random("rate")
    memories = Memories.random(rng, cfg)
    jobs = [random_job(rng, cfg, "acc_add", sizes=(3,)) | {"formats": three} for three in formats(cfg, rng)[:4]]
    result = simulate(cfg, memories, jobs)
    check(cfg, memories, jobs, result)
    reads = result.acc_reads
    assert reads == result.operand_reads == list(range(reads[0], reads[0] + sum(model.reads(job) for job in jobs)))
    assert [when for when, _ in result.words] == [when + result.latency for when in reads]


@pytest.mark.parametrize("multiplier", ["fusion", "binary", "ternary"])
def test_elements_survive_packing(multiplier):
    """Every byte in every place, unpacked and packed again, in each format that there is."""
    cfg = make_config(8, multiplier=multiplier)
    unpack, pack = Unpack(cfg), Pack(cfg)

    async def bench(ctx):
        for bits in cfg.containers:
            for dut in (unpack, pack):
                ctx.set(dut.format, bits.bit_length() - 1)
            ctx.set(pack.valid, 0xFF)
            for byte in range(256):
                word = [byte] * bits + [0x5A] * (8 - bits)
                ctx.set(unpack.i, word)
                elements = [ctx.get(element) for element in unpack.o]
                lowest = -1 if bits == 1 else -1 << bits - 1
                assert all(lowest <= element < 1 << max(1, bits - 1) for element in elements)
                ctx.set(pack.i, elements)
                assert list(ctx.get(pack.o)) == [byte] * bits + [0] * (8 - bits)

    top = Module()
    top.submodules.unpack, top.submodules.pack = unpack, pack
    simulator = Simulator(top)
    simulator.add_testbench(bench)
    simulator.run()
