"""Candidate search against the golden model, to the cycle; comparator trees against a maximum in Python."""

import gc

import numpy as np
import pytest

from dataflows import candidates
from rtl.candidate_search import CandidateSearch
from rtl.champion_tree import ChampionTree
from rtl.documents import lint_waivers
from rtl.emit import component_verilog
from sim import verilator
from sim.golden.candidates import greedy_scores
from tests.rtl.axi_model import simulate


@pytest.mark.parametrize("count", [2, 5, 16, 21])
def test_champion(count, rng):
    """Leaves are replaced one by one; few values, so that tags and then leaves decide."""
    dut = ChampionTree(count, 4, 2)

    async def testbench(ctx):
        leaves = {}
        ctx.set(dut.write, 1)
        for n in range(60):
            leaf = n if n < count else int(rng.integers(count))
            leaves[leaf] = (int(rng.integers(-2, 2)), int(rng.integers(4)))
            ctx.set(dut.index, leaf)
            ctx.set(dut.value, leaves[leaf][0])
            ctx.set(dut.tag, leaves[leaf][1])
            ctx.set(dut.write, 1)
            await ctx.tick()
            ctx.set(dut.write, 0)
            await ctx.tick().repeat(dut.latency)
            if n >= count:
                best = min(leaves, key=lambda i: (-leaves[i][0], leaves[i][1], i))
                found = (ctx.get(dut.best_index), ctx.get(dut.best_value), ctx.get(dut.best_tag))
                assert found == (best, *leaves[best])

    simulate(dut, [testbench])


def searches(rng, length, columns):
    """(keys, query, steps): random, extreme and small numbers, many ties, too many steps where there are few keys."""
    for span in (128, 2, 1):
        count = int(rng.integers(1, length + 1)) if span != 128 else length
        keys = rng.integers(-span, span, (count, columns))
        if span == 128:
            keys[rng.random(keys.shape) < 0.2] = -128
        for steps in (1, int(rng.integers(2, 9)), min(count * columns + 2, 200)):
            query = rng.integers(-span, span, columns)
            query[rng.random(columns) < 0.2] = -128
            yield keys, query, steps
    yield np.full((length, columns), 3), np.full(columns, -5), 4  # none
    if length <= 100:
        yield np.full((length, columns), 3), np.full(columns, 5), length * columns  # all


@pytest.mark.parametrize(("lanes", "length", "columns", "beat", "stall"), [
    (4, 13, 3, 64, 0.0), (4, 16, 5, 8, 0.5), (1, 6, 2, 8, 0.0), (16, 20, 8, 16, 0.0), (2, 40, 2, 8, 0.0),
    (16, 257, 2, 16, 0.0),
])  # fmt: skip
def test_search(lanes, length, columns, beat, stall, rng):
    """Entries of 2 bytes, and of 4 beyond 256 keys; columns that are shorter than a beat."""
    dut = CandidateSearch(lanes, length, columns, beat)

    async def load(ctx, keys):
        order = np.argsort(keys, axis=0, kind="stable")
        size = candidates.entry_bytes(length)
        image = np.zeros((columns, candidates.column_bytes(length, beat) // size), f"<u{size}")
        image[:, : len(keys)] = ((order << 8) | (np.take_along_axis(keys, order, axis=0) & 255)).T
        ctx.set(dut.write.valid, 1)
        for number, raw in enumerate(image.view(np.uint8).reshape(-1, beat).tolist()):
            ctx.set(dut.write.payload, {"address": beat * number, "data": raw, "first": 0, "count": beat})
            await ctx.tick()
        ctx.set(dut.write.valid, 0)

    async def testbench(ctx):
        for keys, query, steps in searches(rng, length, columns):
            await load(ctx, keys)
            ctx.set(dut.job.payload, {"query": query.tolist(), "keys": len(keys), "steps": steps})
            ctx.set(dut.job.valid, 1)
            assert ctx.get(dut.job.ready)
            await ctx.tick()
            ctx.set(dut.job.valid, 0)
            found, spent, last = [], 0, False
            while not last:
                ready = rng.random() >= stall
                ctx.set(dut.o.ready, int(ready))
                assert ctx.get(dut.busy)
                spent += 1
                if ready and ctx.get(dut.o.valid):
                    word = dut.o.payload
                    found += [ctx.get(word.data[lane]) for lane in range(ctx.get(word.count))]
                    last = ctx.get(word.last)
                await ctx.tick()
            assert not ctx.get(dut.busy)
            wanted = np.flatnonzero(greedy_scores(query[np.newaxis], keys, steps)[0] > 0).tolist()
            assert found == wanted
            law = candidates.cycles(len(keys), columns, steps, wanted, lanes, length)
            assert spent == law if not stall else spent >= law

    simulate(dut, [testbench], cycles=40000)


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_sizes_are_checked():
    with pytest.raises(ValueError, match="at least 1 key and 2 to 256 columns, not 4 and 1"):
        CandidateSearch(4, 4, 1, 8)
    gc.collect()


def test_lint(tmp_path):
    (tmp_path / "search.v").write_text(component_verilog(CandidateSearch(16, 320, 64, 16), "search"))
    (tmp_path / "search.vlt").write_text(lint_waivers("search"))
    result = verilator.run(["--lint-only", "-Wall", "--top-module", "search", "search.vlt", "search.v"], tmp_path)
    assert result.returncode == 0 and not result.stderr, result.stderr[:3000]
