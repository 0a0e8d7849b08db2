"""Rows that are observed, and selections between them, through the row dut."""

import numpy as np
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
    """Jobs are registers, or jobs with words; returns the lists after all of them and the tokens."""
    rng = np.random.default_rng(seed)
    dut = PruningRowsEngine(cfg)
    words = [word for job in jobs if not isinstance(job, dict) for word in job.words(cfg.lanes, rng)]
    registers = [job if isinstance(job, dict) else job.registers for job in jobs]
    lists, gives = {}, []

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
            *_, took, moved, listed, entry, done, give = await ctx.tick().sample(
                dut.job.valid & dut.job.ready, dut.i.valid & dut.i.ready,
                dut.list.valid & dut.list.ready, dut.list.payload, dut.done.valid, dut.done.payload,
            )  # fmt: skip
            offered += took
            come += moved
            if listed:
                lists[entry.index] = entry.value
            if done:
                gives.append(give)
            if len(gives) == len(jobs):
                return
        raise TimeoutError(f"after {gives}")

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(testbench)
    sim.run()
    return lists, gives


def test_lint(tmp_path):
    (tmp_path / "rows.v").write_text(component_verilog(PruningRowsEngine(make_config(pruning=True)), "rows"))
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
    lists, gives = run(cfg, jobs, 5)
    assert lists == wanted
    assert gives == list(range(1, len(jobs) + 1))
