"""The timing model: its kernel, the cutting of bursts, the array's pace, and what any prediction must satisfy."""

import itertools
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from amaranth.hdl import Fragment
from hypothesis import given
from hypothesis import strategies as st

from dataflows import catalogue, config
from dataflows.isa import Target, Unit
from dataflows.network import Conv
from mapper import timing_load_job, timing_row_engine
from mapper.compile import Program, compile_network
from mapper.conv_plan import Options
from mapper.image import PAGE
from mapper.kernel import Kernel, Signal
from mapper.loads import ROWS
from mapper.nests import levels
from mapper.program import Job, encode
from mapper.table import layer_cycles
from mapper.timing import predict
from mapper.timing_array import Array, depth
from mapper.timing_bus import Dram, bursts, pieces, row_starts
from mapper.timing_causes import REASONS, Causes, Taken
from mapper.timing_machine import Cause, Engine, Machine
from mapper.timing_streamer import STREAM
from mapper.timing_vector import LANES
from mapper.timing_vector_job import OPERAND_LEVELS, TAP_LEVELS
from rtl.gather import Gather
from rtl.rows import RowsEngine
from tests.mapper.test_programs import FLOWS, small
from tests.random_layers import random_network

# -- kernel ----------------------------------------------------------------------------------------------


def test_processes_run_in_the_order_of_their_times():
    kernel, seen = Kernel(), []

    def process(name, *times):
        for time in times:
            yield time
            seen.append((name, kernel.now))

    kernel.schedule(0, process("a", 3, 5, 9))
    kernel.schedule(0, process("b", 4, 5, 2))
    kernel.schedule(6, process("c", 1))
    kernel.run()
    assert seen == [("a", 3), ("b", 4), ("a", 5), ("b", 5), ("b", 5), ("c", 6), ("a", 9)]  # never back in time


def test_a_signal_resumes_all_who_wait_and_only_them():
    kernel, seen = Kernel(), []
    signal = Signal(kernel)

    def waits(name, times):
        for _ in range(times):
            yield signal
            seen.append((name, kernel.now))

    def fires():
        for time in (2, 7):
            yield time
            signal.fire()

    kernel.schedule(0, waits("a", 2))
    kernel.schedule(0, waits("b", 1))
    kernel.schedule(0, fires())
    kernel.schedule(3, waits("late", 3))
    kernel.run()
    assert seen == [("a", 2), ("b", 2), ("a", 7), ("late", 7)]


# -- bus -------------------------------------------------------------------------------------------------

BUS = st.sampled_from([8, 16, 32, 64])


