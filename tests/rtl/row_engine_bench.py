"""The row engine in Amaranth's simulator: random jobs, what they give, and when everything happens."""

from dataclasses import dataclass, field

import numpy as np
from amaranth.sim import Simulator

from dataflows.config import Config, load, parse
from dataflows.isa import Rows
from rtl.rows import RowsEngine
from sim.golden import norms, softmax
from sim.golden.requantize import round_shift
from tests.rtl import row_engine_law

LIMIT = 20_000
KINDS = (Rows.SOFTMAX, Rows.LAYER_NORM, Rows.RMS_NORM)


def make_config(lanes=4, bus_bits=64, rows=4, **attention) -> Config:
    """A small accelerator around an engine."""
    values = load("configs/ws16_attention.toml").model_dump()
    values["array"] |= {"rows": rows, "cols": lanes}
    values["bus"]["data_bits"] = bus_bits
    values["vector"] = None
    values["memory"] = {
        "input_bytes": 4096, "weight_bytes": 4096, "operand_bytes": 4096, "acc_bytes": 96 * 4 * lanes,
        "param_bytes": 8192,
    }  # fmt: skip
    values["attention"] |= {"row_elements": 8 * lanes, "scales": 64, **attention}
    return parse(values, "test")


@dataclass
class Job:
    """Rows of elements (rows, elements), and registers; norms have gains and biases (elements,)."""

    kind: Rows
    values: np.ndarray
    registers: dict
    gain: np.ndarray
    bias: np.ndarray

    def words(self, lanes, rng):
        """Words that come, as lists; lanes behind the tail hold anything."""
        blocks = self.registers["mode"]["blocks"]
        if self.registers["mode"]["column"]:
            filled = rng.integers(-(2**15), 2**15, (self.values.size, lanes))
            filled[:, 0] = self.values.ravel()
            return filled.tolist()
        filled = rng.integers(-(2**15), 2**15, (len(self.values), blocks * lanes))
        filled[:, : self.values.shape[1]] = self.values
        return filled.reshape(-1, lanes).tolist()

    def expected(self, position):
        """Elements that leave, as signed bytes (rows, elements); scales: (entry, multiplier, shift); decisions."""
        if self.kind == Rows.SOFTMAX:
            mode, count, scale = (self.registers[name] for name in ("mode", "count", "scale"))
            elements = self.values.shape[1]
            valid = count["valid"] + mode["positioned"] * position
            counted = valid + mode["causal"] * np.arange(len(self.values))
            codes, sums = softmax.numerators(self.values, np.arange(elements) < counted[:, None])
            multipliers, shifts = softmax.row_scale(sums, scale["multiplier"], scale["shift"])
            entries = scale["entry"] + np.arange(len(self.values))
            scales = list(zip(entries.tolist(), multipliers.tolist(), shifts.tolist(), strict=True))
            above = int((sums > self.registers["epsilon"]["value"]).any())
            return codes, scales, [above] if mode["decide"] else []
        gain = self.registers["gain"]
        deviation, square = norms.statistics(
            self.values - gain["zero_x"], self.registers["epsilon"]["value"], centered=self.kind == Rows.LAYER_NORM
        )
        total = norms.normalized(deviation, square) * self.gain + self.bias
        rounded = round_shift(total, self.registers["scale"]["shift"]) + gain["zero"]
        return np.clip(rounded, gain["low"], gain["high"]), [], []


def gain_memory(cfg, rng):
    """Gains and biases of all blocks: (gain_blocks * lanes,) each."""
    size = cfg.gain_blocks * cfg.lanes
    gain = rng.choice([-(2**15) + 1, 2**15 - 1, 0, *rng.integers(-(2**15) + 1, 2**15, 9)], size)
    return gain, rng.choice([-(2**31) + 1, 2**31 - 1, 0, *rng.integers(-(2**30), 2**30, 9)], size)


