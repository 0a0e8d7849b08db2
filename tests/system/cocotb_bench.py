"""The accelerator between cocotbext-axi's host and memory, with every rule of the buses watched."""

from __future__ import annotations

import itertools
import random
from collections.abc import Awaitable, Iterator

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, SimTimeoutError, with_timeout
from cocotbext.axi import AxiLiteMaster, AxiSlave

from dataflows import isa
from sim.cocotb_axi import host_bus, memory_bus
from tests.system.small import Bytes, Small

PERIOD_NS = 2
ADDRESS = {register.name: register.address for register in isa.HOST_REGISTERS}
BUSY, DONE, ERROR, RESETTING = 1, 2, 4, 8
START, SOFT_RESET = 1, 2
ORIGIN = 0x12_FFFF_F000
"""Where the memory begins: its addresses need all their bits, and carry into bit 32 in the middle of a program."""


PAYLOADS = {
    "m_axi_ar": ("addr", "len", "size", "burst"),
    "m_axi_aw": ("addr", "len", "size", "burst"),
    "m_axi_w": ("data", "strb", "last"),
    "s_axil_r": ("data", "resp"),
    "s_axil_b": ("resp",),
}
"""What the accelerator drives on the channels whose valid is its own."""

CHANNELS = (*PAYLOADS, "m_axi_r", "m_axi_b")


class BusError(Exception):
    """Makes cocotbext-axi answer SLVERR."""


class Memory:
    """DRAM from ORIGIN on; ``fail_reads`` and ``fail_writes`` (offsets) answer with an error, as all outside does."""

    def __init__(self, data: Bytes) -> None:
        self.data = data.copy()
        self.fail_reads = self.fail_writes = range(0)

    async def read(self, address: int, length: int) -> bytes:
        start = self._offset(address, length, self.fail_reads)
        return self.data[start : start + length].tobytes()

    async def write(self, address: int, data: bytes) -> None:
        start = self._offset(address, len(data), self.fail_writes)
        self.data[start : start + len(data)] = np.frombuffer(data, np.uint8)

    def _offset(self, address: int, length: int, fail: range) -> int:
        start = address - ORIGIN
        inside = start >= 0 and start + length <= self.data.size
        if not inside or (fail and start < fail.stop and start + length > fail.start):
            raise BusError
        return start


class Watch:
    """Protocol rules of what the accelerator drives, and what is open on its master.

    Attributes
    ----------
    reads, writes, beats : int
        Read bursts without last data, write bursts without response, write data still to come.
    transfers : int
        Handshakes on the master so far.
    """

    def __init__(self, dut) -> None:
        self.dut = dut
        self.reads = self.writes = self.beats = self.transfers = 0
        self.most_reads = self.most_writes = 0

    @property
    def open(self) -> bool:
        return bool(self.reads or self.writes or self.beats)

    def __str__(self) -> str:
        return f"{self.reads} read and {self.writes} write bursts open, {self.beats} beats to write"

    def _value(self, name: str) -> int:
        return int(getattr(self.dut, name).value)

    async def run(self) -> None:
        held: dict[str, tuple[int, ...]] = {}
        while True:
            await RisingEdge(self.dut.clk)
            if self._value("rst"):
                held.clear()
                self.reads = self.writes = self.beats = 0
                continue
            for channel in CHANNELS:
                valid = self._value(f"{channel}valid")
                moved = valid and self._value(f"{channel}ready")
                if channel in PAYLOADS:
                    payload = tuple(self._value(channel + p) for p in PAYLOADS[channel]) if valid else ()
                    before = held.pop(channel, payload)
                    assert payload == before, f"{channel} gave {before} up for {payload or 'nothing'} before ready"
                    if valid and not moved:
                        held[channel] = payload
                if moved and channel.startswith("m_axi"):
                    self._count(channel)

    def _count(self, channel: str) -> None:
        self.transfers += 1
        if channel == "m_axi_ar":
            self.reads += 1
        elif channel == "m_axi_r":
            self.reads -= self._value("m_axi_rlast")
        elif channel == "m_axi_aw":
            self.writes += 1
            self.beats += self._value("m_axi_awlen") + 1
        elif channel == "m_axi_w":
            self.beats -= 1  # negative while data is ahead of its address
        else:
            self.writes -= 1
        self.most_reads, self.most_writes = max(self.most_reads, self.reads), max(self.most_writes, self.writes)


