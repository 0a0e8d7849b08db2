"""A stream through two registers, so that neither valid nor ready goes through."""

from amaranth import Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class Relay(wiring.Component):
    """Cuts the combinational paths of a stream in both directions.

    Parameters
    ----------
    shape : shape-like
        Payload.

    Members
    -------
    i : In(stream of shape)
    o : Out(stream of shape)

    Timing
    ------
    One transfer per cycle, ``latency`` cycle later. Everything that leaves comes from a register; holds two transfers.
    """

    latency = 1

    def __init__(self, shape):
        self.shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        given, shown = Value.cast(self.i.payload), Value.cast(self.o.payload)
        spare = Signal(len(given), reset_less=True)  # what came while the output stood
        full = Signal()
        m.d.comb += self.i.ready.eq(~full)
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += [self.o.valid.eq(self.i.valid | full), full.eq(0)]
            with m.If(full):
                m.d.sync += shown.eq(spare)
            with m.Else():
                m.d.sync += shown.eq(given)
        with m.Elif(~full):
            m.d.sync += [full.eq(self.i.valid), spare.eq(given)]
        return m
