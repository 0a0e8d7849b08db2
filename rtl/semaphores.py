"""Counting semaphores: what units wait for and give to each other."""

from functools import reduce
from operator import or_

from amaranth import Module, Mux, Signal
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
        units = len(isa.Unit)
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
        for unit in isa.Unit:
            request = self.take[unit]
            lacking = Signal(self.cfg.control.semaphores, name=f"lacking_{unit.name.lower()}")
            m.d.comb += [lacking[s].eq(request.want[s] & (level[s] < request.amount)) for s in semaphores]
            m.d.comb += [self.lacking[unit].eq(lacking), self.available[unit].eq(~lacking.any())]
        for s in semaphores:
            requests = [self.take[u] for u in isa.Unit]
            taken = reduce(or_, (Mux(r.take & r.want[s], r.amount, 0) for r in requests))
            given = sum(self.give[u][s] for u in isa.Unit)
            m.d.sync += level[s].eq(level[s] - taken + given)
        return m