@given(st.integers(0, 3 * PAGE), st.integers(1, 3 * PAGE), BUS, st.integers(1, 256))
def test_bursts_cover_a_row_within_pages(start, size, bus, most):
    found = list(bursts(start, size, bus, most))
    position = start
    for address, beats, part in found:
        assert address == position and part > 0
        assert beats == len({byte // bus for byte in range(address, address + part)})
        assert beats <= most
        assert address // PAGE == (address + part - 1) // PAGE
        position += part
    assert position == start + size
    for (a, _, part), (b, _, _) in itertools.pairwise(found):  # no shorter than they must be
        assert b % PAGE == 0 or ((a + part) % bus == 0 and part + a % bus == most * bus)


@given(st.integers(0, 200), st.integers(1, 300), st.integers(1, 70), st.integers(0, 63), BUS)
def test_pieces_are_cut_at_beats_and_segments(position, size, segment, offset, bus):
    offset %= bus
    cuts = {((offset + i) // bus, (position + i) // segment) for i in range(size)}
    assert pieces(position, size, segment, offset, bus) == len(cuts)


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(-500, 500)), min_size=3, max_size=3), st.integers(0, 9999))
def test_row_starts_are_the_nest(loops, base):
    job = Job(Unit.LOAD, levels(ROWS, loops), 0, "")
    (a, sa), (b, sb), (c, sc) = loops
    assert list(row_starts(job, base)) == [
        base + i * sa + j * sb + k * sc for k in range(c) for j in range(b) for i in range(a)
    ]


class Server:
    """The memory's timing cycle by cycle: ``transfers`` of bursts (write, beats, cycle of the address), in order."""

    def __init__(self, bus: int, rate: float, parts: int):
        self.cost, self.rate = bus * parts, round(rate * parts)

    def transfers(self, order: list[tuple[bool, int, int]]) -> list[list[int]]:
        debt, cycle = 0, 0
        served: list[list[int]] = [[] for _ in order]
        while any(len(times) < beats for times, (_, beats, _) in zip(served, order, strict=True)):
            written = False
            for times, (write, beats, address) in zip(served, order, strict=True):
                while len(times) < beats and debt < self.rate and cycle >= address + write and not (write and written):
                    times.append(cycle)
                    debt += self.cost
                    written |= write
                if len(times) < beats:
                    break
            debt = max(0, debt - self.rate)
            cycle += 1
        return served


BURSTS = st.lists(st.tuples(st.booleans(), st.integers(1, 20), st.integers(0, 30)), min_size=1, max_size=12)


@given(BURSTS, st.sampled_from([1, 2, 4.75, 5, 8, 16, 20.5, 24, 32, 100]), st.sampled_from([8, 16]))
def test_dram_serves_every_beat_in_its_cycle(drawn, rate, bus):
    order, address = [], 0
    for write, beats, later in drawn:
        address += later
        order.append((write, beats, address))
    dram, data = Dram(bus, 100, rate), -1
    for (write, beats, cycle), wanted in zip(order, Server(bus, rate, 4).transfers(order), strict=True):
        if write:
            found = list(dram.write(beats, max(cycle, data) + 1))
            data = found[-1]
        else:
            start = dram.read(beats, cycle)
            found = [dram.offered(start, beat) - dram.latency for beat in range(beats)]
        assert found == wanted


# -- array -----------------------------------------------------------------------------------------------

Made = tuple[Machine, Array]


def array_jobs(flow: str, jobs: list[tuple[int, int, int]]) -> Made:
    """The array after jobs of (tiles, stationary words of a tile, moving words of a tile), taken as soon as can be."""
    machine = Machine(program(1, flow), 80, 8)
    array, nests = Array(machine), machine.cfg.dataflow
    machine.kernel.schedule(0, array.run())

    def feed(engine: Engine, made: list[Job]):
        for job in made:
            while not engine.accepts(job):
                yield machine.progress[job.unit]
            engine.take(job)
            yield machine.kernel.cycle + 1

    def nest(unit: Unit, tiles: int, words: int) -> Job:
        names = (nests.input_nest if unit is Unit.INPUT else nests.weight_nest).levels
        inner = (nests.input_nest if unit is Unit.INPUT else nests.weight_nest).inner
        registers = {name: {"count": 1} for name in names}
        return Job(unit, registers | {names[0]: {"count": words}, names[inner]: {"count": tiles}}, 0, "")

    weights = [nest(Unit.WEIGHT, tiles, still) for tiles, still, _ in jobs]
    inputs = [nest(Unit.INPUT, tiles, moving) for tiles, _, moving in jobs]
    sums = [Job(Unit.ACC, {}, 0, "") for _ in jobs]
    for engine, made in ((array.weight, weights), (array.input, inputs), (array.acc, sums)):
        machine.kernel.schedule(0, feed(engine, made))
    machine.kernel.run()
    return machine, array


@given(st.integers(1, 20), st.integers(1, 40))
def test_tiles_take_the_cycle_law(tiles, moving):
    """Fill beside: loading the first tile, and the way to the array. A tile takes what is longer of its two streams."""
    still = 4
    machine, array = array_jobs("weight_stationary", [(tiles, still, moving)])
    assert array.input.entered == STREAM + still + tiles * moving + (tiles - 1) * max(0, still - moving)
    ends = {span.unit: span.end for span in machine.result.spans}
    assert ends[Unit.INPUT] >= tiles * moving and ends[Unit.WEIGHT] >= tiles * still
    assert array.weight.entered < array.input.entered < ends[Unit.ACC]


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(14, 20)), min_size=2, max_size=6))
def test_jobs_follow_each_other_without_a_gap(jobs):
    """Jobs that are there in time are one long job; two of them are open, and no shorter than the way to the sums."""
    words = sum(tiles * moving for tiles, moving in jobs)
    _, array = array_jobs("weight_stationary", [(tiles, 4, moving) for tiles, moving in jobs])
    assert array.input.entered == STREAM + 4 + words
    _, array = array_jobs("output_stationary", [(1, tiles * moving, tiles * moving) for tiles, moving in jobs])
    assert array.input.entered == array.weight.entered == STREAM + words


@pytest.mark.parametrize("flow", [flow for flow in FLOWS if catalogue.get(flow).stationary])
def test_depth_grows_with_the_array(flow):
    assert depth(small(flow, 5, 3)) < depth(small(flow, 6, 3)) < depth(small(flow, 6, 4))


