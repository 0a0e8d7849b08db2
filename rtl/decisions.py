"""Decisions of the row engine on their way to the front ends."""

from amaranth import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from dataflows import isa
from dataflows.config import Config


class Decisions(wiring.Component):
    """Keeps decisions until every unit has used them up, each at its own time.

    One ring of bits, with a place of its own for each unit.

    Members
    -------
    i : In(stream of 1 bit)
        1: execute what is predicated. Taken when no unit is ``depth`` decisions behind.
    o : Out(stream of 1 bit), one per unit number
    empty : Out(1)
        All decisions are used up.

    Timing
    ------
    ``latency`` cycles from ``i`` to every ``o``.
    """

    depth = 16
    latency = 2

    def __init__(self, cfg: Config):
        self.cfg = cfg
        bit = stream.Signature(1)
        super().__init__({"i": In(bit), "o": Out(bit).array(isa.unit_numbers(cfg)), "empty": Out(1)})

    def elaborate(self, platform):
        m = Module()
        bits = exact_log2(self.depth)
        ring = Signal(self.depth, reset_less=True)
        put = Signal(bits + 1)  # place of the next decision, one bit more than the ring has, to tell full from empty
        shown = Signal(bits + 1)  # those before it can be used
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [ring.bit_select(put[:bits], 1).eq(self.i.payload), put.eq(put + 1)]
        m.d.sync += shown.eq(put)
        behind, used = [], []
        for unit in isa.units(self.cfg):
            taken = Signal(bits + 1, name=f"taken_{unit.name.lower()}")
            decision = self.o[unit]
            m.d.comb += [decision.valid.eq(taken != shown), decision.payload.eq(ring.bit_select(taken[:bits], 1))]
            with m.If(decision.valid & decision.ready):
                m.d.sync += taken.eq(taken + 1)
            behind.append((put ^ taken) == self.depth)
            used.append(taken == put)
        m.d.comb += [self.i.ready.eq(~Cat(behind).any()), self.empty.eq(Cat(used).all())]
        return m
