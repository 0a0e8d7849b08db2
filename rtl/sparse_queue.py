"""The queue in front of a sparse PE: short, of any depth, and able to give and take in one cycle when it is full."""

from amaranth import Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config


def activation_layout(cfg: Config) -> data.StructLayout:
    """An activation that is not zero: the number of its column in the job, and its value less the zero point."""
    return data.StructLayout({"column": unsigned(isa.COUNT_BITS), "value": signed(cfg.numbers.act_bits + 1)})


class ShortQueue(wiring.Component):
    """First in, first out, over a small memory that is read without a clock edge.

    Parameters
    ----------
    shape : shape-like
        Payload.
    depth : int
        Entries it holds, at least 1.

    Members
    -------
    i : In(stream of shape)
        ``ready`` while it is not full, and while it is full but gives (``o.ready``): so one transfer per cycle is
        possible at any depth. ``ready`` does not depend on ``i.valid``.
    o : Out(stream of shape)

    Timing
    ------
    What comes in cycle t is at ``o`` from cycle t + 1 on.
    """

    latency = 1

    def __init__(self, shape, depth: int):
        if depth < 1:
            raise ValueError(f"ShortQueue depth must be at least 1, not {depth}")
        self.shape = shape
        self.depth = depth
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        level = Signal(range(self.depth + 1))
        full, put, take = Signal(), Signal(), Signal()
        m.d.comb += [
            full.eq(level == self.depth),
            self.o.valid.eq(level != 0),
            self.i.ready.eq(~full | self.o.ready),
            put.eq(self.i.valid & self.i.ready),
            take.eq(self.o.valid & self.o.ready),
        ]
        with m.If(put & ~take):
            m.d.sync += level.eq(level + 1)
        with m.If(take & ~put):
            m.d.sync += level.eq(level - 1)
        word, held = Value.cast(self.i.payload), Value.cast(self.o.payload)
        if self.depth == 1:
            only = Signal(len(word), reset_less=True)
            with m.If(put):
                m.d.sync += only.eq(word)
            m.d.comb += held.eq(only)
            return m
        m.submodules.memory = memory = Memory(shape=len(word), depth=self.depth, init=[])
        write, read = memory.write_port(), memory.read_port(domain="comb")
        m.d.comb += [write.en.eq(put), write.data.eq(word), held.eq(read.data)]
        for port, moves in ((write, put), (read, take)):
            place = Signal(range(self.depth), name="write_place" if port is write else "read_place")
            m.d.comb += port.addr.eq(place)
            with m.If(moves):
                m.d.sync += place.eq(Mux(place == self.depth - 1, 0, place + 1))
        return m
