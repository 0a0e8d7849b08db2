"""An AXI4 slave for the Amaranth simulator, with checks of the protocol; helpers of the bus tests."""

import random
from collections import deque
from dataclasses import dataclass, field

from amaranth.sim import Simulator

from dataflows.config import Config


def make_config(bus_bits=64, lanes=4, bits=8, attention=False, **bus):
    """A small configuration with the given bus, number of lanes and width of operands; with a row engine or not."""
    word = max(bus_bits // 8, 1 << (lanes - 1).bit_length()) * bits // 8
    return Config.model_validate({
        "name": "test",
        "array": {"rows": 2, "cols": lanes, "dataflow": "weight_stationary"},
        "memory": {
            "input_bytes": 64 * word,
            "weight_bytes": 64 * word,
            "operand_bytes": 64 * word,
            "acc_bytes": 96 * lanes,
            "param_bytes": 64 * word,
        },
        "bus": {"data_bits": bus_bits, **bus},
        "numbers": {"act_bits": bits},
        **({"attention": {"row_elements": 16 * lanes}} if attention else {}),
    })


def visit(base, levels):
    """Addresses of a loop nest; levels are (count, step), innermost first."""
    count = [1] * len(levels)
    while True:
        yield base
        for level, (limit, step) in enumerate(levels):
            if count[level] < limit:
                count[level] += 1
                base += step
                break
            count[level] = 1
        else:
            return


def split(rng, factors, ways):
    """Distribute factors at random over ``ways`` products."""
    result = [1] * ways
    for factor in factors:
        result[rng.randrange(ways)] *= factor
    return result


def dram_byte(address):
    """Content of the read-only test DRAM: depends on every address bit, no period of a beat or a page."""
    return ((address * 0x9E3779B1) ^ (address >> 7)) >> 5 & 0xFF


def watchdog(cycles):
    """Background testbench that ends a simulation that hangs."""

    async def testbench(ctx):
        for _ in range(cycles):
            await ctx.tick()
        raise TimeoutError(f"not finished after {cycles} cycles")

    return testbench


def sender(stream, items, stall=0.0, seed=0):
    """Testbench that sends items, with random pauses."""
    rng = random.Random(seed)

    async def testbench(ctx):
        for item in items:
            while rng.random() < stall:
                await ctx.tick()
            ctx.set(stream.payload, item)
            ctx.set(stream.valid, 1)
            taken = False
            while not taken:  # not .until(): that warns if the simulation ends meanwhile
                *_, taken = await ctx.tick().sample(stream.ready)
            ctx.set(stream.valid, 0)

    return testbench


def simulate(design, testbenches, background=(), cycles=20000):
    """Run testbenches to their end; fail after ``cycles``."""
    sim = Simulator(design)
    sim.add_clock(1e-9)
    for testbench in (*background, watchdog(cycles)):  # first, so that the others see what these saw at the same edge
        sim.add_testbench(testbench, background=True)
    for testbench in testbenches:
        sim.add_testbench(testbench)
    sim.run()


def testbench_of(function, *args):
    """Testbench that calls ``function(ctx, *args)``; the simulator wants a coroutine function."""

    async def testbench(ctx):
        await function(ctx, *args)

    return testbench


@dataclass
class AxiSlave:
    """Reads return ``contents``, elsewhere :func:`dram_byte`; writes go to ``memory``; ``bad`` addresses give errors.

    ``latency`` counts cycles from the address handshake to the first R, and from the last W to B.
    """

    cfg: Config
    stall: float = 0.0
    latency: int = 5
    jitter: int = 0
    bad: tuple[int, ...] = ()
    seed: int = 0
    memory: dict[int, int] = field(default_factory=dict)
    contents: dict[int, int] = field(default_factory=dict)
    read_bursts: list[tuple[int, int]] = field(default_factory=list)
    write_bursts: list[tuple[int, int]] = field(default_factory=list)
    beat_cycles: list[int] = field(default_factory=list)
    max_in_flight: int = 0

    def _check_burst(self, address, beats, size, burst, limit):
        size_bytes = self.cfg.bus_bytes
        assert address % size_bytes == 0 and 1 << size == size_bytes and burst == 1
        assert 1 <= beats <= limit
        assert address // 4096 == (address + beats * size_bytes - 1) // 4096, "burst crosses a page"

    def reader(self, axi):
        """Testbench of the AR and R channels."""
        return testbench_of(self._read, axi)

    def writer(self, axi):
        """Testbench of the AW, W and B channels."""
        return testbench_of(self._write, axi)

    async def _read(self, ctx, axi):
        rng = random.Random(self.seed)
        size = self.cfg.bus_bytes
        waiting = deque()  # (first cycle, address, last, error)
        now, held, in_flight = 0, None, 0
        offered = None
        while True:
            ctx.set(axi.arready, rng.random() >= self.stall)
            if offered is None and waiting and waiting[0][0] <= now and rng.random() >= self.stall:
                offered = waiting.popleft()
                _, address, last, error = offered
                beat = bytes(self.contents.get(address + i, dram_byte(address + i)) for i in range(size))
                ctx.set(axi.rdata, int.from_bytes(beat, "little"))
                ctx.set(axi.rlast, last)
                ctx.set(axi.rresp, 2 if error else 0)
            elif offered is None:
                ctx.set(axi.rdata, rng.getrandbits(8 * size))
            ctx.set(axi.rvalid, offered is not None)
            _, _, valid, ready, address, length, asize, burst, rready = await ctx.tick().sample(
                axi.arvalid, axi.arready, axi.araddr, axi.arlen, axi.arsize, axi.arburst, axi.rready
            )
            now += 1
            if held is not None:
                assert valid and held == (address, length), "AR changed before its handshake"
            held = (address, length) if valid and not ready else None
            if valid and ready:
                self._check_burst(address, length + 1, asize, burst, self.cfg.bus.max_read_burst)
                self.read_bursts.append((address, length + 1))
                start = now + self.latency - 1 + rng.randint(0, self.jitter)
                for i in range(length + 1):
                    waiting.append((start, address + i * size, i == length, address in self.bad))
                in_flight += 1
                self.max_in_flight = max(in_flight, self.max_in_flight)
            if offered is not None and rready:
                self.beat_cycles.append(now)
                in_flight -= offered[2]
                offered = None

    async def _write(self, ctx, axi):
        rng = random.Random(self.seed)
        size = self.cfg.bus_bytes
        addresses, beats, responses = deque(), deque(), deque()
        now, in_flight, offered = 0, 0, None
        held_aw = held_w = None
        while True:
            ctx.set(axi.awready, rng.random() >= self.stall)
            ctx.set(axi.wready, rng.random() >= self.stall)
            if offered is None and responses and responses[0][0] <= now and rng.random() >= self.stall:
                offered = responses.popleft()
                ctx.set(axi.bresp, 2 if offered[1] else 0)
            ctx.set(axi.bvalid, offered is not None)
            sample = await ctx.tick().sample(
                axi.awvalid, axi.awready, axi.awaddr, axi.awlen, axi.awsize, axi.awburst,
                axi.wvalid, axi.wready, axi.wdata, axi.wstrb, axi.wlast, axi.bready,
            )
            awvalid, awready, address, length, asize, burst, wvalid, wready, data, strobe, last, bready = sample[2:]
            now += 1
            assert held_aw is None or (awvalid and held_aw == (address, length)), "AW changed before its handshake"
            assert held_w is None or (wvalid and held_w == (data, strobe, last)), "W changed before its handshake"
            held_aw = (address, length) if awvalid and not awready else None
            held_w = (data, strobe, last) if wvalid and not wready else None
            if awvalid and awready:
                self._check_burst(address, length + 1, asize, burst, self.cfg.bus.max_write_burst)
                self.write_bursts.append((address, length + 1))
                addresses.append((address, length + 1))
                in_flight += 1
                self.max_in_flight = max(in_flight, self.max_in_flight)
            if wvalid and wready:
                self.beat_cycles.append(now)
                beats.append((data, strobe, last))
            if addresses and len(beats) >= addresses[0][1]:
                address, count = addresses.popleft()
                for i in range(count):
                    data, strobe, last = beats.popleft()
                    assert last == (i == count - 1), "WLAST in the wrong beat"
                    assert strobe, "beat without a byte"
                    for j in range(size):
                        if strobe >> j & 1:
                            self.memory[address + i * size + j] = data >> (8 * j) & 0xFF
                responses.append((now + self.latency - 1 + rng.randint(0, self.jitter), address in self.bad))
            if offered is not None and bready:
                offered = None
                in_flight -= 1
