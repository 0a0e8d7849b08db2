"""Drives a sparse PE cycle by cycle and checks sums, ``ready``, ``walked`` and ``idle`` against plain models."""

import random
from collections import defaultdict
from dataclasses import dataclass, field

from amaranth.hdl import ResetInserter, Signal
from amaranth.sim import Simulator

from dataflows.config import Config
from rtl.sparse_pe import SparsePE
from tests.rtl.axi_model import watchdog


def make_config(bits=8, bus_bits=64, **sparse):
    """A configuration with one PE, small memories and the given numbers."""
    word = max(bus_bits // 8, 4)
    sizes = {name: 64 * word for name in ("input_bytes", "weight_bytes", "operand_bytes", "param_bytes")}
    return Config.model_validate({
        "name": "test",
        "array": {"rows": 1, "cols": 1, "dataflow": "weight_stationary"},
        "memory": {**sizes, "acc_bytes": 96},
        "bus": {"data_bits": bus_bits},
        "numbers": {"act_bits": bits},
        "sparse": {
            "pes": 1, "weight_bytes": 32 * bus_bits, "pointer_bytes": 4 * bus_bits, "accumulators": 70, **sparse,
        },
    })


@dataclass
class Job:
    """Columns of one PE, and the activations that meet them.

    ``columns[k]`` holds entries (run, code); ``activations`` are (column, value); ``word`` and ``pointers`` are beats.
    """

    columns: list
    activations: list
    rows: int
    codebook: int = 0
    word: int = 0
    pointers: int = 0
    listed: list = field(init=False)  # the pointers

    def __post_init__(self):
        self.listed = [0]
        for column in self.columns:
            self.listed.append(self.listed[-1] + len(column))


def entries_of(column, run_bits):
    """Entries (run, code) of a column given as codes of its places."""
    entries, run = [], 0
    for code in column:
        if code:
            entries.append((run, code))
            run = 0
        elif run == (1 << run_bits) - 1:
            entries.append((run, 0))
            run = 0
        else:
            run += 1
    while entries and entries[-1][1] == 0:
        entries.pop()
    return entries


def expected_sums(cfg, job, codebook, before):
    """Sums behind a job, modulo 2**acc_bits, as signed numbers."""
    sums, half = list(before), 1 << (cfg.numbers.acc_bits - 1)
    for column, value in job.activations:
        place = -1
        for run, code in job.columns[column]:
            place += run + 1
            if code:
                sums[place] = (sums[place] + codebook[code] * value + half) % (2 * half) - half
    return sums


class Bench:
    """One PE in Amaranth's simulator. :meth:`tick` moves on by a cycle and checks what the law says of it.

    Attributes
    ----------
    cycle : int
    sums : list of list of int
        What both banks hold.
    """

    def __init__(self, cfg, seed=0):
        self.cfg = cfg
        self.rng = random.Random(seed)
        self.dut = SparsePE(cfg)
        self.reset = Signal()
        self.forget()
        half = 1 << (cfg.numbers.weight_bits - 1)
        low = [-half, half - 1, 0]
        values = [self.rng.choice(low) if self.rng.random() < 0.3 else self.rng.randrange(-half, half)
                  for _ in range(cfg.sparse.codebooks << cfg.sparse.code_bits)]
        count = 1 << cfg.sparse.code_bits
        self.codebooks = [values[i : i + count] for i in range(0, len(values), count)]

    def forget(self):
        """As after a reset."""
        self.cycle = 0
        self.bank = 0
        self.sums = [[0] * self.cfg.sparse.accumulators for _ in range(2)]
        self.leaves = []  # cycle in which each activation leaves the queue
        self.walks = defaultdict(bool)
        self.started, self.finished = -9, -9
        self.to_drain = []
        self.lawful = True

    def run(self, testbench, limit=20000):
        """Run ``testbench(ctx)`` behind the clearing of the sums and the loading of noise and codebooks."""
        async def whole(ctx):
            await self.prepare(ctx)
            await testbench(ctx)

        simulator = Simulator(ResetInserter(self.reset)(self.dut))
        simulator.add_clock(1e-9)
        simulator.add_testbench(whole)
        simulator.add_testbench(watchdog(limit), background=True)
        simulator.run()

    async def prepare(self, ctx):
        cfg, dut = self.cfg, self.dut
        for enable, size in (
            (dut.write_entries, cfg.sparse.weight_bytes), (dut.write_pointers, cfg.sparse.pointer_bytes)
        ):  # fmt: skip
            await self.write(ctx, enable, 0, [self.rng.randrange(256) for _ in range(size)])
        for number, weights in enumerate(self.codebooks):
            data = b"".join(w.to_bytes(cfg.act_bytes, "little", signed=True) for w in weights)
            await self.write(ctx, dut.write_codebook, number * cfg.codebook_pitch // cfg.bus_bytes, list(data))
        for _ in range(cfg.sparse.accumulators):
            if not ctx.get(dut.clearing):
                break
            await ctx.tick()
        assert not ctx.get(dut.clearing)

    async def write(self, ctx, enable, beat, data):
        """Write bytes from a beat on; what the last beat has room for is noise."""
        size = self.cfg.bus_bytes
        ctx.set(self.dut.i.valid, 0)
        ctx.set(self.dut.drain, 0)
        data = list(data) + [self.rng.randrange(256) for _ in range(-len(data) % size)]
        ctx.set(enable, 1)
        for i in range(0, len(data), size):
            ctx.set(self.dut.write_beat, beat + i // size)
            ctx.set(self.dut.write_data, int.from_bytes(bytes(data[i : i + size]), "little"))
            await ctx.tick()
        ctx.set(enable, 0)

    async def load(self, ctx, job):
        """Write entries and pointers of a job."""
        cfg = self.cfg
        entries = [run | code << cfg.sparse.run_bits for column in job.columns for run, code in column]
        data = b"".join(entry.to_bytes(cfg.entry_bytes, "little") for entry in entries)
        await self.write(ctx, self.dut.write_entries, job.word, data)
        pointers = b"".join(pointer.to_bytes(2, "little") for pointer in job.listed)
        await self.write(ctx, self.dut.write_pointers, job.pointers, pointers)

    async def begin(self, ctx, job, bank):
        """Set what is constant in a job."""
        dut = self.dut
        self.bank = bank
        ctx.set(dut.drain, 0)
        values = {"pointers": job.pointers, "word": job.word, "entries": job.listed[-1], "rows": job.rows,
                  "codebook": job.codebook, "bank": bank}
        for name, value in values.items():
            ctx.set(getattr(dut, name), value)

    async def tick(self, ctx, activation=None, length=0):
        """One cycle, in which an activation may be offered; returns whether it was taken. Drains what is to drain."""
        dut, now = self.dut, self.cycle
        ctx.set(dut.i.valid, activation is not None)
        if activation is not None:
            ctx.set(dut.i.payload, {"column": activation[0], "value": activation[1]})
        drains = bool(self.to_drain) and self.rng.random() < 0.7
        place = self.to_drain.pop() if drains else 0
        ctx.set(dut.drain, drains)
        ctx.set(dut.drain_place, place)
        if self.lawful:
            queued = sum(cycle >= now for cycle in self.leaves[-self.cfg.sparse.queue - 2 :])
            ready = queued < self.cfg.sparse.queue or now in self.leaves[-self.cfg.sparse.queue - 2 :]
            assert ctx.get(dut.i.ready) == ready, now
            assert ctx.get(dut.walked) == self.walks[now], now
            assert ctx.get(dut.idle) == (now >= self.finished + SparsePE.latency), now
            assert ctx.get(dut.error) == {"run": 0, "pointer": 0, "column": ctx.get(dut.error.column)}
        taken = activation is not None and ctx.get(dut.i.ready)
        if taken:
            self._walk(now, length)
        await ctx.tick()
        self.cycle += 1
        if drains:
            assert ctx.get(dut.drained) == self.sums[1 - self.bank][place], (now, place)
            self.sums[1 - self.bank][place] = 0
        return taken

    def _walk(self, now, length):
        """The law: when an activation that is taken now leaves the queue, and when its column is walked."""
        self.leaves.append(max(now + 1, self.started - 1))
        self.started = max(self.finished, now + SparsePE.start)
        self.finished = self.started + max(1, length)
        for cycle in range(self.started, self.started + length):
            self.walks[cycle] = True

    async def send(self, ctx, job, stall=0.0):
        """All activations of a job, with pauses, until the PE is idle; then its sums are known."""
        for activation in job.activations:
            while self.rng.random() < stall:
                await self.tick(ctx)
            while not await self.tick(ctx, activation, len(job.columns[activation[0]])):
                pass
        while not ctx.get(self.dut.idle):
            await self.tick(ctx)
        sums = self.sums[self.bank]
        sums[:] = expected_sums(self.cfg, job, self.codebooks[job.codebook], sums)

    async def drain(self, ctx):
        """What the other bank holds, all places in any order."""
        self.to_drain = self.rng.sample(range(self.cfg.sparse.accumulators), self.cfg.sparse.accumulators)
        while self.to_drain:
            await self.tick(ctx)
