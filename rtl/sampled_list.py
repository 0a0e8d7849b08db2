"""A list of words in memory, with the three samples that pivots are chosen from."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl.memory import BankMemory


class SampledList(wiring.Component):
    """Keeps the words of a list from address 0 on, and the elements of :func:`dataflows.top_k.sample_places`.

    A list may be written while the one before is being read, behind its reader.

    Parameters
    ----------
    shape : shape-like
        Of an element.
    parallel : int
        Elements of a word.
    depth : int
        Words.

    Members
    -------
    write : In(1), write_data, write_count, write_last : In
        A word of ``write_count`` elements; with 0 it is only the end of the list. After ``write_last`` the next list
        begins.
    read : In(1), read_address, read_data : Out
        The word, one cycle after ``read``; held while it is low. A word is read in the cycle after it is written, or
        later.
    samples : Out(shape), three of them
        Of the words written so far; those of a list stay until the next one is written.
    """

    def __init__(self, shape, parallel: int, depth: int):
        self.parallel, self.depth = parallel, depth
        self.word = data.ArrayLayout(shape, parallel)
        super().__init__({
            "write": In(1),
            "write_data": In(self.word),
            "write_count": In(range(parallel + 1)),
            "write_last": In(1),
            "read": In(1),
            "read_address": In(range(depth)),
            "read_data": Out(self.word),
            "samples": Out(data.ArrayLayout(shape, 3)),
        })

    def elaborate(self, platform):
        m = Module()
        word_bytes = -(-self.word.size // 8)
        m.submodules.words = words = BankMemory(word_bytes, max(2, self.depth), word_bytes)
        number = Signal(range(self.depth + 1))  # of the next word
        some = Signal()
        m.d.comb += [
            some.eq(self.write & (self.write_count != 0)),
            words.write_enable.eq(some),
            words.write_address.eq(number),
            words.write_data.eq(self.write_data),
            words.read_enable.eq(self.read),
            words.read_address.eq(self.read_address),
            self.read_data.as_value().eq(words.read_data),
        ]
        with m.If(self.write):
            m.d.sync += number.eq(Mux(self.write_last, 0, number + 1))
        older, newer, between = (Signal(self.word.elem_shape, name=name, reset_less=True)
                                 for name in ("older", "newer", "between"))  # fmt: skip
        m.d.comb += [sample.eq(of) for sample, of in zip(self.samples, (older, newer, between), strict=True)]
        ends = [count - 1 for count in range(2, self.depth + 1) if count & count - 1 == 0]
        threes = [count - 1 for count in range(3, self.depth + 1, 3) if count // 3 & count // 3 - 1 == 0]
        first, last = self.write_data[0], self.write_data[self.parallel - 1]
        with m.If(self.write & (self.write_count == self.parallel)), m.Switch(number):
            with m.Case(0):
                m.d.sync += [older.eq(first), newer.eq(last)]
                m.d.sync += between.eq(self.write_data[(self.parallel - 1) // 2])
            if ends:
                with m.Case(*ends):
                    m.d.sync += [older.eq(newer), newer.eq(last)]
            if threes:
                with m.Case(*threes):
                    m.d.sync += between.eq(last)
        return m
