"""Host side: AXI4-Lite registers, run control and counters."""

import random

import pytest
from amaranth.sim import Simulator

from dataflows import isa
from dataflows.config import Config, load, parse
from dataflows.isa import Error
from rtl.counters import Counters
from rtl.host import OKAY, SLVERR, HostRegisters, register_bits
from rtl.supervisor import Supervisor

LIMIT = 20000
REGISTERS = {r.name: r for r in isa.HOST_REGISTERS}


@pytest.fixture(scope="module")
def cfg() -> Config:
    values = load("configs/tiny.toml").model_dump()
    values["control"]["watchdog_cycles"] = 1024
    return parse(values, "test")


def _simulate(dut, bench, *background):
    sim = Simulator(dut)
    sim.add_clock(1e-9)

    async def watchdog(ctx):
        for _ in range(LIMIT):
            await ctx.tick()
        raise AssertionError("simulation did not end")

    for process in (watchdog, *background):
        sim.add_testbench(process, background=True)
    sim.add_testbench(bench)
    sim.run()


class Lite:
    """AXI4-Lite master with random delays on every channel, and a check that responses are held."""

    def __init__(self, bus, seed=0, stall=0.0):
        self.bus, self.rng, self.stall = bus, random.Random(seed), stall

    async def _send(self, ctx, channels):
        """Drive several channels at once: {prefix: {signal: value}}, each after its own delay."""
        waits = {prefix: self._delay() for prefix in channels}
        open_channels = dict(channels)
        while open_channels:
            for prefix, values in open_channels.items():
                if waits[prefix] == 0:
                    ctx.set(getattr(self.bus, f"{prefix}valid"), 1)
                    for name, value in values.items():
                        ctx.set(getattr(self.bus, name), value)
            sampled = [(p, getattr(self.bus, f"{p}valid"), getattr(self.bus, f"{p}ready")) for p in open_channels]
            taken = [p for p, valid, ready in sampled if ctx.get(valid) and ctx.get(ready)]
            await ctx.tick()
            for prefix in open_channels:
                waits[prefix] = max(0, waits[prefix] - 1)
            for prefix in taken:
                ctx.set(getattr(self.bus, f"{prefix}valid"), 0)
                del open_channels[prefix]

    async def _receive(self, ctx, prefix, *names):
        valid, ready = getattr(self.bus, f"{prefix}valid"), getattr(self.bus, f"{prefix}ready")
        signals = [getattr(self.bus, name) for name in names]
        await ctx.tick().until(valid) if not ctx.get(valid) else None
        held = [ctx.get(s) for s in signals]
        for _ in range(self._delay()):
            await ctx.tick()
            assert ctx.get(valid) and [ctx.get(s) for s in signals] == held
        ctx.set(ready, 1)
        await ctx.tick()
        ctx.set(ready, 0)
        return held

    def _delay(self):
        return self.rng.randrange(5) if self.rng.random() < self.stall else 0

    async def write(self, ctx, address, value, strobe=15):
        aw = {"awaddr": address, "awprot": self.rng.getrandbits(3)}
        await self._send(ctx, {"aw": aw, "w": {"wdata": value, "wstrb": strobe}})
        return (await self._receive(ctx, "b", "bresp"))[0]

    async def read(self, ctx, address):
        await self._send(ctx, {"ar": {"araddr": address, "arprot": self.rng.getrandbits(3)}})
        return tuple(await self._receive(ctx, "r", "rdata", "rresp"))


@pytest.mark.parametrize("stall", [0.0, 0.7])
def test_random_accesses_against_a_register_model(cfg, stall):
    dut = HostRegisters(cfg)
    lite = Lite(dut.bus, seed=4, stall=stall)
    rng = random.Random(8)
    model = {r.address: 0 for r in isa.HOST_REGISTERS}
    masks = {r.address: (1 << register_bits(r)) - 1 if r.access == "rw" else 0 for r in isa.HOST_REGISTERS}
    for name in ("CONTROL", "IRQ_CLEAR"):
        masks[REGISTERS[name].address] = 0

    async def bench(ctx):
        for register in isa.HOST_REGISTERS:
            if register.access == "ro" and not register.name.startswith("HASH"):
                model[register.address] = rng.getrandbits(32)
                ctx.set(getattr(dut, register.name.lower()), model[register.address])
        model[REGISTERS["HASH_LOW"].address] = cfg.hash_value & 0xFFFFFFFF
        model[REGISTERS["HASH_HIGH"].address] = cfg.hash_value >> 32
        for _ in range(400):
            address = rng.randrange(1 << isa.HOST_ADDRESS_BITS)
            known = address & ~3 in model
            if rng.random() < 0.5:
                value, strobe = rng.getrandbits(32), rng.choice([15, rng.getrandbits(4)])
                assert await lite.write(ctx, address, value, strobe) == (OKAY if known else SLVERR)
                if known:
                    lanes = sum(0xFF << 8 * i for i in range(4) if strobe >> i & 1) & masks[address & ~3]
                    model[address & ~3] = model[address & ~3] & ~lanes | value & lanes
            else:
                expected = (model[address & ~3], OKAY) if known else (0, SLVERR)
                assert await lite.read(ctx, address) == expected, hex(address)

    _simulate(dut, bench)


