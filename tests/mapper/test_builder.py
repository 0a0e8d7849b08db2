"""Jobs wait for exactly what they must, whatever the timing, and no semaphore overflows."""

import random
from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows import config
from dataflows.isa import Unit
from dataflows.network import Network, Window
from mapper.builder import Builder
from mapper.compile import compile_network
from mapper.conv_plan import Options
from mapper.program import Job
from mapper.scoreboard import Access, Scoreboard
from mapper.tokens import CHANNELS, LIMIT, assign, find_edges, most_tokens
from tests.mapper.test_programs import check, small
from tests.random_layers import activation, convolution

QUEUE = 64
CFG = config.load("configs/tiny.toml")


def build(*jobs: tuple[Unit, list[Access]]) -> list[Job]:
    builder = Builder(CFG)
    for unit, accesses in jobs:
        builder.add(unit, {}, accesses, layer=0, note="")
    return builder.finish()


def semaphore(giver: Unit, taker: Unit) -> int:
    return CHANNELS.index((giver, taker))


def read(memory: str, start: int, end: int) -> Access:
    return Access(memory, start, end)


def write(memory: str, start: int, end: int) -> Access:
    return Access(memory, start, end, write=True)


# -- scoreboard ------------------------------------------------------------------------------------------

ACCESSES = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 12), st.integers(0, 6), st.booleans()).map(
        lambda x: Access(x[0], x[1], x[1] + x[2], x[3])
    ),
    max_size=25,
)


@given(ACCESSES)
def test_scoreboard_knows_every_address(accesses):
    board, writer, readers = Scoreboard(), {}, {}
    for job, access in enumerate(accesses):
        wanted = set()
        for at in ((access.memory, a) for a in range(access.start, access.end)):
            if at in writer:
                wanted.add(writer[at])
            if access.write:
                wanted |= readers.pop(at, set())
                writer[at] = job
            else:
                readers.setdefault(at, set()).add(job)
        assert board.touch(job, access) == wanted


def test_a_job_does_not_wait_for_itself():
    jobs = build((Unit.LOAD, [write("input", 0, 8), read("input", 4, 6), write("input", 5, 9)]))
    assert not jobs[0].waits and not jobs[0].gives


# -- dependencies to tokens ------------------------------------------------------------------------------


def test_read_after_write():
    jobs = build((Unit.LOAD, [write("input", 0, 10)]), (Unit.INPUT, [read("input", 9, 20)]))
    number = semaphore(Unit.LOAD, Unit.INPUT)
    assert jobs[0].gives == {number} and jobs[1].waits == [(number, 1)]
    assert not jobs[0].waits and not jobs[1].gives


def test_write_after_read():
    jobs = build((Unit.INPUT, [read("input", 0, 10)]), (Unit.LOAD, [write("input", 5, 6)]))
    number = semaphore(Unit.INPUT, Unit.LOAD)
    assert jobs[0].gives == {number} and jobs[1].waits == [(number, 1)]


def test_write_after_write():
    jobs = build((Unit.STORE, [write("dram", 0, 10)]), (Unit.LOAD, [write("dram", 9, 10)]))
    number = semaphore(Unit.STORE, Unit.LOAD)
    assert jobs[0].gives == {number} and jobs[1].waits == [(number, 1)]


@pytest.mark.parametrize("second", [
    (Unit.INPUT, [read("input", 10, 20)]), (Unit.INPUT, [read("weight", 0, 10)]), (Unit.LOAD, [write("input", 0, 10)]),
])
def test_neighbours_other_memories_and_the_same_unit_need_no_token(second):
    first, other = build((Unit.LOAD, [write("input", 0, 10)]), second)
    assert not first.gives and not other.waits


def test_only_the_last_of_several_counts():
    a, b, c = build(
        (Unit.LOAD, [write("input", 0, 8)]), (Unit.LOAD, [write("input", 8, 16)]), (Unit.INPUT, [read("input", 0, 16)])
    )
    assert not a.gives and b.gives and c.waits == [(semaphore(Unit.LOAD, Unit.INPUT), 1)]


