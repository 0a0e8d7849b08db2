"""Front of the sparse engine: picks the activations that are not zero out of the words of INPUT."""

from amaranth import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config
from rtl.leading_non_zero import LeadingNonZero
from rtl.sparse_queue import activation_layout


def word_stream(cfg: Config) -> stream.Signature:
    """Stream of words of ``input_elements`` activations."""
    return stream.Signature(data.ArrayLayout(signed(cfg.numbers.act_bits), cfg.input_elements))


def vector_layout(cfg: Config) -> data.StructLayout:
    """What is to be known of a vector: how many activations it has (at least 1), and their zero point."""
    return data.StructLayout({"count": unsigned(isa.COUNT_BITS), "zero": signed(cfg.numbers.act_bits)})


class SparseBroadcast(wiring.Component):
    """Turns vectors that come in words into (column, value - zero) of each element other than the zero point, in order.

    The word that is looked at lies in a register, with a mask of its elements that are still to be sent; what has been
    found waits in another one. The first word of the next vector is fetched ahead, but nothing is sent of it before
    ``begin``.

    Parameters
    ----------
    cfg : Config
        Uses ``input_elements`` and ``numbers.act_bits``.

    Members
    -------
    vector : In(stream of vector_layout)
        The next vector; taken when the last word of the one before is in its register.
    i : In(word_stream)
        Words of the vectors; the last one of each is as long as it must be, elements behind that are ignored.
    begin : In(1)
        The next vector may be sent, from the next cycle on. Only while ``end``.
    o : Out(stream of activation_layout)
    end : Out(1)
        Everything of the vectors begun has been sent.

    Timing
    ------
    A word of n elements to send takes max(1, n) cycles, and the next word follows at once. A word of zeros takes its
    cycle also while ``o`` is held up. So what is sent i-th is found in cycle ``found[i]`` and leaves in ``left[i]``::

        found[i] = max(found[i - 1] + 1 + words of zeros between them, left[i - 1])
        left[i] >= found[i] + 1

    The first search is in the cycle after ``begin``, or in the one after the word has come. ``end`` comes back in the
    cycle after the last element has left; where words of zeros are behind it, in the one after the last search.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        super().__init__({
            "vector": In(stream.Signature(vector_layout(cfg))),
            "i": In(word_stream(cfg)),
            "begin": In(1),
            "o": Out(stream.Signature(activation_layout(cfg))),
            "end": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        width = self.cfg.input_elements
        m.submodules.first = first = LeadingNonZero(width)
        left = Signal(isa.COUNT_BITS)  # elements of the vector that have not come
        zero = Signal(signed(self.cfg.numbers.act_bits), reset_less=True)
        base = Signal(isa.COUNT_BITS, reset_less=True)  # column of the next word
        have = Signal()  # a word is searched
        word = Signal(self.i.payload.shape(), reset_less=True)
        word_zero, word_base = Signal.like(zero, reset_less=True), Signal.like(base, reset_less=True)
        final = Signal(reset_less=True)  # it is the last one of its vector
        mask = Signal(width, reset_less=True)
        border = Signal(init=1)  # the next vector may not be sent yet
        search, room, leave, load, short = Signal(), Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            first.mask.eq(mask),
            room.eq(~self.o.valid | self.o.ready),
            search.eq(have & ~border),
            leave.eq(search & (~first.found | (room & ~first.rest.any()))),
            self.vector.ready.eq(left == 0),
            self.i.ready.eq((left != 0) & (~have | leave)),
            load.eq(self.i.valid & self.i.ready),
            short.eq(left <= width),
            self.end.eq(border & ~self.o.valid),
        ]
        with m.If(self.vector.valid & self.vector.ready):
            m.d.sync += [left.eq(self.vector.p.count), zero.eq(self.vector.p.zero), base.eq(0)]
        with m.If(self.begin):
            m.d.sync += border.eq(0)
        with m.If(leave):
            m.d.sync += have.eq(0)
            with m.If(final):
                m.d.sync += border.eq(1)
        with m.If(room):
            m.d.sync += self.o.valid.eq(search & first.found)
            with m.If(search):
                m.d.sync += [
                    mask.eq(first.rest),
                    self.o.p.column.eq(word_base + first.index),
                    self.o.p.value.eq(self._chosen(m, word, first.index) - word_zero),
                ]
        with m.If(load):
            m.d.sync += [
                have.eq(1),
                word.eq(self.i.payload),
                word_zero.eq(zero),
                word_base.eq(base),
                final.eq(short),
                mask.eq(Cat((element != zero) & (left > n) for n, element in enumerate(self.i.payload))),
                base.eq(base + width),
                left.eq(Mux(short, 0, left - width)),
            ]
        return m

    def _chosen(self, m, word, index):
        """Element ``index`` of a word."""
        chosen = Signal(signed(self.cfg.numbers.act_bits))
        with m.Switch(index):
            for number, element in enumerate(word):
                with m.Case(number):
                    m.d.comb += chosen.eq(element)
        return chosen