def test_registers_drive_their_ports(cfg):
    dut = HostRegisters(cfg)
    lite = Lite(dut.bus)

    async def bench(ctx):
        for index, register in enumerate(isa.HOST_REGISTERS):
            if register.access == "rw" and register.name not in ("CONTROL", "IRQ_CLEAR", "IRQ_ENABLE"):
                await lite.write(ctx, register.address, 0x01010101 * (index + 1))
        for index, register in enumerate(isa.HOST_REGISTERS):
            if register.access == "rw" and register.name not in ("CONTROL", "IRQ_CLEAR", "IRQ_ENABLE"):
                value = 0x01010101 * (index + 1) & (1 << register_bits(register)) - 1
                assert ctx.get(getattr(dut, register.name.lower())) == value

    _simulate(dut, bench)


@pytest.mark.parametrize("strobe", [15, 1, 14])
def test_control_is_a_pulse(cfg, strobe):
    dut = HostRegisters(cfg)
    lite = Lite(dut.bus)
    seen = []

    async def bench(ctx):
        await lite.write(ctx, REGISTERS["CONTROL"].address, 3, strobe)
        assert await lite.read(ctx, REGISTERS["CONTROL"].address) == (0, OKAY)

    async def watch(ctx):
        while True:
            *_, value = await ctx.tick().sample(dut.control)
            seen.append(value)

    _simulate(dut, bench, watch)
    assert [value for value in seen if value] == ([3] if strobe & 1 else [])


def test_every_register_has_room():
    assert max(r.address for r in isa.HOST_REGISTERS) < 1 << isa.HOST_ADDRESS_BITS


# -- run control -----------------------------------------------------------------------------------

BUSY, DONE, FAILED, RESETTING = 1, 2, 4, 8


async def _pulse(ctx, signal):
    ctx.set(signal, 1)
    await ctx.tick()
    ctx.set(signal, 0)


async def _until(ctx, condition, limit=100):
    for cycle in range(limit):
        if condition():
            return cycle
        await ctx.tick()
    raise AssertionError("condition not reached")


def test_start_done_and_restart(cfg):
    dut = Supervisor(cfg)

    async def bench(ctx):
        for _ in range(2):
            ctx.set(dut.start, 1)
            assert ctx.get(dut.begin)
            await ctx.tick()
            assert ctx.get(dut.status) == BUSY and ctx.get(dut.running)
            assert not ctx.get(dut.begin)  # a second start while busy is ignored
            await ctx.tick()
            ctx.set(dut.start, 0)
            await _pulse(ctx, dut.finished)
            assert ctx.get(dut.status) == DONE and not ctx.get(dut.running)
        await _pulse(ctx, dut.clear_done)
        assert ctx.get(dut.status) == 0

    _simulate(dut, bench)


@pytest.mark.parametrize("kind", ["command", "read", "write", "sparse"])
def test_error_drains_and_stays_until_soft_reset(cfg, kind):
    dut = Supervisor(load("configs/eie4.toml") if kind == "sparse" else cfg)
    port = getattr(dut, f"{kind}_error")
    codes = {"command": Error.HASH_MISMATCH, "read": Error.READ_RESPONSE, "write": Error.WRITE_RESPONSE}
    code = codes.get(kind, Error.SPARSE_RUN)
    whole = kind in ("command", "sparse")
    info = 0xCAFE_BABE

    async def bench(ctx):
        await _pulse(ctx, dut.start)
        ctx.set(port.payload, {"code": code, "unit": 0, "info": info} if whole else 0xAA_0000_0000 | info)
        await _pulse(ctx, port.valid)
        assert ctx.get(dut.status) == BUSY | FAILED and ctx.get(dut.drain)
        assert (ctx.get(dut.error.code), ctx.get(dut.error.info)) == (code, info)
        for _ in range(30):  # the bus is not idle: nothing happens
            await ctx.tick()
        assert ctx.get(dut.status) == BUSY | FAILED
        ctx.set(dut.write_error.payload, 1)  # a second error does not replace the first
        await _pulse(ctx, dut.write_error.valid)
        ctx.set(dut.bus_idle, 1)
        await _until(ctx, lambda: ctx.get(dut.status) == FAILED)
        assert ctx.get(dut.error.code) == code and ctx.get(dut.drain) and not ctx.get(dut.reset)
        ctx.set(dut.start, 1)  # refused in the error state
        assert not ctx.get(dut.begin)
        await ctx.tick()
        ctx.set(dut.start, 0)
        assert ctx.get(dut.status) == FAILED
        await _pulse(ctx, dut.soft_reset)
        assert ctx.get(dut.reset)
        await ctx.tick()
        assert ctx.get(dut.status) == 0 and not ctx.get(dut.reset) and not ctx.get(dut.drain)
        assert ctx.get(dut.error.code) == Error.NONE
        await _pulse(ctx, dut.start)
        assert ctx.get(dut.status) == BUSY

    _simulate(dut, bench)


