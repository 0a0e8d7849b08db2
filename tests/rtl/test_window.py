"""Windows in the vector unit against :mod:`vector_model`: sums and maxima, strides, continued rows, timing."""

import random

import pytest

from rtl.window import Window
from tests.rtl import vector_model as model
from tests.rtl.test_vector import check, simulate
from tests.rtl.vector_model import Memories, make_config, random_job, window_jobs


@pytest.mark.parametrize("stall", [0.0, 0.6])
@pytest.mark.parametrize(("lanes", "bits", "words"), [(1, 64, 3), (3, 64, 40), (4, 128, 17), (9, 128, 24)])
def test_random_layers_between_other_jobs(lanes, bits, words, stall):
    cfg = make_config(lanes, bits, window_words=words)
    rng = random.Random(f"{lanes} {bits} {stall}")
    memories = Memories.random(rng, cfg)
    jobs = []
    for _ in range(3):
        for job in window_jobs(rng, cfg, rng.randrange(1, 4)):
            jobs.append(job)
            if rng.random() < 0.5:
                other = random_job(rng, cfg, rng.choice(model.KINDS))
                jobs.append(other | {"window": {name: 3 for name in ("stride_x", "stride_y", "skip")} | {"max": 1}})
    def moves(_):
        return rng.random() >= stall

    result = simulate(cfg, memories, jobs, moves, moves, limit=20000)
    check(cfg, memories, jobs, result)


def test_rows_of_one_block_follow_each_other():
    """A block returns in the next cycle: its columns are still on their way to the memory."""
    cfg = make_config(2, entries=1, window_words=5)
    rng = random.Random(2)
    memories = Memories.random(rng, cfg)
    jobs = window_jobs(rng, cfg, 4)
    check(cfg, memories, jobs, simulate(cfg, memories, jobs))


def test_jobs_without_outputs():
    """Rows that only fill the window end with a token and no word."""
    cfg = make_config(3, window_words=20)
    rng = random.Random(5)
    memories = Memories.random(rng, cfg)
    jobs = [*window_jobs(rng, cfg, 5, sizes=(1,)), *window_jobs(rng, cfg, 3, sizes=(1,))]
    assert [len(model.run(cfg, Memories.random(rng, cfg), jobs[0]))] == [0]
    check(cfg, memories, jobs, simulate(cfg, memories, jobs))


def test_full_rate():
    """A read in every cycle through all rows and jobs, with outputs or without; latency as published."""
    cfg = make_config(3, window_words=30)
    rng = random.Random(1)
    memories = Memories.random(rng, cfg)
    jobs = window_jobs(rng, cfg, 3, sizes=(6,))
    for job in jobs:
        job["window"] |= {"stride_x": 1, "stride_y": 1}
    after = random_job(rng, cfg, "acc") | {"window": jobs[0]["window"]}
    result = simulate(cfg, memories, [*jobs, after])
    check(cfg, memories, [*jobs, after], result)
    reads = result.operand_reads
    assert reads == list(range(reads[0], reads[0] + sum(model.reads(job) for job in jobs)))
    first = model.reads(jobs[0]) // 6 * 2 + 2 * jobs[0]["operand_block"]["count"]  # two rows and two pixels
    assert result.words[0][0] == reads[first] + result.latency + Window.latency
    assert result.acc_reads[0] == reads[-1] + 1 + Window.latency  # so that it does not overtake
    assert not any(result.stalled)
