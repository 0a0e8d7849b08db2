"""The sparse engine in Amaranth's simulator: random jobs, and the law of its cycles as a program."""

from dataclasses import dataclass, field

import numpy as np
from amaranth.sim import Simulator

from dataflows.config import Config, load, parse
from dataflows.run_length import Format
from rtl.sparse import SparseEngine
from rtl.sparse_pe import SparsePE
from sim.golden import columns as golden
from sim.golden.requantize import wrap
from tests import sparsity
from tests.rtl.compute_bench import put

LIMIT = 30_000


def make_config(bits=8, bus_bits=64, rows=4, cols=4, **sparse) -> Config:
    """A small accelerator around an engine."""
    values = load("configs/eie4.toml").model_dump()
    values["array"] |= {"rows": rows, "cols": cols}
    values["numbers"] = {"act_bits": bits}
    values["bus"]["data_bits"] = bus_bits
    values["memory"] = {
        "input_bytes": 4096, "weight_bytes": 4096, "operand_bytes": 4096, "acc_bytes": 96 * cols, "param_bytes": 8192,
    }  # fmt: skip
    values["sparse"] |= {"weight_bytes": 2048, "pointer_bytes": 512, **sparse}
    return parse(values, "test")


@dataclass
class Job:
    """One vector times a matrix (rows, columns), which lies at beats ``word`` and ``pointers`` of the PEs."""

    weight: np.ndarray
    vector: np.ndarray
    zero: int
    drain: int
    codebook: int
    word: int
    pointers: int
    compressed: golden.Columns

    @property
    def lengths(self):
        """Entries (pes, columns)."""
        return np.diff(self.compressed.pointers)

    def registers(self, cfg, give=0):
        """Payload of the job."""
        full, extra = divmod(len(self.weight), cfg.sparse.pes)
        return {
            "columns": {"count": self.vector.size, "pointers": self.pointers},
            "weights": {"word": self.word, "entries": int(self.compressed.pointers.max())},
            "rows": {"full": full, "extra": extra},
            "mode": {"zero": self.zero, "codebook": self.codebook, "drain": self.drain},
            "give": give, "tag": 0, "mark": 0,
        }  # fmt: skip


def form(cfg):
    """Widths of entries."""
    return Format(cfg.sparse.run_bits, cfg.sparse.code_bits)


