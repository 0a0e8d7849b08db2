"""Rows that are observed, and selections between them, through the row dut."""

from dataclasses import dataclass

import numpy as np
import pytest
from amaranth.sim import Simulator

from dataflows.isa import Rows
from rtl.documents import lint_waivers
from rtl.emit import component_verilog
from rtl.pruning import PruningRowsEngine
from sim import verilator
from sim.golden import softmax
from sim.golden.pruning import largest
from tests.rtl.row_engine_bench import gain_memory, make_config, random_job

LIMIT = 30_000


def select_job(count, keep, place, fresh):
    return {
        "mode": {"kind": Rows.SELECT_TOKENS}, "importance": {"fresh": fresh},
        "select": {"count": count, "keep": keep, "place": place},
    }  # fmt: skip


def run(cfg, jobs, seed):
    """Jobs are registers, or jobs with words; returns the lists after all of them, the tokens, and words that leave."""
    rng = np.random.default_rng(seed)
    dut = PruningRowsEngine(cfg)
    words = [word for job in jobs if not isinstance(job, dict) for word in job.words(cfg.lanes, rng)]
    registers = [job if isinstance(job, dict) else job.registers for job in jobs]
    lists, gives, left = {}, [], []

    async def testbench(ctx):
        offered = come = 0
        for _ in range(LIMIT):
            ctx.set(dut.job.valid, offered < len(jobs))
            if offered < len(jobs):
                ctx.set(dut.job.payload, {**registers[offered], "give": offered + 1})
            ctx.set(dut.i.valid, come < len(words))
            if come < len(words):
                ctx.set(dut.i.payload, words[come])
            ctx.set(dut.o.ready, int(rng.random() < 0.7))
            ctx.set(dut.list.ready, int(rng.random() < 0.7))
            ctx.set(dut.decision.ready, 1)
            *_, took, moved, listed, entry, done, give, leaves, word = await ctx.tick().sample(
                dut.job.valid & dut.job.ready, dut.i.valid & dut.i.ready,
                dut.list.valid & dut.list.ready, dut.list.payload, dut.done.valid, dut.done.payload,
                dut.o.valid & dut.o.ready, dut.o.payload,
            )  # fmt: skip
            offered += took
            come += moved
            if listed:
                lists[entry.index] = entry.value
            if leaves:
                left.append([word.data[lane] for lane in range(word.count)])
            if done:
                gives.append(give)
            if len(gives) == len(jobs):
                return
        raise TimeoutError(f"after {gives}")

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(testbench)
    sim.run()
    return lists, gives, left


@pytest.mark.parametrize(("values", "candidates"), [(False, 0), (True, 0), (True, 40)])
def test_lint(values, candidates, tmp_path):
    cfg = make_config(pruning=True, values=values, candidates=candidates)
    (tmp_path / "rows.v").write_text(component_verilog(PruningRowsEngine(cfg), "rows"))
    (tmp_path / "rows.vlt").write_text(lint_waivers("rows"))
    result = verilator.run(["--lint-only", "-Wall", "--top-module", "rows", "rows.vlt", "rows.v"], tmp_path)
    assert result.returncode == 0 and not result.stderr, result.stderr[:3000]


