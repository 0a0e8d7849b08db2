"""Front ends and semaphores against a plain model of the command semantics."""

import random

import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from dataflows import isa
from dataflows.config import Config, load
from rtl.front_end import FrontEnd
from rtl.queue import Queue
from rtl.semaphores import Semaphores

LIMIT = 5000


def _word(op: isa.Op, unit: isa.Unit, **fields: int) -> int:
    shift = {"register": 48, "value": 0, "semaphore": 48, "count": 0, "take": 0, "give": 16, "tag": 32, "mark": 48}
    return op << 60 | unit << 56 | sum(value << shift[name] for name, value in fields.items())


class Bench(wiring.Component):
    """Two front ends (LOAD and STORE) around one set of semaphores."""

    def __init__(self, cfg: Config):
        self.units = {unit: FrontEnd(cfg, unit) for unit in (isa.Unit.LOAD, isa.Unit.STORE)}
        self.semaphores = Semaphores(cfg)
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules.semaphores = self.semaphores
        for unit, front in self.units.items():
            m.submodules[unit.name.lower()] = front
            m.d.comb += [
                self.semaphores.look[unit].eq(front.look),
                self.semaphores.take[unit].eq(front.take),
                front.there.eq(self.semaphores.there[unit]),
                front.enough.eq(self.semaphores.enough[unit]),
            ]
        return m


@pytest.fixture(scope="module")
def cfg() -> Config:
    return load("configs/tiny.toml")


def _simulate(dut, *testbenches, background=(), clock=None):
    """Run to the end of all ``testbenches``; ``clock[0]`` counts cycles."""
    sim = Simulator(dut)
    sim.add_clock(1e-9)
    clock = [0] if clock is None else clock

    async def watchdog(ctx):
        for _ in range(LIMIT):
            await ctx.tick()
            clock[0] += 1
        raise AssertionError("simulation did not end")

    sim.add_testbench(watchdog, background=True)
    for bench in background:
        sim.add_testbench(bench, background=True)
    for bench in testbenches:
        sim.add_testbench(bench)
    sim.run()


async def _put(ctx, port, payload):
    ctx.set(port.payload, payload)
    ctx.set(port.valid, 1)
    await ctx.tick().until(port.ready)
    ctx.set(port.valid, 0)


def test_queue_keeps_order_at_full_rate():
    dut = Queue(8, 5)
    seen, cycles, clock = [], [], [0]

    async def source(ctx):
        for value in range(50):
            await _put(ctx, dut.i, value)

    async def sink(ctx):
        rng = random.Random(1)
        for index in range(50):
            while index >= 25 and rng.random() < 0.5:
                await ctx.tick()
            ctx.set(dut.o.ready, 1)
            (value,) = await ctx.tick().sample(dut.o.payload).until(dut.o.valid)
            ctx.set(dut.o.ready, 0)
            seen.append(value)
            cycles.append(clock[0])

    _simulate(dut, source, sink, clock=clock)
    assert seen == list(range(50))
    assert cycles[24] - cycles[0] == 24


@pytest.mark.parametrize("seed", range(3))
def test_random_program_gives_jobs_in_order(cfg, seed):
    """Every job carries exactly the registers set before it, whatever the engine's stalls."""
    rng = random.Random(seed)
    dut = FrontEnd(cfg, isa.Unit.LOAD)
    registers = isa.units(cfg)[isa.Unit.LOAD]
    widths = [sum(f.bits for f in r.fields) for r in registers]
    state = [rng.getrandbits(w) for w in widths]
    words = [_word(isa.Op.SET, isa.Unit.LOAD, register=i, value=v) for i, v in enumerate(state)]
    expected = []
    for _ in range(20):
        for _ in range(rng.randrange(4)):
            number = rng.randrange(len(registers))
            state[number] = rng.choice([0, (1 << widths[number]) - 1, rng.getrandbits(widths[number])])
            words.append(_word(isa.Op.SET, isa.Unit.LOAD, register=number, value=state[number]))
        tail = {"give": rng.getrandbits(16), "tag": rng.getrandbits(16), "mark": rng.getrandbits(1)}
        words.append(_word(isa.Op.START, isa.Unit.LOAD, take=rng.getrandbits(16), **tail))
        expected.append(([*state], tail))
    seen = []

    async def source(ctx):
        for word in words:
            await _put(ctx, dut.words, word)

    async def engine(ctx):
        for _ in expected:
            while rng.random() < 0.5:
                await ctx.tick()
            ctx.set(dut.job.ready, 1)
            (job,) = await ctx.tick().sample(dut.job.payload).until(dut.job.valid)
            ctx.set(dut.job.ready, 0)
            values = [job[r.name].as_bits() for r in registers]
            seen.append((values, {name: job[name] for name in ("give", "tag", "mark")}))

    async def tokens(ctx):
        for _ in range(LIMIT):
            ctx.set(dut.there, rng.random() < 0.5 or ctx.get(dut.there))
            await ctx.tick()
            if ctx.get(dut.take.valid):
                ctx.set(dut.there, 0)

    _simulate(dut, source, engine, background=[tokens])
    assert seen == expected


