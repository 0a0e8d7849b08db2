"""Words of the vector unit on their way to the row engine."""

from amaranth import Module, Mux, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dataflows.config import Config
from rtl.queue import Queue
from rtl.vector_lane import WIDE_BITS


def row_word_layout(cfg: Config) -> data.ArrayLayout:
    """A word of a row on its way to the row engine."""
    return data.ArrayLayout(signed(WIDE_BITS), cfg.lanes)


class RowWords(wiring.Component):
    """Gives output words their 16 bits: wide words wait here, from the cycle on in which the lanes have them.

    Parameters
    ----------
    cfg : Config
        Uses ``lanes``.
    depth : int
        Words that wait at most: those of the output queue.

    Members
    -------
    put : In(1), i : In(row_word_layout)
        A wide word is ready.
    codes : In(lanes x 8)
        The word that leaves the output queue.
    wide, take : In(1)
        It is a wide one; it leaves in this cycle. It was put ``Queue.latency`` cycles ago or earlier.
    o : Out(row_word_layout)
        The wide word, or the codes with their sign. Combinational.
    """

    def __init__(self, cfg: Config, depth: int):
        self.cfg = cfg
        self.depth = depth
        super().__init__({
            "put": In(1),
            "i": In(row_word_layout(cfg)),
            "codes": In(data.ArrayLayout(cfg.numbers.act_bits, cfg.lanes)),
            "wide": In(1),
            "take": In(1),
            "o": Out(row_word_layout(cfg)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = Queue(row_word_layout(self.cfg), self.depth)
        m.d.comb += [
            queue.i.valid.eq(self.put),
            queue.i.payload.eq(self.i),
            queue.o.ready.eq(self.take & self.wide),
            *(
                element.eq(Mux(self.wide, wide, code.as_signed()))
                for element, wide, code in zip(self.o, queue.o.payload, self.codes, strict=True)
            ),
        ]
        return m
