"""The command unit against a memory with random latency: forwarding, every refusal, and the end of a program."""

import random

import pytest
from amaranth.sim import Simulator

from dataflows import isa
from dataflows.config import Config, load, parse
from dataflows.isa import Error, Op, Unit
from rtl.command import CommandCheck, CommandUnit

BASE = 0x12_3456_7000
LIMIT = 20000


@pytest.fixture(scope="module")
def tiny() -> Config:
    return load("configs/tiny.toml")


def _config(bits: int) -> Config:
    values = load("configs/ws16.toml").model_dump()
    values["bus"]["data_bits"] = bits
    return parse(values, "test")


def _hash(cfg: Config) -> int:
    return Op.HASH << 60 | cfg.hash_value


END = Op.END << 60


class Run:
    """One simulation of a program: what was forwarded, when, and how it ended."""

    def __init__(self, cfg, words, *, count=None, latency=0, stall=0.0, seed=0, idle_after=0, runs=1):
        self.cfg, self.words = cfg, words
        self.count = len(words) if count is None else count
        self.rng = random.Random(seed)
        self.latency, self.stall, self.idle_after, self.runs = latency, stall, idle_after, runs
        self.forwarded = {unit: [] for unit in isa.units(cfg)}
        self.errors, self.done, self.requests, self.now = [], [], [], 0
        self.dut = CommandUnit(cfg)
        sim = Simulator(self.dut)
        sim.add_clock(1e-9)
        for bench in (self._memory, self._watch, *(self._sink(unit) for unit in isa.units(cfg))):
            sim.add_testbench(bench, background=True)
        sim.add_testbench(self._control)
        sim.run()

    async def _control(self, ctx):
        ctx.set(self.dut.base, BASE)
        ctx.set(self.dut.words, self.count)
        for run in range(self.runs):
            ctx.set(self.dut.start, 1)
            await ctx.tick()
            ctx.set(self.dut.start, 0)
            for _ in range(self.idle_after):
                await ctx.tick()
            ctx.set(self.dut.idle, 1)
            while len(self.done) <= run and not self.errors:
                assert self.now < LIMIT, "the command unit hangs"
                await ctx.tick()
        for _ in range(20):
            await ctx.tick()

    async def _watch(self, ctx):
        while True:
            _, _, done, valid, error = (
                await ctx.tick().sample(self.dut.done, self.dut.error.valid, self.dut.error.payload)
            )
            self.now += 1
            if done:
                self.done.append(self.now)
            if valid:
                self.errors.append((Error(error.code), error.unit, error.info))

    async def _memory(self, ctx):
        pending = []  # (due time, beat)
        beat_words = self.cfg.bus_bytes // 8
        port, reply = self.dut.request, self.dut.data
        data = self.words + [0xDEAD << 48] * beat_words
        while True:
            ready = self.rng.random() >= self.stall
            ctx.set(port.ready, ready)
            send = bool(pending) and pending[0][0] <= self.now and self.rng.random() >= self.stall
            ctx.set(reply.valid, send)
            if send:
                ctx.set(reply.payload.data, list(pending[0][1].to_bytes(self.cfg.bus_bytes, "little")))
            _, _, valid, request, taken = await ctx.tick().sample(port.valid, port.payload, reply.ready)
            if send:
                assert taken, "the command unit must have room for what it asked for"
                pending.pop(0)
            if valid and ready:
                offset = request.address - BASE
                assert request.bytes > 0
                assert offset % self.cfg.bus_bytes == 0 and request.bytes % self.cfg.bus_bytes == 0
                assert offset + request.bytes < self.count * 8 + self.cfg.bus_bytes
                self.requests.append((offset, request.bytes))
                for beat in range(offset // 8, (offset + request.bytes) // 8, beat_words):
                    value = sum(word << 64 * i for i, word in enumerate(data[beat : beat + beat_words]))
                    pending.append((self.now + self.latency, value))

    def _sink(self, unit):
        port = self.dut.o[unit]
        rng = random.Random(unit)

        async def bench(ctx):
            while True:
                ready = rng.random() >= self.stall
                ctx.set(port.ready, ready)
                _, _, valid, word = await ctx.tick().sample(port.valid, port.payload)
                if valid and ready:
                    self.forwarded[unit].append((self.now, word))

        return bench

    @property
    def received(self):
        """Words per unit."""
        return {unit: [word for _, word in words] for unit, words in self.forwarded.items()}


def _random_word(cfg, rng, unit=None):
    """Any legal SET, WAIT or START."""
    unit = rng.choice(list(isa.units(cfg))) if unit is None else unit
    op = rng.choice([Op.SET, Op.WAIT, Op.START])
    word = op << 60 | unit << 56
    mask = (1 << cfg.control.semaphores) - 1
    if op is Op.SET:
        registers = isa.units(cfg)[unit]
        number = rng.randrange(len(registers))
        return word | number << 48 | rng.getrandbits(sum(f.bits for f in registers[number].fields))
    if op is Op.WAIT:
        return word | rng.randrange(cfg.control.semaphores) << 48 | rng.getrandbits(8)
    mark = unit is Unit.STORE and rng.getrandbits(1)
    give, take = rng.getrandbits(16) & mask, rng.getrandbits(16) & mask
    return word | mark << 48 | rng.getrandbits(16) << 32 | give << 16 | take


def _program(cfg, rng, count):
    return [_hash(cfg), *(_random_word(cfg, rng) for _ in range(count)), END]


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize("bits", [64, 128, 512])
def test_words_reach_their_unit_in_order(bits, stall):
    cfg = _config(bits)
    rng = random.Random(bits)
    words = _program(cfg, rng, 301)
    run = Run(cfg, words, latency=20, stall=stall, seed=bits)
    expected = {unit: [w for w in words[1:-1] if w >> 56 & 15 == unit] for unit in isa.units(cfg)}
    assert run.received == expected
    assert len(run.done) == 1 and not run.errors


@pytest.mark.parametrize("bits", [64, 128])
def test_one_word_per_cycle_in_spite_of_latency(bits):
    cfg = _config(bits)
    words = _program(cfg, random.Random(3), 600)
    run = Run(cfg, words, latency=90)
    times = sorted(time for sent in run.forwarded.values() for time, _ in sent)
    assert times[-1] - times[0] == len(times) - 1


@pytest.mark.parametrize("bits", [64, 128])
def test_three_runs_and_words_after_the_end(bits):
    """What follows END is fetched at most, never executed, and gone when "done" is raised."""
    cfg = _config(bits)
    rng = random.Random(5)
    words = _program(cfg, rng, 20)
    run = Run(cfg, words + [_random_word(cfg, rng) for _ in range(400)], latency=13, stall=0.2, runs=3)
    expected = {unit: 3 * [w for w in words[1:-1] if w >> 56 & 15 == unit] for unit in isa.units(cfg)}
    assert run.received == expected
    assert len(run.done) == 3 and not run.errors


def test_done_waits_for_all_units(tiny):
    early = Run(tiny, [_hash(tiny), END])
    late = Run(tiny, [_hash(tiny), END], idle_after=300)
    assert early.done[0] < 60
    assert 300 < late.done[0] < 320


def test_program_without_end(tiny):
    run = Run(tiny, [_hash(tiny), _random_word(tiny, random.Random(0))] * 1, count=2)
    assert run.errors == [(Error.PROGRAM_END, 0, 2)] and not run.done


def test_empty_program(tiny):
    assert Run(tiny, [], count=0).errors == [(Error.PROGRAM_END, 0, 0)]


def test_hash_of_another_configuration(tiny):
    word = _hash(tiny) ^ 1 << 55
    run = Run(tiny, [word, _random_word(tiny, random.Random(0)), END])
    assert run.errors == [(Error.HASH_MISMATCH, 0, word & 0xFFFFFFFF)]
    assert not any(run.received.values())


def test_hash_must_come_first_and_only_first(tiny):
    start = Op.START << 60 | Unit.ACC << 56
    assert Run(tiny, [start, END]).errors == [(Error.ILLEGAL_COMMAND, Unit.ACC, 0)]
    again = _hash(tiny)
    assert Run(tiny, [again, again, END]).errors == [(Error.ILLEGAL_COMMAND, 0, again & 0xFFFFFFFF)]


def test_an_illegal_word_stops_everything_behind_it(tiny):
    rng = random.Random(9)
    good = [_random_word(tiny, rng, Unit.LOAD) for _ in range(5)]
    bad = Op.SET << 60 | Unit.WEIGHT << 56 | 77 << 48 | 5
    run = Run(tiny, [_hash(tiny), *good, bad, *good, END], latency=5)
    assert run.received[Unit.LOAD] == good
    assert run.errors == [(Error.ILLEGAL_COMMAND, Unit.WEIGHT, 5)] and not run.done


def test_every_legal_and_illegal_kind_of_word():
    """The combinational check, over random legal words and each way of spoiling one."""
    values = load("configs/tiny.toml").model_dump()
    values["control"]["semaphores"] = 12
    cfg = parse(values, "test")
    rng = random.Random(11)
    units = isa.units(cfg)
    good = [_hash(cfg), END, *(_random_word(cfg, rng) for _ in range(500))]
    bad = [op << 60 for op in range(16) if op not in list(Op)]
    bad += [_hash(cfg) | 1 << 56, END | 1, END | 1 << 59]
    for op in (Op.SET, Op.WAIT, Op.START):
        bad += [op << 60 | unit << 56 for unit in range(len(units), 16)]
    for unit, registers in units.items():
        head = Op.SET << 60 | unit << 56
        bad += [head | number << 48 for number in (len(registers), 255)]
        for number, register in enumerate(registers):
            bits = sum(f.bits for f in register.fields)
            good.append(head | number << 48 | (1 << bits) - 1)
            bad += [head | number << 48 | 1 << bit for bit in range(bits, 48)]
        wait, start = Op.WAIT << 60 | unit << 56, Op.START << 60 | unit << 56
        bad += [wait | 12 << 48, wait | 1 << 8, wait | 1 << 16, wait | 1 << 47]
        bad += [start | 1 << bit for bit in (12, 15, 28, 31, *range(49, 56))]
        (good if unit is Unit.STORE else bad).append(start | 1 << 48)
    dut = CommandCheck(cfg)
    sim = Simulator(dut)

    async def bench(ctx):
        for words, legal in ((good, 1), (bad, 0)):
            for word in words:
                ctx.set(dut.word, word)
                assert ctx.get(dut.legal) == legal, f"{word:016x}"

    sim.add_testbench(bench)
    sim.run()