def test_next_job_is_prepared_while_the_engine_has_not_taken_this_one_only(cfg):
    """A START waits for the engine; the SET behind it does not overwrite the offered job."""
    dut = FrontEnd(cfg, isa.Unit.STORE)
    seen, clock = [], [0]

    async def source(ctx):
        for value in (7, 9):
            await _put(ctx, dut.words, _word(isa.Op.SET, isa.Unit.STORE, register=1, value=value))
            await _put(ctx, dut.words, _word(isa.Op.START, isa.Unit.STORE))

    async def engine(ctx):
        ctx.set(dut.there, 1)
        for _ in range(10):
            await ctx.tick()
        for _ in range(2):
            ctx.set(dut.job.ready, 1)
            (job,) = await ctx.tick().sample(dut.job.payload).until(dut.job.valid)
            seen.append((job.row.bytes, clock[0]))

    _simulate(dut, source, engine, clock=clock)
    assert [value for value, _ in seen] == [7, 9]
    assert seen[1][1] - seen[0][1] == 3  # SET, START, and the job behind it


def test_wait_takes_its_count_and_reports_what_lacks(cfg):
    dut = Bench(cfg)
    front = dut.units[isa.Unit.LOAD]
    semaphores = dut.semaphores

    async def bench(ctx):
        await _put(ctx, front.words, _word(isa.Op.WAIT, isa.Unit.LOAD, semaphore=11, count=3))
        await _put(ctx, front.words, _word(isa.Op.WAIT, isa.Unit.LOAD, semaphore=11, count=1))
        for given in range(3):
            assert ctx.get(front.waiting) and not ctx.get(front.take.valid), given
            assert ctx.get(semaphores.lacking[isa.Unit.LOAD]) == 1 << 11
            ctx.set(semaphores.give[isa.Unit.STORE], 1 << 11)
            await ctx.tick()
        ctx.set(semaphores.give[isa.Unit.STORE], 0)
        await ctx.tick()  # they are looked at
        assert not ctx.get(front.waiting)
        await ctx.tick()
        assert ctx.get(front.take) == {"valid": 1, "mask": 1 << 11, "amount": 3}
        for _ in range(4):
            await ctx.tick()
        assert ctx.get(front.waiting)  # all three are gone

    _simulate(dut, bench)


@pytest.mark.parametrize("kind", ["WAIT", "START"])
def test_commands_in_a_row_take_different_tokens(cfg, kind):
    """Tokens that a command has taken are gone when the one behind it looks."""
    dut = Bench(cfg)
    front = dut.units[isa.Unit.STORE]

    async def source(ctx):
        for _ in range(5):  # the last one stays at the head
            fields = {"semaphore": 4, "count": 1} if kind == "WAIT" else {"take": 1 << 4}
            await _put(ctx, front.words, _word(isa.Op[kind], isa.Unit.STORE, **fields))

    async def bench(ctx):
        ctx.set(front.job.ready, 1)
        ctx.set(dut.semaphores.give[isa.Unit.LOAD], 1 << 4)
        for _ in range(4):
            await ctx.tick()
        ctx.set(dut.semaphores.give[isa.Unit.LOAD], 0)
        for _ in range(40):
            await ctx.tick()
        assert ctx.get(front.waiting)

    async def count(ctx):
        while True:
            await ctx.tick()
            taken.append(ctx.get(front.take.valid))

    taken = []
    _simulate(dut, source, bench, background=[count])
    assert sum(taken) == 4


