"""Selections of keys: lists with their length, flags, by rank and by a floor; between those of tokens and heads."""

import random

import numpy as np
import pytest
from amaranth import Elaboratable, Module, Signal

from dataflows import top_k
from rtl.importance import TokenImportance
from rtl.select import FLOOR_BITS, Selector
from sim.golden.pruning import largest
from tests.rtl.axi_model import simulate


class Selection(Elaboratable):
    """A selector, and the columns of a head."""

    def __init__(self, lanes, words):
        self.selector = Selector(lanes, words, values=True)
        self.columns = TokenImportance(lanes, words, maxima=True)
        self.poke, self.poke_word, self.poke_value = Signal(lanes), Signal(16), Signal(40)

    def elaborate(self, platform):
        m = Module()
        m.submodules.selector, m.submodules.columns = self.selector, self.columns
        for port in (self.selector.columns, self.selector.tokens):  # a selection of tokens by the same accumulators
            m.d.comb += port.read_data.eq(self.columns.read_data)
        m.d.comb += [
            self.columns.read.eq(self.selector.columns.read | self.selector.tokens.read),
            self.columns.read_word.eq(self.selector.columns.read_word),
            self.columns.write.eq(self.poke),
            self.columns.write_word.eq(self.poke_word),
            self.columns.write_value.eq(self.poke_value),
        ]
        return m


def selections(rng, most):
    """(values, keep or None, floor): ranks and floors; ties, none, all, one key."""
    for n in range(14):
        count = most if n < 2 else rng.randint(1, most)
        top = rng.choice([1, 2, 1 << FLOOR_BITS - 1])
        values = [rng.randint(0, top) for _ in range(count)]
        if n % 2:
            yield values, rng.choice([1, count, rng.randint(1, count)]), 0
        else:
            yield values, None, rng.choice([0, max(values), min(values), rng.choice(values), rng.randint(0, top)])


@pytest.mark.parametrize(("lanes", "words", "stall"), [(4, 5, 0.4), (16, 3, 0.0), (1, 6, 0.0)])
def test_lists_and_flags(lanes, words, stall):
    rng = random.Random(words)
    dut = Selection(lanes, words)
    selector = dut.selector

    async def tick(ctx, written, flags):
        ctx.set(selector.list.ready, rng.random() >= stall)
        *_, valid, ready, entry, busy, mask, word, value = await ctx.tick().sample(
            selector.list.valid, selector.list.ready, selector.list.payload, selector.busy, selector.mask,
            selector.mask_word, selector.mask_value,
        )  # fmt: skip
        if valid and ready:
            written[entry.index] = entry.value
        for lane in range(lanes):
            if mask >> lane & 1:
                flags[word * lanes + lane] = value
        return busy

    async def select(ctx, job):
        written, flags, cycles = {}, {}, 0
        ctx.set(selector.job.payload, job)
        ctx.set(selector.job.valid, 1)
        await tick(ctx, written, flags)
        ctx.set(selector.job.valid, 0)
        while await tick(ctx, written, flags):
            cycles += 1
        return written, flags, cycles

    async def testbench(ctx):
        for values, keep, floor in selections(rng, lanes * words):
            for at, value in enumerate(values):
                ctx.set(dut.poke, 1 << at % lanes)
                ctx.set(dut.poke_word, at // lanes)
                ctx.set(dut.poke_value, value)
                await ctx.tick()
            ctx.set(dut.poke, 0)
            place, count = rng.randrange(1000), len(values)
            job = {
                "values": 1, "count": count, "keep": keep or rng.randrange(1 << 16), "place": place,
                "by_floor": keep is None, "floor": floor,
            }  # fmt: skip
            written, flags, cycles = await select(ctx, job)
            array = np.array(values)
            stays = array > floor if keep is None else largest(array, keep)
            keys = np.flatnonzero(stays).tolist()
            assert written == {place + i: v for i, v in enumerate([max(1, len(keys)), *(keys or [0])])}
            assert [flags[i] for i in range(count)] == stays.astype(int).tolist()
            if not stall:
                law = top_k.cycles(array, keep, lanes) if keep else top_k.floor_cycles(array, floor, lanes)
                assert cycles <= law.total + 2 + len(keys)
            # A selection of tokens behind it is what it always is.
            left = rng.randint(1, count)
            written, flags, _ = await select(ctx, {"fresh": 1, "count": count, "keep": left, "place": 0})
            keys = np.flatnonzero(largest(array, left)).tolist()
            assert written == dict(enumerate(keys + keys)) and not flags
            # Keys that are the tokens of that selection: their numbers, which it leaves as they are.
            for kept in {1, rng.randint(1, left)}:
                job = {"values": 1, "count": left, "keep": kept, "place": place, "numbered": 1}
                stays = largest(array[:left], kept)
                written, flags, _ = await select(ctx, job)
                assert written == {place + i: v for i, v in enumerate([kept, *np.array(keys)[stays].tolist()])}
                assert [flags[i] for i in range(left)] == stays.astype(int).tolist()

    simulate(dut, [testbench], cycles=90000)