def random_job(cfg, rng, memory, kind=None, *, rows=None, blocks=None, column=None) -> Job:
    """A job of any kind, with values over the whole range and at its ends."""
    kind = Rows(kind if kind is not None else rng.choice(KINDS))
    blocks = blocks or int(rng.choice([1, cfg.row_blocks, rng.integers(1, cfg.row_blocks + 1)]))
    rows = rows or int(rng.integers(1, 6))
    tail = int(rng.choice([1, cfg.lanes, rng.integers(1, cfg.lanes + 1)]))
    elements = (blocks - 1) * cfg.lanes + tail
    bits = 16 if kind == Rows.SOFTMAX else 8
    limit = 1 << bits - 1
    values = rng.integers(-limit, limit, (rows, elements))
    spread = int(rng.choice([1, 3000 if bits == 16 else 30, limit]))  # rows that are flat, or close together
    values = np.clip(values[:, :1] + rng.integers(-spread, spread, values.shape), -limit, limit - 1)
    values[rng.random(values.shape) < 0.05] = rng.choice([-limit, limit - 1])
    if rng.random() < 0.2:
        values[:] = rng.choice([-limit, limit - 1, 0])
    low, high = sorted(rng.integers(-128, 128, 2).tolist()) if rng.random() < 0.3 else (-128, 127)
    block = int(rng.integers(cfg.gain_blocks - blocks + 1))
    gain, bias = (kept[block * cfg.lanes :][:elements] for kept in memory)
    sums = int(rng.integers(127 * elements + 1))
    registers = {
        "mode": {
            "kind": kind, "blocks": blocks, "tail": tail, "causal": int(rng.integers(2)),
            "positioned": int(rng.integers(2)),
            "column": int(rng.random() < 0.2) if column is None else column,
            "decide": int(rng.random() < 0.3),
        },
        "count": {"rows": rows, "valid": int(rng.choice([0, 1, elements, 65535, rng.integers(elements + 1)]))},
        "scale": {
            "multiplier": int(rng.integers(1 << 23, 1 << 24)),
            "shift": int(rng.integers(0, 46 if kind == Rows.SOFTMAX else 38)),
            "entry": int(rng.integers(cfg.attention.scales - rows + 1)),
        },
        "epsilon": {"value": int(rng.choice([0, 1, (1 << 42) - 1, sums, rng.integers(1 << 20)]))},
        "gain": {
            "block": block, "low": low, "high": high,
            **{name: int(rng.choice([-128, 127, rng.integers(-128, 128)])) for name in ("zero_x", "zero")},
        },
    }  # fmt: skip
    return Job(kind, values, registers, gain, bias)


@dataclass
class Run:
    """What came out of the engine, and the cycles in which things happened, as the law names them."""

    words: list = field(default_factory=list)
    scales: list = field(default_factory=list)
    gives: list = field(default_factory=list)
    decisions: list = field(default_factory=list)
    times: row_engine_law.Times = field(default_factory=row_engine_law.Times)