def test_what_was_waited_for_is_not_waited_for_again():
    jobs = build(
        (Unit.LOAD, [write("input", 0, 8)]), (Unit.LOAD, [write("input", 8, 16)]),
        (Unit.INPUT, [read("input", 8, 16)]), (Unit.INPUT, [read("input", 0, 8)]),
    )  # fmt: skip
    assert jobs[2].waits and not jobs[3].waits and not jobs[0].gives


# -- random programs in random timing ----------------------------------------------------------------------

MEMORIES = {"input": Unit.INPUT, "weight": Unit.WEIGHT, "operand": Unit.VECTOR}


def random_program(rng: random.Random, count: int) -> list[tuple[Unit, list[Access]]]:
    """Jobs as lowering makes them: LOAD writes what the others read, ACC and VECTOR share banks, STORE writes DRAM."""

    def some(memory: str, *, written: bool) -> Access:
        start = rng.randrange(20)
        return Access(memory, start, start + rng.randrange(1, 6), written)

    jobs = []
    for _ in range(count):
        unit = rng.choice(list(Unit))
        accesses = []
        if unit is Unit.LOAD:
            accesses = [some(rng.choice(list(MEMORIES)), written=True), some("dram", written=False)]
        elif unit is Unit.STORE:
            accesses = [some("dram", written=True)]
        elif unit is Unit.ACC:
            accesses = [some("acc", written=True)]
        if unit in MEMORIES.values():
            accesses = [some(m, written=False) for m, u in MEMORIES.items() if u is unit]
        if unit is Unit.VECTOR:
            accesses.append(some("acc", written=False))
        jobs.append((unit, accesses))
    return jobs


def conflicts(jobs: list[tuple[Unit, list[Access]]]) -> list[set[int]]:
    """For each job the earlier ones that touch what it writes or write what it touches."""

    def meet(a: Access, b: Access) -> bool:
        return a.memory == b.memory and (a.write or b.write) and a.start < b.end and b.start < a.end

    return [
        {i for i in range(j) if any(meet(a, b) for a in jobs[i][1] for b in accesses)}
        for j, (_, accesses) in enumerate(jobs)
    ]


def execute(jobs: list[Job], rng: random.Random, queue: int = QUEUE) -> tuple[list[int], list[int], list[int]]:
    """Any timing the hardware may show; gives the order number of each start and end, and the most tokens."""
    queues: dict[Unit, deque[Job]] = {unit: deque() for unit in Unit}
    running: dict[Unit, deque[Job]] = {unit: deque() for unit in Unit}
    start, end, held, most = [-1] * len(jobs), [-1] * len(jobs), [0] * len(CHANNELS), [0] * len(CHANNELS)
    decoded = clock = idle = 0
    speed = {unit: rng.choice([0.05, 0.5, 1]) for unit in Unit}
    while min(end, default=0) < 0:
        clock += 1
        idle += 1
        assert idle < 2000, "jobs wait for ever"
        if decoded < len(jobs) and len(queues[jobs[decoded].unit]) < queue:
            queues[jobs[decoded].unit].append(jobs[decoded])
            decoded += 1
            idle = 0
        unit = rng.choice(list(Unit))
        if queues[unit] and len(running[unit]) < 3 and all(held[s] >= n for s, n in queues[unit][0].waits):
            job = queues[unit].popleft()
            for s, n in job.waits:
                held[s] -= n
            start[job.index], idle = clock, 0
            running[unit].append(job)
        if running[unit] and rng.random() < speed[unit]:
            job = running[unit].popleft()
            end[job.index], idle = clock, 0
            for s in job.gives:
                held[s] += 1
                most[s] = max(most[s], held[s])
    return start, end, most


