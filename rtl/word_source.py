"""Chooses for STORE, row by row, whether words come from the vector unit or from the row engine."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows.config import Config
from rtl import axi
from rtl.pack import word_layout
from rtl.sparse_queue import ShortQueue

ROWS_AHEAD = 4
"""Rows whose words are not all taken: one in the splitter of bursts, two in the relay behind it, and one to spare."""


def row_source_layout() -> data.StructLayout:
    """Bytes of a row of DRAM, and whether they come from the row engine."""
    return data.StructLayout({"bytes": axi.ROW_BYTES_BITS, "rows": 1})


class WordSource(wiring.Component):
    """One stream of words out of two.

    Parameters
    ----------
    cfg : Config
        Uses ``vector_word_bytes``.

    Members
    -------
    row : In(stream of row_source_layout(), always ready)
        Rows in their order; at most ``ROWS_AHEAD`` whose words have not all left. Words do not straddle rows.
    vector, rows : In(stream of word_layout(vector_word_bytes))
    o : Out(the same)
    drain : In(1)
        Take what comes from either and throw it away; ``o`` is not valid.

    Timing
    ------
    Combinational, from the cycle after that of a word's ``row`` on.
    """

    def __init__(self, cfg: Config):
        word = stream.Signature(word_layout(cfg.vector_word_bytes))
        super().__init__({
            "row": In(stream.Signature(row_source_layout(), always_ready=True)),
            "vector": In(word),
            "rows": In(word),
            "o": Out(word),
            "drain": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = ShortQueue(row_source_layout(), ROWS_AHEAD)
        open_, rows = Signal(), Signal()
        taken = Signal(axi.ROW_BYTES_BITS)  # bytes of the row
        total = Signal(axi.ROW_BYTES_BITS)
        ends, moved = Signal(), Signal()
        m.d.comb += [
            queue.i.payload.eq(self.row.payload),
            queue.i.valid.eq(self.row.valid),
            open_.eq(queue.o.valid & ~self.drain),
            rows.eq(queue.o.p.rows),
            self.o.payload.eq(Mux(rows, self.rows.payload.as_value(), self.vector.payload.as_value())),
            self.o.valid.eq(open_ & Mux(rows, self.rows.valid, self.vector.valid)),
            self.vector.ready.eq(self.drain | (open_ & ~rows & self.o.ready)),
            self.rows.ready.eq(self.drain | (open_ & rows & self.o.ready)),
            total.eq(taken + self.o.p.count),
            ends.eq(total == queue.o.p.bytes),
            moved.eq(self.o.valid & self.o.ready),
            queue.o.ready.eq(moved & ends),
        ]
        with m.If(moved):
            m.d.sync += taken.eq(Mux(ends, 0, total))
        return m
