"""Counting semaphores: what units wait for and give to each other."""

from functools import reduce
from operator import or_

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config
from rtl.front_end import look_layout, take_layout


class Semaphores(wiring.Component):
    """One counter per semaphore.

    Parameters
    ----------
    cfg : Config

    Members
    -------
    look : In(array over units of rtl.front_end.look_layout)
        A semaphore has one taker only; that is the program's duty.
    there : Out(1 bit per unit)
        Every semaphore of the mask has a token.
    enough : Out(1 bit per unit)
        The semaphore of the WAIT had the amount in the cycle before.
    lacking : Out(mask per unit)
        Semaphores that hold less than is looked for; of a WAIT as for ``enough``.
    take : In(array over units of rtl.front_end.take_layout)
    give : In(mask per unit)
        One token to each semaphore of the mask; several units may give to one in the same cycle.

    Timing
    ------
    Tokens given or taken in a cycle count in the next one.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        count = cfg.control.semaphores
        units = isa.unit_numbers(cfg)
        super().__init__({
            "look": In(data.ArrayLayout(look_layout(cfg), units)),
            "there": Out(units),
            "enough": Out(units),
            "lacking": Out(data.ArrayLayout(count, units)),
            "take": In(data.ArrayLayout(take_layout(cfg), units)),
            "give": In(data.ArrayLayout(count, units)),
        })

    def elaborate(self, platform):
        m = Module()
        count = self.cfg.control.semaphores
        level = [Signal(isa.SEMAPHORE_BITS, name=f"level_{s}") for s in range(count)]
        empty = Signal(count)
        m.d.comb += empty.eq(Cat(tokens == 0 for tokens in level))
        for unit in isa.units(self.cfg):
            look = self.look[unit]
            name = unit.name.lower()
            lacking = Signal(count, name=f"lacking_{name}")
            amount = Signal(isa.SEMAPHORE_BITS, name=f"amount_{name}")
            with m.If(look.wait):
                m.d.comb += lacking.eq(~self.enough[unit].replicate(count) & (1 << look.semaphore))
            with m.Else():
                m.d.comb += lacking.eq(look.mask & empty)
            with m.Switch(look.semaphore):
                for s, tokens in enumerate(level):
                    with m.Case(s):
                        m.d.comb += amount.eq(tokens)
            m.d.sync += self.enough[unit].eq(amount >= look.amount)
            m.d.comb += [self.lacking[unit].eq(lacking), self.there[unit].eq(~(look.mask & empty).any())]
        takes = [self.take[unit] for unit in isa.units(self.cfg)]
        with m.If(Cat(take.valid for take in takes).any() | self.give.as_value().any()):
            for s, tokens in enumerate(level):
                taken = reduce(or_, (Mux(take.valid & take.mask[s], take.amount, 0) for take in takes))
                given = sum(self.give[unit][s] for unit in isa.units(self.cfg))
                m.d.sync += tokens.eq(tokens - taken + given)
        return m
