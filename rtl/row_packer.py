"""Rows without the elements that do not stay: flags, a zero eliminator, and zeros up to a fixed length."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.memory import BankMemory
from rtl.select import mask_ports
from rtl.zero_eliminator import ZeroEliminator

COUNT_BITS = 16


def pack_layout() -> data.StructLayout:
    """Rows of ``blocks`` words, ``tail`` lanes of the last one valid; each becomes ``count`` elements, at least one."""
    return data.StructLayout({"rows": COUNT_BITS, "blocks": COUNT_BITS, "tail": COUNT_BITS, "count": COUNT_BITS})


class RowPacker(wiring.Component):
    """Packs the elements of rows whose flags are set, in their order, and fills up with zeros.

    Parameters
    ----------
    lanes : int
        Elements of a word, a power of two.
    words : int
        Words of the longest row.
    bits : int
        Bits of an element.

    Members
    -------
    mask, mask_word, mask_value : In, see :func:`~rtl.select.mask_ports`
        Writes of flags, while no job is open.
    job : In(stream of pack_layout())
        Taken when none is open.
    i : In(stream of lanes x bits)
        Words of rows. No more flags are set than the job has elements, else they are lost.
    o : Out(stream of {data, count})
        ``data[:count]``; all words of a row but the last are full.
    busy : Out(1)
        A job is open: its last word has not left.

    Timing
    ------
    A word is taken per cycle. A row's words leave when they are full, the first ``latency`` cycles after the word that
    completes it, and zeros behind its end, one word per cycle, while words of the next row come in unless these are
    full before. So a row takes as many cycles as it has words, or leaves, whatever is more, and one more where
    its end makes two words or a word without elements that it does not need.
    """

    def __init__(self, lanes: int, words: int, bits: int):
        self.lanes, self.words, self.bits = lanes, words, bits
        self.eliminator = ZeroEliminator(lanes, bits)
        self.latency = 1 + self.eliminator.latency
        word = data.ArrayLayout(bits, lanes)
        super().__init__({
            **{name: port.flip() for name, port in mask_ports(lanes, words).items()},
            "job": In(stream.Signature(pack_layout())),
            "i": In(stream.Signature(word)),
            "o": Out(stream.Signature(data.StructLayout({"data": word, "count": range(lanes + 1)}))),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.eliminator = eliminator = self.eliminator
        job = Signal(pack_layout(), reset_less=True)
        begin = Signal()
        m.d.comb += [self.job.ready.eq(~self.busy), begin.eq(self.job.valid & self.job.ready)]
        with m.If(begin):
            m.d.sync += [job.eq(self.job.payload), self.busy.eq(1)]

        # A word and its flags, on their way to the eliminator.
        m.submodules.flags = flags = BankMemory(self.lanes, self.words, 1)
        coming = Signal()  # rows of the job are still to come
        rows_left = Signal(COUNT_BITS, reset_less=True)
        block = Signal(range(self.words), reset_less=True)
        have, take, last = Signal(), Signal(), Signal(reset_less=True)
        word = Signal(self.i.payload.shape(), reset_less=True)
        ends = Signal()
        m.d.comb += [
            self.i.ready.eq(coming & (~have | eliminator.i.ready)),
            take.eq(self.i.valid & self.i.ready),
            ends.eq(block == job.blocks - 1),
            flags.read_enable.eq(take),
            flags.read_address.eq(block),
            flags.write_enable.eq(self.mask),
            flags.write_address.eq(self.mask_word),
            flags.write_data.eq(self.mask_value.replicate(8 * self.lanes)),
            eliminator.i.valid.eq(have),
            eliminator.i.p.data.eq(word),
            eliminator.i.p.last.eq(last),
            eliminator.i.p.keep.eq(Cat(
                flags.read_data[8 * lane] & (~last | (lane < job.tail)) for lane in range(self.lanes)
            )),
        ]  # fmt: skip
        with m.If(take | eliminator.i.ready):
            m.d.sync += have.eq(take)
        with m.If(take):
            m.d.sync += [word.eq(self.i.payload), last.eq(ends), block.eq(Mux(ends, 0, block + 1))]
            with m.If(ends):
                m.d.sync += [rows_left.eq(rows_left - 1), coming.eq(rows_left != 1)]
        with m.If(begin):
            m.d.sync += [rows_left.eq(self.job.p.rows), coming.eq(1), block.eq(0)]
        self._elaborate_output(m, job, begin, eliminator.o)
        return m

    def _elaborate_output(self, m, job, begin, dense):
        """Words of rows, then zeros; a word of the eliminator behind the last one of its row is thrown away."""
        left = Signal(COUNT_BITS, reset_less=True)  # elements of the row that have yet to leave
        rows = Signal(COUNT_BITS, reset_less=True)  # rows that have yet to end
        filling = Signal()  # all that stays of the row has left
        extra, final, moves, row_ends = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            extra.eq((left == 0) & ~filling),
            final.eq(left <= self.lanes),
            self.o.valid.eq(filling | dense.valid & ~extra),
            self.o.p.count.eq(Mux(final, left, self.lanes)),
            dense.ready.eq(~filling & (extra | self.o.ready)),
            moves.eq(self.o.valid & self.o.ready),
            row_ends.eq(Mux(extra, dense.valid & dense.p.last, moves & final & (filling | dense.p.last))),
        ]
        for lane in range(self.lanes):
            kept = ~filling & (lane < dense.p.count)
            m.d.comb += self.o.p.data[lane].eq(Mux(kept, dense.p.data[lane], 0))
        with m.If(moves):
            m.d.sync += [left.eq(Mux(final, 0, left - self.lanes)), filling.eq((filling | dense.p.last) & ~final)]
        with m.If(row_ends):
            m.d.sync += [left.eq(job.count), rows.eq(rows - 1)]
            with m.If(rows == 1):
                m.d.sync += self.busy.eq(0)
        with m.If(begin):
            m.d.sync += [left.eq(self.job.p.count), rows.eq(self.job.p.rows), filling.eq(0)]
