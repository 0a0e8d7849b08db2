"""Selections over real accumulators against the golden model's choice."""

import random

import numpy as np
import pytest
from amaranth import Elaboratable, Module, Signal

from dataflows import top_k
from dataflows.pruning import MAX_HEADS
from rtl.head_importance import HeadImportance
from rtl.importance import TokenImportance
from rtl.select import Selector
from sim.golden.pruning import largest
from tests.rtl.axi_model import simulate


class Selection(Elaboratable):
    """Selector and both accumulators."""

    def __init__(self, lanes, words):
        self.selector = Selector(lanes, words)
        self.accumulators = {False: TokenImportance(lanes, words), True: HeadImportance(lanes)}
        self.poke, self.poke_heads = Signal(lanes), Signal()
        self.poke_word, self.poke_value = Signal(16), Signal(40)

    def elaborate(self, platform):
        m = Module()
        m.submodules.selector = self.selector
        m.submodules.tokens, m.submodules.heads = self.accumulators[False], self.accumulators[True]
        for port, kind in ((self.selector.tokens, False), (self.selector.heads, True)):
            accumulators = self.accumulators[kind]
            for name in ("read", "read_word", "write", "write_word", "write_value"):
                m.d.comb += getattr(accumulators, name).eq(getattr(port, name))
            with m.If((self.poke != 0) & (self.poke_heads == kind)):
                m.d.comb += [
                    accumulators.write.eq(self.poke), accumulators.write_word.eq(self.poke_word),
                    accumulators.write_value.eq(self.poke_value),
                ]  # fmt: skip
            m.d.comb += port.read_data.eq(accumulators.read_data)
        return m


def cascades(rng, most):
    """Numbers that stay, one selection after the other."""
    yield [most, most]
    yield [rng.randint(2, most), 1]
    first = rng.randint(1, most)
    yield [first, rng.randint(1, first), rng.randint(1, first)]


@pytest.mark.parametrize(("lanes", "words", "stall"), [(4, 6, 0.4), (16, 4, 0.0), (2, 3, 0.0)])
def test_cascades(lanes, words, stall):
    """Accumulators and numbers move together; ties, all equal, zeros, one that stays, all that stay."""
    rng = random.Random(lanes)
    dut = Selection(lanes, words)
    selector = dut.selector

    async def tick(ctx, written):
        ctx.set(selector.list.ready, rng.random() >= stall)
        *_, valid, ready, entry, busy = await ctx.tick().sample(
            selector.list.valid, selector.list.ready, selector.list.payload, selector.busy
        )
        if valid and ready:
            written[entry.index] = entry.value
        return busy

    async def load(ctx, kind, values):
        ctx.set(dut.poke_heads, kind)
        for place, value in enumerate(values):
            ctx.set(dut.poke, 1 << place % lanes)
            ctx.set(dut.poke_word, place // lanes)
            ctx.set(dut.poke_value, value)
            await ctx.tick()
        ctx.set(dut.poke, 0)

    async def testbench(ctx):
        for kind in (False, True):
            most = MAX_HEADS if kind else lanes * words
            for keeps in cascades(rng, most):
                count = most if keeps[0] == most else rng.randint(keeps[0], most)
                present, values = list(range(count)), []
                for n, keep in enumerate(keeps):
                    keep = min(keep, count)
                    top = rng.choice([1, 2, 5, 1 << 40])
                    if n == 0 or rng.random() < 0.5:  # else what stayed has kept its importance
                        values = [rng.randrange(top) for _ in range(count)]
                        await load(ctx, kind, values)
                    place = rng.randrange(1000)
                    job = {"heads": kind, "fresh": n == 0, "count": count, "keep": keep, "place": place}
                    ctx.set(selector.job.payload, job)
                    ctx.set(selector.job.valid, 1)
                    written = {}
                    await tick(ctx, written)
                    ctx.set(selector.job.valid, 0)
                    cycles = 0
                    while await tick(ctx, written):
                        cycles += 1
                    places = np.flatnonzero(largest(np.array(values), keep)).tolist()
                    numbers = [present[p] for p in places]
                    assert written == {place + i: v for i, v in enumerate(places + numbers)}
                    if not stall:
                        law = top_k.cycles(np.array(values), keep, lanes)
                        assert cycles <= law.total + 1 + 2 * keep
                    present, values, count = numbers, [values[p] for p in places], keep

    simulate(dut, [testbench], cycles=60000)