def test_cascade(rng):
    """Observed and other jobs in any order; two selections, of which the second goes on with what the first left."""
    cfg = make_config(pruning=True)
    memory = gain_memory(cfg, rng)
    importance, present, jobs, wanted = None, None, [], {}
    count = 3 * cfg.lanes + 1
    for stage, keep in enumerate((9, 4)):
        blocks = -(-count // cfg.lanes)
        for n in range(6):
            job = random_job(cfg, rng, memory, Rows.SOFTMAX if n != 3 else None, blocks=blocks)
            observe = job.kind == Rows.SOFTMAX and n != 4
            mode = job.registers["mode"] | {"tail": count - (blocks - 1) * cfg.lanes}
            if observe:
                values = rng.integers(-3000, 3000, (len(job.values), count))
                job.values = values
                job.registers |= {"mode": mode, "importance": {"observe": 1, "fresh": importance is None}}
                valid = job.registers["count"]["valid"] + mode["causal"] * np.arange(len(values))
                codes, sums = softmax.numerators(values, np.arange(count) < valid[:, None])
                added = softmax.probabilities(codes, sums).sum(axis=0)
                importance = added if importance is None else importance + added
            jobs.append(job)
        jobs.append(select_job(count, keep, 100 * stage, fresh=stage == 0))
        places = np.flatnonzero(largest(importance, keep))
        present = places if present is None else present[places]
        wanted |= {100 * stage + i: v for i, v in enumerate([*places.tolist(), *present.tolist()])}
        importance, count = importance[places], keep
    lists, gives, _ = run(cfg, jobs, 5)
    assert lists == wanted
    assert gives == list(range(1, len(jobs) + 1))


@dataclass
class Pack:
    """Rows of numerators (rows, keys) that come back to be packed into ``count`` elements each."""

    values: np.ndarray
    count: int

    def __post_init__(self):
        self.elements = self.values.shape[1]

    def words(self, lanes, rng):
        blocks = -(-self.elements // lanes)
        filled = rng.integers(-(2**15), 2**15, (len(self.values), blocks * lanes))
        filled[:, : self.elements] = self.values
        self.registers = {
            "mode": {"kind": Rows.PACK, "blocks": blocks, "tail": self.elements - (blocks - 1) * lanes},
            "count": {"rows": len(self.values)}, "values": {"count": self.count},
        }  # fmt: skip
        return filled.reshape(-1, lanes).tolist()


@pytest.mark.parametrize("lanes", [2, 4])
def test_values_of_heads(lanes, rng):
    """Heads one after the other, by rank and by probability; the importance of tokens beside them is another one."""
    cfg = make_config(lanes, pruning=True, values=True)
    memory = gain_memory(cfg, rng)
    count = 5 * lanes + 1
    jobs, wanted, numerators, tokens = [], {}, [], 0
    for head, floor in enumerate([None, 2000, 65535, None]):
        columns = 0 if floor is None else []
        packed = []
        for n in range(2):
            job = random_job(cfg, rng, memory, Rows.SOFTMAX, blocks=6, column=0, rows=3)
            observe = int(rng.integers(2)) if head else 1
            least = int(rng.choice([0, 1, 2, 60, 127]))
            job.values = rng.integers(-1500, 1500, (3, count))
            job.registers |= {
                "mode": job.registers["mode"] | {"tail": 1, "causal": 0, "positioned": 0, "decide": 0},
                "count": {"rows": 3, "valid": count},
                "importance": {"observe": observe, "fresh": head == n == 0},
                "values": {"observe": 1, "fresh": n == 0, "largest": floor is not None, "least": least},
            }
            codes, sums = softmax.numerators(job.values, np.ones((3, count), bool), least)
            p = softmax.probabilities(codes, sums)
            columns = columns + p.sum(axis=0) if floor is None else [*columns, *p]
            tokens = tokens + observe * p.sum(axis=0)
            packed += [codes]
            numerators.append(codes)
            jobs.append(job)
        keep, place = 1 + head, 40 * head
        registers = {"by_floor": floor is not None, "floor": floor or 0}
        jobs.append({
            "mode": {"kind": Rows.SELECT_VALUES}, "values": registers,
            "select": {"count": count, "keep": keep, "place": place},
        })  # fmt: skip
        stays = largest(columns, keep) if floor is None else np.max(columns, axis=0) > floor
        keys = np.flatnonzero(stays).tolist()
        wanted |= {place + i: v for i, v in enumerate([max(1, len(keys)), *(keys or [0])])}
        size = keep if floor is None else count
        for codes in packed:
            jobs.append(Pack(codes, size))
            numerators.append(np.pad(codes[:, stays], ((0, 0), (0, size - len(keys)))))
    jobs.append(select_job(count, 3, 500, fresh=True))
    places = np.flatnonzero(largest(tokens, 3)).tolist()
    wanted |= {500 + i: v for i, v in enumerate(places + places)}
    lists, gives, left = run(cfg, jobs, 7)
    assert lists == wanted
    assert gives == list(range(1, len(jobs) + 1))
    assert [v for word in left for v in word] == [v for codes in numerators for v in codes.ravel().tolist()]