def test_soft_reset_in_mid_run_waits_for_the_bus(cfg):
    dut = Supervisor(cfg)

    async def bench(ctx):
        await _pulse(ctx, dut.start)
        await _pulse(ctx, dut.soft_reset)
        for _ in range(50):
            assert ctx.get(dut.status) == BUSY | RESETTING
            assert ctx.get(dut.drain) and not ctx.get(dut.reset)
            await ctx.tick()
        ctx.set(dut.bus_idle, 1)
        waited = await _until(ctx, lambda: ctx.get(dut.reset))
        assert waited >= Supervisor.quiet_cycles
        await ctx.tick()
        assert ctx.get(dut.status) == 0

    _simulate(dut, bench)


def test_first_of_simultaneous_errors_is_the_command(cfg):
    dut = Supervisor(cfg)

    async def bench(ctx):
        await _pulse(ctx, dut.start)
        ctx.set(dut.read_error.valid, 1)
        ctx.set(dut.command_error.payload, {"code": Error.ILLEGAL_COMMAND, "unit": 4, "info": 9})
        await _pulse(ctx, dut.command_error.valid)
        found = ctx.get(dut.error)
        assert (found.code, found.unit, found.info) == (Error.ILLEGAL_COMMAND, 4, 9)

    _simulate(dut, bench)


def test_watchdog(cfg):
    dut = Supervisor(cfg)
    limit = cfg.control.watchdog_cycles

    async def bench(ctx):
        ctx.set(dut.held_up, 0x8004)
        await _pulse(ctx, dut.start)
        for _ in range(limit - 10):
            await ctx.tick()
        await _pulse(ctx, dut.progress)
        waited = await _until(ctx, lambda: ctx.get(dut.status) & FAILED, limit=2 * limit)
        assert limit <= waited <= limit + 2
        assert (ctx.get(dut.error.code), ctx.get(dut.error.info)) == (Error.TIMEOUT, 0x8004)

    _simulate(dut, bench)


def test_errors_outside_a_run_are_ignored(cfg):
    dut = Supervisor(cfg)

    async def bench(ctx):
        await _pulse(ctx, dut.read_error.valid)
        await ctx.tick()
        assert ctx.get(dut.status) == 0

    _simulate(dut, bench)


# -- counters --------------------------------------------------------------------------------------


def test_counters_against_a_model(cfg):
    dut = Counters(cfg)
    rng = random.Random(2)
    expected = dict.fromkeys(dut.names, 0)
    cycles = 0

    async def bench(ctx):
        nonlocal cycles
        await _pulse(ctx, dut.clear)
        for _ in range(300):
            running = rng.random() < 0.8
            state = {name: rng.getrandbits(len(isa.units(cfg))) for name in ("busy", "stalled", "waiting")}
            lacking = [rng.getrandbits(cfg.control.semaphores) for _ in isa.units(cfg)]
            beats = {"read_beat": rng.getrandbits(1), "write_beat": rng.getrandbits(1)}
            for name, value in {**state, **beats, "running": running}.items():
                ctx.set(getattr(dut, name), value)
            ctx.set(dut.lacking, lacking)
            await ctx.tick()
            if not running:
                continue
            cycles += 1
            expected["read_beats"] += beats["read_beat"]
            expected["write_beats"] += beats["write_beat"]
            waited = 0
            for unit in isa.units(cfg):
                busy, stalled, waiting = (state[name] >> unit & 1 for name in ("busy", "stalled", "waiting"))
                name = "stall" if busy and stalled else "busy" if busy else "wait" if waiting else None
                if name:
                    expected[f"{unit.name.lower()}_{name}"] += 1
                if name == "wait":
                    waited |= lacking[unit]
            for index in range(cfg.control.semaphores):
                expected[f"semaphore_{index}_wait"] += waited >> index & 1
        ctx.set(dut.running, 0)
        await ctx.tick()  # what is counted passes a register; what follows the run, no longer running, is not
        assert {name: ctx.get(getattr(dut, name)) for name in dut.names} == expected
        assert ctx.get(dut.cycles) == cycles
        await ctx.tick()
        assert {name: ctx.get(getattr(dut, name)) for name in dut.names} == expected
        await _pulse(ctx, dut.clear)
        assert not any(ctx.get(getattr(dut, name)) for name in dut.names) and ctx.get(dut.cycles) == 0

    _simulate(dut, bench)
    assert set(expected) <= {r.name.lower() for r in isa.HOST_REGISTERS}
