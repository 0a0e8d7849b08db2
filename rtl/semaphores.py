"""Counting semaphores: what units wait for and give to each other."""

from functools import reduce
from operator import or_

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config


class Semaphores(wiring.Component):
    """One counter per semaphore.

    Parameters
    ----------
    cfg : Config

    Members
    -------
    take : In(array over units of {want: mask, amount, take})
        As in :class:`rtl.front_end.FrontEnd`. A semaphore has one taker only; that is the program's duty.
    available : Out(1 bit per unit)
        All wanted semaphores hold ``amount``.
    lacking : Out(mask per unit)
        Wanted semaphores that hold less.
    give : In(mask per unit)
        One token to each semaphore of the mask; several units may give to one in the same cycle.

    Timing
    ------
    A token given in a cycle is available in the next one.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        count = cfg.control.semaphores
        units = len(isa.units(cfg))
        request = data.StructLayout({"want": count, "amount": isa.SEMAPHORE_BITS, "take": 1})
        super().__init__({
            "take": In(data.ArrayLayout(request, units)),
            "available": Out(units),
            "lacking": Out(data.ArrayLayout(count, units)),
            "give": In(data.ArrayLayout(count, units)),
        })

    def elaborate(self, platform):
        m = Module()
        semaphores = range(self.cfg.control.semaphores)
        level = [Signal(isa.SEMAPHORE_BITS, name=f"level_{s}") for s in semaphores]
        empty = Signal(self.cfg.control.semaphores)
        m.d.comb += empty.eq(Cat(count == 0 for count in level))
        for unit in isa.units(self.cfg):
            request = self.take[unit]
            lacking = Signal(self.cfg.control.semaphores, name=f"lacking_{unit.name.lower()}")
            with m.If(request.amount == 1):  # the usual case, cheap to simulate
                m.d.comb += lacking.eq(request.want & empty)
            with m.Else():
                m.d.comb += [lacking[s].eq(request.want[s] & (level[s] < request.amount)) for s in semaphores]
            m.d.comb += [self.lacking[unit].eq(lacking), self.available[unit].eq(~lacking.any())]
        takes = [self.take[unit] for unit in isa.units(self.cfg)]
        with m.If(Cat(take.take for take in takes).any() | self.give.as_value().any()):
            for s in semaphores:
                taken = reduce(or_, (Mux(take.take & take.want[s], take.amount, 0) for take in takes))
                given = sum(self.give[unit][s] for unit in isa.units(self.cfg))
                m.d.sync += level[s].eq(level[s] - taken + given)
        return m
