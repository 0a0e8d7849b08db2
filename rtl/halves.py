"""Halves of codes on the way from DRAM: each byte becomes two elements."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config
from rtl.read_master import beat_layout

HALF_BITS = 4


class HalfExpander(wiring.Component):
    """Passes beats on as they are, or makes two elements of each of their bytes, the lower bits first.

    Parameters
    ----------
    cfg : Config
        Uses ``bus_bytes``.

    Members
    -------
    nibbles : In(2)
        ``isa.Nibbles``: whole bytes; 16 times the half; the half. It changes only between beats.
    i, o : In, Out(stream of beat_layout(bus_bytes))

    Timing
    ------
    Combinational; a beat whose elements lie in two beats takes two cycles.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        beats = stream.Signature(beat_layout(cfg.bus_bytes))
        super().__init__({"nibbles": In(2), "i": In(beats), "o": Out(beats)})

    def elaborate(self, platform):
        m = Module()
        size = self.cfg.bus_bytes
        beat, out = self.i.payload, self.o.payload
        on, second, crosses, upper = Signal(), Signal(), Signal(), Signal()
        first, end = Signal(range(2 * size)), Signal(range(2 * size + 1))
        m.d.comb += [
            on.eq(self.nibbles != isa.Nibbles.NONE),
            first.eq(2 * beat.first),
            end.eq(2 * (beat.first + beat.count)),
            crosses.eq(on & (first < size) & (end > size)),
            upper.eq(second | (first >= size)),
            self.o.valid.eq(self.i.valid),
            self.i.ready.eq(self.o.ready & (second | ~crosses)),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += second.eq(crosses & ~second)

        half = Mux(upper, beat.data.as_value()[4 * size :], beat.data.as_value()[: 4 * size])
        halves = [half.word_select(i, HALF_BITS) for i in range(size)]
        blank = Const(0, HALF_BITS)
        start = Signal(range(size))
        m.d.comb += [
            out.data.eq(beat.data),
            out.first.eq(beat.first),
            out.count.eq(beat.count),
            out.last.eq(beat.last & (second | ~crosses)),
        ]
        with m.If(on):
            m.d.comb += [
                start.eq(Mux(second, 0, first - Mux(upper, size, 0))),
                out.first.eq(start),
                out.count.eq(Mux(crosses & ~second, size, end - Mux(upper, size, 0)) - start),
            ]
            with m.If(self.nibbles == isa.Nibbles.HIGH):
                m.d.comb += out.data.as_value().eq(Cat(Cat(blank, element) for element in halves))
            with m.Else():
                m.d.comb += out.data.as_value().eq(Cat(Cat(element, blank) for element in halves))
        return m