class Bench:
    """Jobs and words are offered, words are taken; ``gap`` is the chance that each of them is late by a cycle."""

    def __init__(self, cfg, memory, jobs, *, gap=0.0, seed=0):
        self.cfg, self.memory, self.jobs = cfg, memory, jobs
        self.rng = np.random.default_rng(seed)
        self.dut = RowsEngine(cfg)
        self.words = [word for job in jobs for word in job.words(cfg.lanes, self.rng)]
        self.job_gaps = self.rng.geometric(1 - gap, len(jobs)) - 1 if gap else np.zeros(len(jobs), int)
        self.word_gaps = self.rng.geometric(1 - gap, len(self.words)) - 1 if gap else np.zeros(len(self.words), int)
        self.ready, self.deciding = self.rng.random((2, LIMIT)) >= gap
        self.position = int(self.rng.choice([0, 1, 65535, self.rng.integers(cfg.attention.row_elements)]))
        self.run_ = Run()

    def gains(self):
        """Beats that write all gains; what is between them may be anything."""
        cfg = self.cfg
        image = self.rng.integers(0, 256, (cfg.gain_blocks, cfg.gain_entry_bytes // 8, 8), np.uint8)
        gain, bias = (kept.reshape(cfg.gain_blocks, cfg.lanes) for kept in self.memory)
        image[:, : cfg.lanes, :4] = bias.astype("<i4")[..., np.newaxis].view(np.uint8)
        image[:, : cfg.lanes, 4:6] = gain.astype("<i2")[..., np.newaxis].view(np.uint8)
        return image.reshape(-1, cfg.bus_bytes).tolist()

    def law(self) -> row_engine_law.Times:
        """Times as the law has them."""
        shapes = [self._shape(job) for job in self.jobs]
        return row_engine_law.law(
            self.dut, shapes,
            lambda number, before: before + 1 + int(self.job_gaps[number]),
            lambda number, before: before + 1 + int(self.word_gaps[number]),
            lambda cycle: cycle + int(np.argmax(self.ready[cycle:])),
            lambda cycle: cycle + int(np.argmax(self.deciding[cycle:])),
        )  # fmt: skip

    def _shape(self, job):
        """What the law wants to know of a job."""
        mode, softmax_job = job.registers["mode"], job.kind == Rows.SOFTMAX
        transfers = (self.cfg.lanes,) * (mode["blocks"] - 1) + (mode["tail"],) if mode["column"] else ()
        decides = bool(softmax_job and mode["decide"])
        return row_engine_law.Job(softmax_job, len(job.values), mode["blocks"], transfers, decides)

    def run(self) -> Run:
        """To the tokens of the last job; cycle 0 is the one in which the first job can be offered."""
        dut, run = self.dut, self.run_

        async def watch(ctx):
            for number, beat in enumerate(self.gains()):
                payload = {"address": number * self.cfg.bus_bytes, "data": beat, "first": 0, "count": len(beat)}
                ctx.set(dut.gain.payload, payload)
                ctx.set(dut.gain.valid, 1)
                await ctx.tick()
            ctx.set(dut.gain.valid, 0)
            ctx.set(dut.position, self.position)
            offered = come = 0
            wait_job, wait_word = (int(gaps[0]) for gaps in (self.job_gaps, self.word_gaps))
            for now in range(LIMIT):
                ctx.set(dut.job.valid, offered < len(self.jobs) and not wait_job)
                if offered < len(self.jobs):
                    ctx.set(dut.job.payload, {**self.jobs[offered].registers, "give": offered + 1})
                ctx.set(dut.i.valid, come < len(self.words) and not wait_word)
                if come < len(self.words):
                    ctx.set(dut.i.payload, self.words[come])
                ctx.set(dut.o.ready, int(self.ready[now]))
                ctx.set(dut.decision.ready, int(self.deciding[now]))
                _, _, took, moved, left, word, scaled, scale, done, give, decided, decision = await ctx.tick().sample(
                    dut.job.valid & dut.job.ready, dut.i.valid & dut.i.ready, dut.o.valid & dut.o.ready, dut.o.payload,
                    dut.scale.valid, dut.scale.payload, dut.done.valid, dut.done.payload,
                    dut.decision.valid & dut.decision.ready, dut.decision.payload,
                )  # fmt: skip
                wait_job -= wait_job > 0
                wait_word -= wait_word > 0
                if took:
                    offered += 1
                    run.times.taken.append(now)
                    wait_job = int(self.job_gaps[offered]) if offered < len(self.jobs) else 0
                if moved:
                    come += 1
                    run.times.come.append(now)
                    wait_word = int(self.word_gaps[come]) if come < len(self.words) else 0
                if left:
                    run.times.left.append(now)
                    run.words.append([int(v) for v in word.data][: word.count])
                if scaled:
                    run.times.scales.append(now)
                    run.scales.append((scale.entry, scale.multiplier, scale.shift))
                if decided:
                    run.times.decided.append(now)
                    run.decisions.append(decision)
                if done:
                    run.times.done.append(now)
                    run.gives.append(give)
                if len(run.gives) == len(self.jobs):
                    return
            raise TimeoutError(f"the engine does not end: {run}")

        sim = Simulator(dut)
        sim.add_clock(1e-9)
        sim.add_testbench(watch)
        sim.run()
        return run

    def check(self) -> Run:
        """Run; words, scales, tokens and all times are what they must be."""
        run, times = self.run(), self.law()
        words, scales, decisions = [], [], []
        for job in self.jobs:
            codes, of_rows, of_job = job.expected(self.position)
            for row in codes:
                words += [(row[i : i + self.cfg.lanes] & 255).tolist() for i in range(0, len(row), self.cfg.lanes)]
            scales += of_rows
            decisions += of_job
        assert run.words == words
        assert run.scales == scales
        assert run.decisions == decisions
        assert run.gives == list(range(1, len(self.jobs) + 1))
        for name in ("taken", "come", "left", "scales", "decided", "done"):
            assert getattr(run.times, name) == getattr(times, name), name
        return run
