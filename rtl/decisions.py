"""Decisions of the row engine on their way to the front ends."""

from amaranth import Cat, Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config
from rtl.queue import Queue


class Decisions(wiring.Component):
    """A queue of decisions per unit: each unit uses up every decision, at its own time.

    Members
    -------
    i : In(stream of 1 bit)
        1: execute what is predicated. Taken when every queue has room.
    o : Out(stream of 1 bit), one per unit number
    empty : Out(1)
        All decisions are used up.

    Timing
    ------
    ``Queue.latency`` cycles from ``i`` to every ``o``.
    """

    depth = 16

    def __init__(self, cfg: Config):
        self.cfg = cfg
        bit = stream.Signature(1)
        super().__init__({"i": In(bit), "o": Out(bit).array(isa.unit_numbers(cfg)), "empty": Out(1)})

    def elaborate(self, platform):
        m = Module()
        queues = {unit: Queue(1, self.depth) for unit in isa.units(self.cfg)}
        for unit, queue in queues.items():
            m.submodules[unit.name.lower()] = queue
            m.d.comb += [queue.i.valid.eq(self.i.valid & self.i.ready), queue.i.payload.eq(self.i.payload)]
            wiring.connect(m, queue.o, wiring.flipped(self.o[unit]))
        m.d.comb += [
            self.i.ready.eq(Cat(queue.i.ready for queue in queues.values()).all()),
            self.empty.eq(~Cat(queue.level.any() for queue in queues.values()).any()),
        ]
        return m
