"""Turns accumulator words of pixels into words of output channels, on their way to the lanes of the vector unit."""

from amaranth import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dataflows.config import Config
from rtl.drain import Transposer, sum_stream


def span_layout(cfg: Config) -> data.StructLayout:
    """Pixels of a block that are wanted, and whether the block is the last of its job."""
    return data.StructLayout({"first": range(cfg.lanes), "last": range(cfg.lanes), "end": 1})


class Turner(wiring.Component):
    """Blocks of ``lanes`` accumulator words, one per output channel, become words of one pixel each.

    Parameters
    ----------
    cfg : Config
        Uses ``lanes`` and ``acc_bits``.

    Members
    -------
    i : In(sum_stream)
        Words of pixels, a block of channels after the other.
    span : In(span_layout)
        Of the block that the word belongs to; looked at with a block's last word.
    o : Out(sum_stream)
        Words of channels, pixel 0 first; as many as came.
    wanted, end : Out(1)
        The pixel is in the span; the word is the last of its job.

    Timing
    ------
    That of :class:`~rtl.drain.Transposer`.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        super().__init__({
            "i": In(sum_stream(cfg)),
            "span": In(span_layout(cfg)),
            "o": Out(sum_stream(cfg)),
            "wanted": Out(1),
            "end": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        final = self.cfg.lanes - 1
        m.submodules.transposer = transposer = Transposer(self.cfg)
        wiring.connect(m, wiring.flipped(self.i), transposer.i)
        wiring.connect(m, transposer.o, wiring.flipped(self.o))

        channel = Signal(range(self.cfg.lanes))  # of the word that comes
        pixel = Signal(range(self.cfg.lanes))  # of the word that leaves
        span = Signal(span_layout(self.cfg), reset_less=True)  # of the block that leaves
        with m.If(self.i.valid):
            m.d.sync += channel.eq(channel + 1)
            with m.If(channel == final):
                m.d.sync += [channel.eq(0), span.eq(self.span)]
        with m.If(self.o.valid):
            m.d.sync += pixel.eq(pixel + 1)
            with m.If(pixel == final):
                m.d.sync += pixel.eq(0)
        m.d.comb += [
            self.wanted.eq((pixel >= span.first) & (pixel <= span.last)),
            self.end.eq(span.end & (pixel == final)),
        ]
        return m