def random_jobs(cfg, rng, count, *, density=None, drains=0.7) -> list[Job]:
    """Jobs of which each has a place of its own in the memories, or that of the one before; the last one drains."""
    bits, sparse = cfg.numbers.act_bits, cfg.sparse
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    limit = min(high, (1 << sparse.code_bits) - 1)
    values = np.r_[low, -1, np.arange(1, high + 1)]
    books = [np.sort(rng.choice(values, limit, replace=False)) for _ in range(sparse.codebooks)]
    jobs, word, pointers, rows = [], 0, 0, 1
    for index in range(count):
        again = index and rng.random() < 0.3
        if not index or jobs[-1].drain:
            rows = int(rng.integers(1, sparse.pes * sparse.accumulators + 1))
        columns = jobs[-1].vector.size if again else int(rng.integers(1, 30))
        if again and len(jobs[-1].weight) == rows:
            job = jobs[-1]
            weight, place, compressed, book = job.weight, (job.word, job.pointers), job.compressed, job.codebook
        else:
            draw = sparsity.clustered if rng.random() < 0.5 else sparsity.independent
            share = float(rng.choice([0, 0.05, 0.3, 1])) if density is None else density
            book, place = int(rng.integers(sparse.codebooks)), (word, pointers)
            weight = np.where(draw(rng, (rows, columns), share), rng.choice(books[book], (rows, columns)), 0)
            compressed = encode(cfg, weight, books[book])
            word += -(-int(compressed.pointers.max()) * cfg.entry_bytes // cfg.bus_bytes) + int(rng.integers(2))
            pointers += -(-2 * (columns + 1) // cfg.bus_bytes)
        zero = int(rng.choice([low, high, 0, rng.integers(low, high)]))
        vector = rng.choice([low, high, *rng.integers(low, high + 1, 9)], columns)
        vector[rng.random(columns) >= rng.choice([0, 0.3, 0.8, 1])] = zero
        ends = index == count - 1 or rng.random() < drains
        drain = -(-rows // cfg.lanes) if ends else 0
        jobs.append(Job(weight, vector, zero, drain, book, *place, compressed))
    assert word * cfg.bus_bytes <= sparse.weight_bytes and pointers * cfg.bus_bytes <= sparse.pointer_bytes
    return jobs


def encode(cfg, weight, book) -> golden.Columns:
    """Compress with all values of a codebook, whether the matrix has them or not."""
    values = np.zeros((len(weight), book.size), np.int64)
    values[0] = book
    whole = golden.encode(np.hstack([weight, values]), form(cfg), cfg.sparse.pes)
    pointers = whole.pointers[:, : weight.shape[1] + 1]
    entries = tuple(e[: p[-1]] for e, p in zip(whole.entries, pointers, strict=True))
    return golden.Columns(whole.codebook, entries, pointers)


def expected_words(cfg, jobs):
    """Words of sums that leave, in order, as lists of lanes."""
    words, total = [], np.zeros(cfg.sparse.pes * cfg.sparse.accumulators, np.int64)
    for job in jobs:
        total[: len(job.weight)] += job.weight @ (job.vector.astype(np.int64) - job.zero)
        if job.drain:
            words += wrap(total, cfg.numbers.acc_bits).reshape(-1, cfg.lanes)[: job.drain].tolist()
            total[:] = 0
    return words


def walk(cfg, job, begin, first_word) -> tuple[int, int, int]:
    """Of a job that begins in cycle ``begin``, and whose first word comes in cycle ``first_word``: the cycle in which
    its sums are complete, and those in which its last word comes and goes."""
    sparse, lengths = cfg.sparse, job.lengths
    width, left = cfg.input_elements, [begin]
    finish, start = np.zeros(sparse.pes, int), np.zeros(sparse.pes, int) + begin
    leaves, come, gone = [], first_word, max(begin, first_word)
    for first in range(0, job.vector.size, width):
        sent = np.flatnonzero(job.vector[first : first + width] != job.zero) + first
        come = gone if first else first_word
        for column in sent:
            found = max(gone + 1, left[-1])
            room = leaves[-sparse.queue].max() if len(leaves) >= sparse.queue else 0
            left.append(max(found + 1, room))
            leaves.append(np.maximum(left[-1] + 1, start - 1))
            start = np.maximum(finish, left[-1] + SparsePE.start)
            finish = start + np.maximum(1, lengths[:, column])
            gone = found
        gone += not sent.size
    end = gone + 1
    if len(left) > 1:
        end = max(end, left[-1] + 1, finish.max() + SparsePE.latency)
    return int(end), come, gone


def law(cfg, jobs, taken) -> tuple[list[int], list[int]]:
    """Cycles of the tokens and of the words of sums, of jobs of which the first is taken in cycle ``taken``.

    Everything else is always there: the next job, words, jobs of ACC.
    """
    end = drained = come = gone = 0
    tokens, words = [], []
    for job in jobs:
        begin = max(end, taken + 1)
        told = max(taken + 1, come + 1)  # the broadcast knows of the vector
        end, come, gone = walk(cfg, job, begin, max(told + 1, gone))
        if job.drain:
            end = max(end, drained)
            words += range(end + 3, end + 3 + job.drain)
            drained = end + 1 + job.drain
        tokens.append(end + 1)
        taken = begin + 1
    return tokens, words


@dataclass
class Run:
    """What came out of the engine."""

    words: list = field(default_factory=list)
    at: list = field(default_factory=list)  # cycles of the words
    tokens: list = field(default_factory=list)  # (cycle, semaphores)
    taken: list = field(default_factory=list)  # cycles of jobs
    walked: int = 0
    full: int = 0
    errors: list = field(default_factory=list)  # ((code, unit, info), cycle)


class Bench:
    """Memories are written, jobs, words and jobs of ACC offered; ``gap`` is the chance that any of them is late."""

    def __init__(self, cfg, jobs, *, gap=0.0, seed=0):
        self.cfg, self.jobs, self.gap = cfg, jobs, gap
        self.rng = np.random.default_rng(seed)
        self.dut = SparseEngine(cfg)
        self.run_, self.now, self.loaded, self.opened = Run(), 0, False, 0

    def run(self, until=None) -> Run:
        """To the last word of the last job, or until ``until(run)``."""
        words = sum(job.drain for job in self.jobs)
        end = until or (lambda run: len(run.words) == words and len(run.tokens) == len(self.jobs))

        async def watch(ctx):
            dut = self.dut
            for self.now in range(LIMIT):
                _, _, valid, done, give, took, moved = await ctx.tick().sample(
                    dut.o.valid, dut.done.valid, dut.done.payload, dut.job.valid & dut.job.ready, dut.full
                )
                self.run_.full += moved
                if took:
                    self.run_.taken.append(self.now)
                if valid:
                    self.run_.at.append(self.now)
                if done:
                    self.run_.tokens.append((self.now, give))
                self.run_.walked += ctx.get(dut.walked)
                if end(self.run_):
                    return
            raise TimeoutError(f"the engine does not end: {self.run_}")

        async def sums(ctx):
            while True:
                *_, valid, word = await ctx.tick().sample(self.dut.o.valid, self.dut.o.payload)
                if valid:
                    self.run_.words.append([int(lane) for lane in word])

        async def errors(ctx):
            while True:
                *_, valid, error = await ctx.tick().sample(self.dut.error.valid, self.dut.error.payload)
                if valid:
                    self.run_.errors.append((error.code, error.unit, error.info))

        sim = Simulator(self.dut)
        sim.add_clock(1e-9)
        sim.add_testbench(watch)
        for bench in (sums, errors, self._load, self._jobs, self._words, self._open):
            sim.add_testbench(bench, background=True)
        sim.run()
        return self.run_

    async def _late(self, ctx):
        while not self.loaded or self.rng.random() < self.gap:
            await ctx.tick()

    async def _write(self, ctx, port, address, raw):
        size = self.cfg.bus_bytes
        for first in range(0, len(raw), size):
            beat = raw[first : first + size].tolist()
            ctx.set(port.payload, {"address": address + first, "data": beat + [0] * (size - len(beat)), "first": 0,
                                   "count": size})
            ctx.set(port.valid, 1)
            await ctx.tick()
        ctx.set(port.valid, 0)

    async def _load(self, ctx):
        cfg, dut = self.cfg, self.dut
        for job in self.jobs:
            book = job.compressed.codebook.astype(f"<i{cfg.act_bytes}").view(np.uint8)
            await self._write(ctx, dut.codebook, job.codebook * cfg.codebook_pitch, book)
            for pe in range(cfg.sparse.pes):
                entries = golden.pack(job.compressed.entries[pe], form(cfg))
                pointers = job.compressed.pointers[pe].astype("<u2").view(np.uint8)
                where = pe * cfg.sparse_weight_pitch + job.word * cfg.bus_bytes
                await self._write(ctx, dut.entries, where, entries)
                where = pe * cfg.sparse_pointer_pitch + job.pointers * cfg.bus_bytes
                await self._write(ctx, dut.pointers, where, pointers)
        for _ in range(cfg.sparse.accumulators + 2):  # sums are cleared after a reset
            await ctx.tick()
        self.loaded = True

    async def _jobs(self, ctx):
        for index, job in enumerate(self.jobs):
            await self._late(ctx)
            await put(ctx, self.dut.job, [job.registers(self.cfg, give=index % 4096 + 1)])

    async def _words(self, ctx):
        width = self.cfg.input_elements
        limit = 1 << self.cfg.numbers.act_bits - 1
        for job in self.jobs:
            filled = self.rng.integers(-limit, limit, -(-job.vector.size // width) * width)
            filled[: job.vector.size] = job.vector
            for word in filled.reshape(-1, width).tolist():
                await self._late(ctx)
                await put(ctx, self.dut.i, [word])

    async def _open(self, ctx):
        """ACC holds two jobs: one more is opened when one has all its words."""
        ends = np.cumsum([job.drain for job in self.jobs if job.drain])
        for index in range(len(ends)):
            while index >= 2 and len(self.run_.words) < ends[index - 2]:
                await ctx.tick()
            await self._late(ctx)
            ctx.set(self.dut.open, 1)
            await ctx.tick()
            ctx.set(self.dut.open, 0)