@pytest.mark.parametrize("seed", range(25))
def test_conflicting_jobs_never_overlap(seed):
    rng = random.Random(seed)
    plan = random_program(rng, 60)
    try:
        jobs = build(*plan)
    except KeyError as pair:  # a conflict between units that share no memory in the hardware
        pytest.fail(f"no semaphore for {pair}")
    for _ in range(4):
        start, end, _ = execute(jobs, rng)
        for job, before in enumerate(conflicts(plan)):
            for other in before:
                if jobs[other].unit is not jobs[job].unit:
                    assert end[other] < start[job], f"{jobs[job]} ran into {jobs[other]}"


# -- semaphores do not overflow ----------------------------------------------------------------------------


def plain(units: list[Unit]) -> list[Job]:
    return [Job(unit, {}, 0, "", index=i) for i, unit in enumerate(units)]


@pytest.mark.parametrize("seed", range(10))
def test_bound_holds_in_every_timing(seed):
    rng = random.Random(seed)
    queue = rng.choice([2, 5, 16])
    plan = random_program(rng, 150)
    jobs = build(*plan)
    edges = [[] for _ in CHANNELS]
    for job in jobs:
        for number, _ in job.waits:
            edges[number].append(job.index)
    gives = [[job.index for job in jobs if number in job.gives] for number in range(len(CHANNELS))]
    pairs = [list(zip(g, t, strict=True)) for g, t in zip(gives, edges, strict=True)]
    bound = [max(held, default=0) for held in most_tokens(jobs, pairs, queue)]
    for _ in range(4):
        _, _, most = execute(jobs, rng, queue)
        assert all(found <= limit for found, limit in zip(most, bound, strict=True))


def test_bound_is_reached_by_a_fast_giver():
    jobs = plain([Unit.STORE] * 50 + [Unit.LOAD] * 50)
    pairs = find_edges(jobs, [set()] * 50 + [{i} for i in range(50)])
    assert max(most_tokens(jobs, pairs, QUEUE)[semaphore(Unit.STORE, Unit.LOAD)]) == 50


@pytest.mark.parametrize("count", [255, 256, 600])
def test_many_stores_before_many_loads(count):
    """Two layers of many tiles: all of the first may be done before the second begins."""
    jobs = plain([Unit.STORE] * count + [Unit.LOAD] * count)
    needs = [set()] * count + [{i} for i in range(count)]
    assign(jobs, needs, QUEUE)
    number = semaphore(Unit.STORE, Unit.LOAD)
    tokens = sum(number in job.gives for job in jobs)
    assert tokens == sum(len(job.waits) for job in jobs) <= LIMIT
    assert tokens == count if count <= LIMIT else tokens > LIMIT // 2
    start, end, most = execute(jobs, random.Random(count))
    assert max(most) <= LIMIT
    assert all(end[other] < start[job.index] for job in jobs for other in needs[job.index])


def test_a_queue_keeps_units_together():
    """LOAD could run far ahead of INPUT, if the decoder did not stop at INPUT's queue."""
    jobs = plain([Unit.LOAD, Unit.INPUT] * 1000)
    needs = [set() if i % 2 == 0 else {i - 1} for i in range(2000)]
    assign(jobs, needs, QUEUE)
    assert all(job.gives or job.waits for job in jobs)
    with pytest.raises(AssertionError, match="the semaphore from LOAD to INPUT may have to hold 1000 tokens, not 255"):
        assign(plain([job.unit for job in jobs]), needs, 4096)


@pytest.mark.parametrize("flow", ["weight_stationary", "output_stationary", "input_stationary"])
def test_network_of_many_tiles(flow):
    """Two layers of about 300 tiles each: no semaphore overflows, and the bits are right."""
    rng = np.random.default_rng(3)
    cfg = small(flow, 4, 4, lean=True)
    source = activation(rng, "x", (1, 64, 72, 3))
    first, middle = convolution(rng, "first", source, 2, 1, Window())
    second, last = convolution(rng, "second", middle, 2, 1, Window())
    tensors = {t.name: t for t in (source, middle, last)}
    network = Network("tiles", tensors, (first, second), ("x",), (last.name,))
    program = compile_network(cfg, network, Options())
    stores = sum(job.unit is Unit.STORE for job in program.jobs)
    assert stores // 2 > LIMIT
    check(network, cfg, 0)
