"""Predicated commands: front ends that execute or skip jobs by decisions, in the order of their tokens."""

import random
from pathlib import Path

import pytest

from dataflows import isa
from dataflows.config import load
from rtl.decisions import Decisions
from rtl.front_end import FrontEnd
from tests.rtl.test_front_end import LIMIT, _put, _simulate, _word

ATTENTION = load(Path("configs/ws16_attention.toml"))
PREDICATED, LAST = 1 << 49, 1 << 50


@pytest.mark.parametrize("seed", range(4))
def test_jobs_are_executed_or_skipped_and_tokens_keep_their_order(seed):
    """Every START gives its tokens once, after those of all STARTs before it; only executed ones reach the engine."""
    rng = random.Random(seed)
    dut = FrontEnd(ATTENTION, isa.Unit.STORE)
    words, decisions, executed = [], [], []
    for _ in range(12):
        decision = rng.getrandbits(1)
        size = rng.choice([0, 1, 1, 2, 3])
        for i in range(size):
            flags = PREDICATED | (LAST if i == size - 1 else 0)
            words.append(_word(isa.Op.START, isa.Unit.STORE, tag=len(words), give=len(words) + 1) | flags)
            executed.append(decision)
        decisions += [decision] * bool(size)
        for _ in range(rng.randrange(3)):
            words.append(_word(isa.Op.START, isa.Unit.STORE, tag=len(words), give=len(words) + 1))
            executed.append(1)
    jobs, open_jobs, given = [], [], []

    async def source(ctx):
        for word in words:
            await _put(ctx, dut.words, word)

    async def decide(ctx):
        for decision in decisions:
            for _ in range(rng.randrange(12)):
                await ctx.tick()
            await _put(ctx, dut.decision, decision)

    async def engine(ctx):
        ctx.set(dut.there, 1)
        while True:
            accepting = rng.random() < 0.4
            finishing = bool(open_jobs) and rng.random() < 0.2
            ctx.set(dut.job.ready, accepting)
            ctx.set(dut.done, finishing)
            skipped = ctx.get(dut.give)
            assert not (finishing and skipped), "two jobs give in one cycle"
            if skipped:
                given.append(skipped)
            if finishing:
                given.append(open_jobs.pop(0))
            if accepting and ctx.get(dut.job.valid):
                jobs.append(ctx.get(dut.job.payload.tag))
                open_jobs.append(ctx.get(dut.job.payload.give))
            await ctx.tick()

    async def end(ctx):
        for _ in range(LIMIT - 1):
            if len(given) == len(words):
                return
            await ctx.tick()

    _simulate(dut, source, decide, end, background=[engine])
    assert jobs == [i for i, runs in enumerate(executed) if runs]
    assert given == [i + 1 for i in range(len(words))]


def test_each_unit_uses_up_every_decision_at_its_own_time():
    """A unit that is far behind holds back decisions, and loses none."""
    dut = Decisions(ATTENTION)
    sent = [random.Random(5).getrandbits(1) for _ in range(3 * Decisions.depth)]
    seen = {unit: [] for unit in isa.units(ATTENTION)}

    async def source(ctx):
        for decision in sent:
            await _put(ctx, dut.i, decision)

    def sink(unit, chance):
        async def take(ctx):
            rng = random.Random(unit)
            while len(seen[unit]) < len(sent):
                ready = rng.random() < chance
                ctx.set(dut.o[unit].ready, ready)
                if ready and ctx.get(dut.o[unit].valid):
                    seen[unit].append(ctx.get(dut.o[unit].payload))
                await ctx.tick()
            ctx.set(dut.o[unit].ready, 0)

        return take

    async def end(ctx):
        while any(len(taken) < len(sent) for taken in seen.values()):
            await ctx.tick()
        await ctx.tick().repeat(3)
        assert ctx.get(dut.empty)

    sinks = [sink(unit, 0.1 + 0.1 * place) for place, unit in enumerate(seen)]
    _simulate(dut, source, *sinks, end)
    assert all(taken == sent for taken in seen.values())