def test_depth_of_adder_trees_grows_with_their_stages():
    depths = [depth(small("no_local_reuse", rows, cols)) for rows, cols in ((1, 3), (4, 3), (5, 9), (16, 1), (17, 2))]
    assert depths == [3, 4, 5, 5, 6]


# -- predictions -----------------------------------------------------------------------------------------


@cache
def program(seed: int, flow: str, *, lean: bool = False) -> Program:
    network = random_network(seed, most_channels=16, most_size=9)
    return compile_network(small(flow, 4, 4, lean=lean), network, Options(bytes_per_cycle=8), fuse=seed % 3 > 0)


CASES = [(flow, seed) for flow in FLOWS for seed in range(7)]


def row_bytes(job: Job) -> int:
    return job.registers["row"]["bytes"] * int(np.prod([job.registers[name]["count"] for name in ROWS]))


@pytest.mark.parametrize(("flow", "seed"), CASES)
def test_every_job_is_on_the_timeline_after_what_it_waits_for(flow, seed):
    p = program(seed, flow, lean=seed % 2 == 1)
    found = predict(p, 80, 8)
    spans = {span.job: span for span in found.spans}
    assert sorted(spans) == [job.index for job in p.jobs] and len(found.spans) == len(p.jobs)
    given: dict[int, list[int]] = {}
    for job in p.jobs:
        for semaphore in job.gives:
            given.setdefault(semaphore, []).append(job.index)
    taken = dict.fromkeys(given, 0)
    for job in p.jobs:
        span = spans[job.index]
        assert 0 < span.start <= span.end <= found.cycles
        assert (span.unit, span.layer, span.note) == (job.unit, job.layer, job.note)
        for semaphore, count in job.waits:
            taken[semaphore] += count
            assert spans[given[semaphore][taken[semaphore] - 1]].end < span.start
    for unit in Unit:
        own = [spans[job.index] for job in p.jobs if job.unit is unit]
        assert all(a.start < b.start and a.end <= b.end for a, b in itertools.pairwise(own))


@pytest.mark.parametrize(("flow", "seed"), CASES)
def test_no_prediction_beats_the_array_or_the_bus(flow, seed):
    p = program(seed, flow, lean=seed % 2 == 1)
    found = predict(p, 80, 8)
    reads = sum(row_bytes(j) for j in p.jobs if j.unit is Unit.LOAD and not j.registers["destination"].get("fill"))
    writes = sum(row_bytes(j) for j in p.jobs if j.unit is Unit.STORE)
    assert sum(found.dram_read_bytes.values()) >= reads  # whole beats
    assert sum(found.dram_write_bytes.values()) == writes
    assert found.cycles >= (p.words.nbytes + reads + writes) / 8
    convs = [layer for layer in p.network.layers if isinstance(layer, Conv)]
    assert found.cycles >= sum(p.network.macs(layer) for layer in convs) / p.cfg.multipliers
    ends = [found.layer_end[entry.index] for entry in p.schedule]
    assert ends == sorted(ends) and ends[-1] < found.cycles


@pytest.mark.parametrize(("flow", "seed"), CASES)
def test_a_slower_memory_is_never_faster(flow, seed):
    p = program(seed, flow, lean=seed % 2 == 1)
    for bytes_per_cycle in (8, 3):
        cycles = [predict(p, latency, bytes_per_cycle).cycles for latency in (1, 20, 100, 500)]
        assert cycles == sorted(cycles)
    cycles = [predict(p, 50, bytes_per_cycle).cycles for bytes_per_cycle in (8, 5, 1)]
    assert cycles == sorted(cycles)


@pytest.mark.parametrize(("flow", "seed"), CASES)
def test_every_cycle_is_work_or_has_a_reason(flow, seed):
    p = program(seed, flow, lean=seed % 2 == 1)
    found = predict(p, 80, 3)
    cycles = layer_cycles(p, found.layer_end, found.cycles)
    assert set(cycles) == set(found.stalls) == set(found.array_busy)
    for index, stalls in found.stalls.items():
        assert tuple(stalls) == REASONS and min(stalls.values()) >= 0
        assert sum(stalls.values()) + found.array_busy[index] == cycles[index]
    if not any(isinstance(layer, Conv) for layer in p.network.layers):
        assert not any(found.array_busy.values())