class Bench:
    """The accelerator out of reset. Make it with :meth:`begin`."""

    def __init__(self, dut, memory: Memory) -> None:
        self.dut = dut
        self.memory = memory
        self.host = AxiLiteMaster(host_bus(dut), dut.clk, dut.rst)
        self.slave = AxiSlave(memory_bus(dut), dut.clk, dut.rst, target=memory)
        self.watch = Watch(dut)
        host, slave = self.host, self.slave
        self.host_channels = (
            host.write_if.aw_channel, host.write_if.w_channel, host.write_if.b_channel,
            host.read_if.ar_channel, host.read_if.r_channel,
        )  # fmt: skip
        self.memory_channels = (
            slave.write_if.aw_channel, slave.write_if.w_channel, slave.write_if.b_channel,
            slave.read_if.ar_channel, slave.read_if.r_channel,
        )  # fmt: skip
        for interface in (host.write_if, host.read_if, slave.write_if, slave.read_if):
            interface.log.setLevel("WARNING")

    @classmethod
    async def begin(cls, dut, data: Bytes) -> Bench:
        """Clock, reset, watch."""
        cocotb.start_soon(Clock(dut.clk, PERIOD_NS, unit="ns").start())
        dut.rst.value = 1
        bench = cls(dut, Memory(data))
        cocotb.start_soon(bench.watch.run())
        await bench.reset()
        return bench

    async def reset(self) -> None:
        """Hold the reset input; both sides of the buses see it."""
        self.dut.rst.value = 1
        await self.cycles(4)
        self.dut.rst.value = 0
        await self.cycles(1)

    async def cycles(self, count: int) -> None:
        await ClockCycles(self.dut.clk, count)

    # -- pauses --------------------------------------------------------------------------------

    def pause_randomly(self, rng: random.Random) -> None:
        """Random pauses on all ten channels, each with a share of its own; some come in long runs."""
        for channel in (*self.host_channels, *self.memory_channels):
            channel.set_pause_generator(_pauses(random.Random(rng.random()), rng.choice([0.1, 0.3, 0.6])))

    def hold_answers(self) -> None:
        """The memory answers nothing more, until pauses are set again."""
        for channel in (self.slave.write_if.b_channel, self.slave.read_if.r_channel):
            channel.set_pause_generator(itertools.repeat(True))

    def no_pauses(self) -> None:
        for channel in (*self.host_channels, *self.memory_channels):
            channel.clear_pause_generator()
            channel.pause = False

    # -- registers -----------------------------------------------------------------------------

    async def limited(self, access: Awaitable, what: str, cycles: int):
        """The result of an access that must end within ``cycles``."""
        try:
            return await with_timeout(access, cycles * PERIOD_NS, "ns")
        except SimTimeoutError:
            raise AssertionError(f"{what}: nothing after {cycles} cycles") from None

    async def read_raw(self, address: int, size: int = 4):
        """Response object of a read."""
        return await self.limited(self.host.read(address, size), f"read of register address {address:#x}", 2000)

    async def write_raw(self, address: int, data: bytes):
        """Response object of a write."""
        return await self.limited(self.host.write(address, data), f"write of register address {address:#x}", 2000)

    async def read(self, name: str) -> int:
        answer = await self.read_raw(ADDRESS[name])
        assert answer.resp == 0, f"read of {name} answered {answer.resp!r}"
        return int.from_bytes(answer.data, "little")

    async def write(self, name: str, value: int) -> None:
        answer = await self.write_raw(ADDRESS[name], value.to_bytes(4, "little"))
        assert answer.resp == 0, f"write of {name} answered {answer.resp!r}"

    # -- runs ----------------------------------------------------------------------------------

    async def prepare(self, case: Small) -> None:
        """Fresh memory contents, and all registers of a run except its start."""
        self.memory.data[:] = case.before
        self.memory.fail_reads = self.memory.fail_writes = range(0)
        await self.write("IRQ_ENABLE", 1)
        await self.write("PROGRAM_WORDS", len(case.program.words))
        wide = {f"BASE_{region.name}": base for region, base in case.image.bases.items()} | {"MARK": case.image.marks}
        for name, value in wide.items():
            await self.write(f"{name}_LOW", (ORIGIN + value) & 0xFFFF_FFFF)
            await self.write(f"{name}_HIGH", (ORIGIN + value) >> 32)

    async def interrupt(self, limit: int = 60_000) -> None:
        """Wait for the interrupt."""
        if not self.dut.irq.value:
            await self.limited(RisingEdge(self.dut.irq), "interrupt", limit)

    async def run(self, case: Small) -> int:
        """A whole run, and everything that must be so after it; returns its cycles."""
        await self.prepare(case)
        await self.write("CONTROL", START)
        await self.interrupt()
        assert not self.watch.open, "done with bursts in flight"
        assert await self.read("STATUS") == DONE
        assert await self.read("ERROR") == await self.read("ERROR_INFO") == 0
        assert await self.read("MARKS") == len(case.program.schedule)
        cycles = await self.read("CYCLES_LOW") | await self.read("CYCLES_HIGH") << 32
        case.check_done(self.memory.data, cycles)
        await self.write("IRQ_CLEAR", 1)
        assert await self.read("STATUS") == 0
        assert not self.dut.irq.value
        return cycles

    async def drained(self, status: int, limit: int = 60_000) -> None:
        """Poll STATUS until not busy: it must be ``status``, the bus empty, and stay so."""
        for _ in range(limit):
            value = await self.read("STATUS")
            if not value & BUSY:
                break
        else:
            raise AssertionError(f"STATUS {value:#x} is still busy; {self.watch}")
        assert not self.watch.open, f"not busy with {self.watch}"
        assert value == status, f"STATUS {value:#x} after draining, not {status:#x}"
        before = self.watch.transfers
        await self.cycles(50)
        assert self.watch.transfers == before, "transfers on a drained bus"

    async def soft_reset(self) -> None:
        """Soft reset, until it is over."""
        await self.write("CONTROL", SOFT_RESET)
        await self.drained(0)
        assert await self.read("ERROR") == await self.read("ERROR_INFO") == 0
        assert not self.dut.irq.value


def _pauses(rng: random.Random, share: float) -> Iterator[bool]:
    while True:
        length = rng.choice([1, 1, 1, 2, 5, 20])
        yield from itertools.repeat(rng.random() < share, length)