def test_start_waits_for_all_semaphores_of_its_mask(cfg):
    dut = Bench(cfg)
    front = dut.units[isa.Unit.STORE]
    give = dut.semaphores.give

    async def bench(ctx):
        await _put(ctx, front.words, _word(isa.Op.START, isa.Unit.STORE, take=0b101, give=0b10))
        for unit in isa.units(cfg):  # six gives of one semaphore in one cycle add up
            ctx.set(give[unit], 0b001)
        await ctx.tick()
        for unit in isa.units(cfg):
            ctx.set(give[unit], 0)
        assert ctx.get(front.waiting) and not ctx.get(front.job.valid)
        assert ctx.get(dut.semaphores.lacking[isa.Unit.STORE]) == 0b100
        ctx.set(give[isa.Unit.LOAD], 0b100)
        await ctx.tick()
        ctx.set(give[isa.Unit.LOAD], 0)
        assert not ctx.get(front.waiting) and not ctx.get(front.job.valid)
        for _ in range(3):
            await ctx.tick()
            assert ctx.get(front.job.valid) and ctx.get(front.job.payload.give) == 0b10
        ctx.set(front.job.ready, 1)
        await ctx.tick()
        assert not ctx.get(front.job.valid) and ctx.get(front.idle)
        await _put(ctx, front.words, _word(isa.Op.WAIT, isa.Unit.STORE, semaphore=0, count=6))
        await ctx.tick()
        assert ctx.get(front.waiting)  # five of six are left
        ctx.set(give[isa.Unit.LOAD], 0b001)
        await ctx.tick()
        ctx.set(give[isa.Unit.LOAD], 0)
        await ctx.tick()
        assert not ctx.get(front.waiting)

    _simulate(dut, bench)


@pytest.mark.parametrize("seed", range(3))
def test_semaphores_against_counters(cfg, seed):
    rng = random.Random(seed)
    dut = Semaphores(cfg)
    count = cfg.control.semaphores
    level = [0] * count

    async def bench(ctx):
        enough = None
        for _ in range(300):
            for unit in isa.units(cfg):
                assert enough is None or ctx.get(dut.enough[unit]) == enough[unit]
            owners = {unit: 0 for unit in isa.units(cfg)}  # a semaphore has one taker
            for s in range(count):
                owners[rng.choice(list(isa.units(cfg)))] |= rng.getrandbits(1) << s
            taken, enough = [0] * count, {}
            for unit, mask in owners.items():
                amount, semaphore, wait = rng.choice([0, 1, 2, 255]), rng.randrange(count), rng.getrandbits(1)
                look = {"mask": mask, "wait": wait, "semaphore": semaphore, "amount": amount}
                ctx.set(dut.look[unit], look)
                empty = sum(1 << s for s in range(count) if mask >> s & 1 and not level[s])
                late = 0 if ctx.get(dut.enough[unit]) else 1 << semaphore
                assert ctx.get(dut.lacking[unit]) == (late if wait else empty)
                assert ctx.get(dut.there[unit]) == (not empty)
                enough[unit] = level[semaphore] >= amount
                take = all(level[s] >= amount for s in range(count) if mask >> s & 1) and rng.random() < 0.8
                ctx.set(dut.take[unit], {"valid": take, "mask": mask, "amount": amount})
                for s in range(count):
                    taken[s] += amount * take * (mask >> s & 1)
            for s in range(count):
                level[s] -= taken[s]
            for unit in isa.units(cfg):
                give = sum(rng.getrandbits(1) << s for s in range(count) if level[s] < 240)
                ctx.set(dut.give[unit], give)
                for s in range(count):
                    level[s] += give >> s & 1
            await ctx.tick()

    _simulate(dut, bench)