def reasons(p: Program, latency: int, bytes_per_cycle: float) -> dict[str, int]:
    found = predict(p, latency, bytes_per_cycle).stalls.values()
    return {name: sum(stalls[name] for stalls in found) for name in REASONS}


@pytest.mark.parametrize("flow", FLOWS)
def test_a_slow_memory_is_the_reason_for_what_it_costs(flow):
    p = program(2, flow)
    fast, slow = reasons(p, 1, 64), reasons(p, 1, 0.5)
    assert slow["fill"] <= 2 * fast["fill"] and slow["vector"] <= 2 * fast["vector"]
    memory = ("dram", "weights", "write_back", "commands")
    assert sum(slow[name] for name in memory) > 4 * sum(fast[name] for name in memory)


def test_idle_cycles_are_charged_back_to_the_last_work():
    """The array's second job waits for VECTOR's result in DRAM, which LOAD reads again."""
    level = {"count": 1, "step": 0}
    units = [Unit.INPUT, Unit.WEIGHT, Unit.ACC] * 2 + [Unit.VECTOR, Unit.STORE, Unit.LOAD, Unit.LOAD]
    jobs = [Job(unit, {"mode": {"from_operand": 1}, "destination": {"target": Target.INPUT}}, 0, "") for unit in units]
    jobs[6].registers |= dict.fromkeys(OPERAND_LEVELS + TAP_LEVELS, level) | {"operand_x": {"count": 10, "step": 0}}
    jobs[9].registers |= {"destination": {"target": Target.PARAM}}
    begin, least = Cause(0, None), 31 + LANES + 10
    taken = {
        0: Taken(jobs[0], 5, 20, begin), 1: Taken(jobs[1], 6, 20, begin), 2: Taken(jobs[2], 7, 30, begin),
        6: Taken(jobs[6], 31, least + 3, Cause(31, 2)),
        7: Taken(jobs[7], 31, 80, begin),
        8: Taken(jobs[8], 81, 120, Cause(81, 7)),
        3: Taken(jobs[3], 121, 140, Cause(121, 8)), 4: Taken(jobs[4], 20, 140, begin),
        5: Taken(jobs[5], 21, 150, begin),
        9: Taken(jobs[9], 130, 170, Cause(125, None)),
    }  # fmt: skip
    found = Causes(taken, {7: 6}).all([(10, 18, 0), (126, 135, 1)], 172)
    assert [interval for interval in found if interval[0] < interval[1]] == [
        (7, 10, "fill"), (0, 7, "commands"),
        (121, 126, "fill"), (81, 121, "dram"), (least + 3, 81, "write_back"),
        (least, least + 3, "write_back"), (31, least, "vector"), (18, 31, "fill"),  # 3 cycles more than VECTOR needs
        (135, 172, "weights"),
    ]  # fmt: skip


def test_a_program_that_would_wait_for_ever_is_named():
    p = program(1, "weight_stationary")
    jobs = [replace(job, gives=set()) if job.unit is Unit.ACC else job for job in p.jobs]
    stuck = replace(p, jobs=jobs, words=encode(p.cfg, jobs))
    with pytest.raises(AssertionError, match=r"the program would never end: .*VECTOR.* wait for ever"):
        predict(stuck, 80, 8)


def test_numbers_of_the_row_engine_are_those_of_the_hardware():
    engine, other = timing_row_engine, RowsEngine
    cfg = config.load("configs/ws16_attention.toml")
    assert (engine.JOBS, engine.PREPARE, engine.ROWS, engine.QUEUE) == (
        other.JOBS, other.PREPARE, other.ROWS, other.QUEUE_WORDS,
    )  # fmt: skip
    assert (engine.FINISH_INTERVAL, engine.FINISH) == (other.FINISH_INTERVAL, other.FINISH_LATENCY)
    assert (engine.SOFTMAX, engine.NORM, engine.SWITCH) == (
        other.SOFTMAX_LATENCY, other.NORM_LATENCY, other.SWITCH_CYCLES,
    )  # fmt: skip
    assert (engine.SCALED, engine.DIVIDE_INTERVAL, engine.DIVIDE, engine.DECIDE) == (
        other.SCALED_ROWS, other.DIVIDE_INTERVAL, other.DIVIDE_LATENCY, other.DECISION_LATENCY,
    )  # fmt: skip
    built = other(cfg)
    Fragment.get(built, None)  # Amaranth warns of components that are never built
    assert built.collect_latency - engine.COLLECT == built.total_latency - engine.SOFTMAX == 2  # tree of 16 lanes
    assert Gather.latency == timing_load_job.START
