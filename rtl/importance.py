"""Importance of tokens: column sums of probabilities, added up behind the softmax."""

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows.pruning import IMPORTANCE_BITS, PROBABILITY_BITS
from rtl.memory import BankMemory
from rtl.queue import Queue
from rtl.skew import delay

NUMERATOR_BITS = 7
INVERSE_BITS = 16
SHIFT_BITS = 5
ROWS_AHEAD = 8
"""Rows whose words or whose reciprocals are there already."""


def numerators_layout(lanes: int, values: bool = False) -> data.StructLayout:
    """A word of a row of numerators, 0 where a lane holds no key that counts; ``last`` of its row.

    With ``values`` it says for which accumulators it is.
    """
    banks = {"for_tokens": 1, "for_values": 1} if values else {}
    return data.StructLayout({"data": data.ArrayLayout(NUMERATOR_BITS, lanes), "last": 1, **banks})


def reciprocal_layout(maxima: bool = False, values: bool = False) -> data.StructLayout:
    """``inv >> 8`` and ``b - 1`` of a row's sum (``docs/numerics.md``, section 9); ``fresh``: the row is the first.

    With ``maxima`` accumulators may keep the ``largest`` probability. With ``values`` it says for which ones it is, and
    whether it is the first of these.
    """
    banks = {"for_tokens": 1, "for_values": 1, "fresh_values": 1, "largest": 1} if values else {}
    largest = {"largest": 1} if maxima else {}
    return data.StructLayout({"inverse": INVERSE_BITS, "shift": SHIFT_BITS, "fresh": 1, **largest, **banks})


def accumulator_ports(lanes: int, words: int) -> dict:
    """Access to accumulators, a word of ``lanes`` a cycle, while nothing else adds to them.

    Members
    -------
    read, read_word : In(1), In(range(words))
    read_data : Out(lanes x 40)
        The word, one cycle after ``read``.
    write, write_word, write_value : In(lanes), In(range(words)), In(40)
        Lanes that take the value.
    """
    return {
        "read": In(1),
        "read_word": In(range(words)),
        "read_data": Out(data.ArrayLayout(unsigned(IMPORTANCE_BITS), lanes)),
        "write": In(lanes),
        "write_word": In(range(words)),
        "write_value": In(IMPORTANCE_BITS),
    }


class TokenImportance(wiring.Component):
    """Adds the probabilities of rows to an accumulator per key.

    A row's numerators wait in a ring until the reciprocal of their sum is there; then a word per cycle is read,
    multiplied, shifted and added.

    Parameters
    ----------
    lanes : int
        Elements of a word.
    words : int
        Words of the longest row; as many of accumulators.
    maxima : bool
        Whether rows may say that the largest probability is kept instead of the sum.

    Members
    -------
    i : In(stream of numerators_layout, always ready)
        Words of rows. No more than ``slack`` of them come before the reciprocal of the row before theirs.
    row : In(stream of reciprocal_layout(maxima), always ready)
        One per row, after its last word or together with it.
    busy : Out(1)
        Something has yet to be added.
    read, ... : accumulator_ports(lanes, words)
        For use while it is not busy.

    Timing
    ------
    A row of n words takes ``max(n, spacing)`` cycles, from ``Queue.latency + 1`` cycles after its reciprocal on or from
    when the row before has taken its cycles. So rows that come a word per cycle, or one per ``spacing`` cycles, never
    wait. Its sums are there ``settle`` cycles after its last cycle.
    """

    spacing = 3
    """Cycles from reading a word of accumulators to reading its new value."""
    settle = 5
    """Cycles from reading the last word of a row to the one in which its sums can be read."""
    slack = 64

    def __init__(self, lanes: int, words: int, maxima: bool = False):
        self.lanes, self.words, self.maxima = lanes, words, maxima
        self.ring_words = words + self.slack
        super().__init__({
            "i": In(stream.Signature(numerators_layout(lanes), always_ready=True)),
            "row": In(stream.Signature(reciprocal_layout(maxima), always_ready=True)),
            "busy": Out(1),
            **accumulator_ports(lanes, words),
        })

    def elaborate(self, platform):
        m = Module()
        ring_bytes = -(-self.lanes * NUMERATOR_BITS // 8)
        m.submodules.ring = ring = BankMemory(ring_bytes, self.ring_words, ring_bytes)
        m.submodules.lengths = lengths = Queue(range(self.words + 1), ROWS_AHEAD)
        m.submodules.rows = rows = Queue(reciprocal_layout(self.maxima), ROWS_AHEAD)
        m.d.comb += [rows.i.valid.eq(self.row.valid), rows.i.payload.eq(self.row.payload)]

        # Words come into the ring; how many a row has is known with its last one.
        into = Signal(range(self.ring_words))
        count = Signal(range(self.words + 1))
        m.d.comb += [
            ring.write_enable.eq(self.i.valid),
            ring.write_address.eq(into),
            ring.write_data.eq(self.i.p.data.as_value()),
            lengths.i.valid.eq(self.i.valid & self.i.p.last),
            lengths.i.payload.eq(count + 1),
        ]
        with m.If(self.i.valid):
            m.d.sync += [
                into.eq(Mux(into == self.ring_words - 1, 0, into + 1)),
                count.eq(Mux(self.i.p.last, 0, count + 1)),
            ]

        # One row after the other leaves it.
        begin, running, read = Signal(), Signal(), Signal()
        left = Signal(range(max(self.words, self.spacing) + 1), reset_less=True)  # cycles of the row
        unread = Signal(range(self.words + 1))
        word = Signal(range(max(2, self.words)), reset_less=True)
        outof = Signal(range(self.ring_words))
        row = Signal(reciprocal_layout(self.maxima), reset_less=True)
        m.d.comb += [
            begin.eq(lengths.o.valid & rows.o.valid & (~running | (left == 1))),
            lengths.o.ready.eq(begin),
            rows.o.ready.eq(begin),
            read.eq(unread != 0),
            ring.read_enable.eq(read),
            ring.read_address.eq(outof),
        ]
        with m.If(read):
            m.d.sync += [
                unread.eq(unread - 1), word.eq(word + 1), outof.eq(Mux(outof == self.ring_words - 1, 0, outof + 1))
            ]  # fmt: skip
        with m.If(running):
            m.d.sync += [left.eq(left - 1), running.eq(left != 1)]
        with m.If(begin):
            length = lengths.o.payload
            m.d.sync += [
                running.eq(1), row.eq(rows.o.payload), unread.eq(length), word.eq(0),
                left.eq(Mux(length < self.spacing, self.spacing, length)),
            ]  # fmt: skip
        self._elaborate_sums(m, ring.read_data, read, word, row)
        opened = Signal(range(2 * ROWS_AHEAD + 1))  # rows that have come and are not added yet
        ended = delay(m, running & (left == 1), self.settle, "ended_line", reset_less=False)
        m.d.sync += opened.eq(opened + (self.i.valid & self.i.p.last) - ended)
        m.d.comb += self.busy.eq(opened != 0)
        return m

    def _elaborate_sums(self, m, numerators, read, word, row):
        """Product, shift and sum, with a register behind each; the accumulator is read while the shift is made."""
        m.submodules.accumulators = accumulators = BankMemory(
            self.lanes * IMPORTANCE_BITS // 8, self.words, IMPORTANCE_BITS // 8
        )
        multiplied, shifted = Signal.like(row, name="multiplied"), Signal.like(row, name="shifted")
        fresh = Signal(reset_less=True)
        m.d.sync += [multiplied.eq(row), shifted.eq(multiplied), fresh.eq(shifted.fresh)]
        largest = Signal(reset_less=True)
        if self.maxima:
            m.d.sync += largest.eq(shifted.largest)
        word_line = delay(m, word, 2, "word_line")
        read_line = delay(m, read, 2, "read_line", reset_less=False)
        summed, write = Signal.like(word, reset_less=True), Signal()
        written = Signal.like(word, reset_less=True)
        adding = Signal()
        m.d.sync += [summed.eq(word_line), written.eq(summed), adding.eq(read_line), write.eq(adding)]
        m.d.comb += [
            accumulators.read_enable.eq(read_line | self.read),
            accumulators.read_address.eq(Mux(read_line, word_line, self.read_word)),
            self.read_data.as_value().eq(accumulators.read_data),
        ]
        sums = Signal(data.ArrayLayout(unsigned(IMPORTANCE_BITS), self.lanes), reset_less=True)
        for lane in range(self.lanes):
            product = Signal(NUMERATOR_BITS + INVERSE_BITS, name=f"product_{lane}", reset_less=True)
            probability = Signal(PROBABILITY_BITS + 1, name=f"probability_{lane}", reset_less=True)
            numerator = numerators[NUMERATOR_BITS * lane :][:NUMERATOR_BITS]
            m.d.sync += [product.eq(numerator * multiplied.inverse), probability.eq(product >> shifted.shift)]
            total = Mux(fresh, 0, self.read_data[lane]) + probability
            if self.maxima:
                before = Signal(IMPORTANCE_BITS, name=f"before_{lane}")
                m.d.comb += before.eq(Mux(fresh, 0, self.read_data[lane]))
                larger = before[len(probability) :].any() | (before[: len(probability)] >= probability)
                total = Mux(largest, Mux(larger, before, probability), total)
            m.d.sync += sums[lane].eq(total)
        m.d.comb += [
            accumulators.write_enable.eq(Mux(write, ~0, self.write)),
            accumulators.write_address.eq(Mux(write, written, self.write_word)),
            accumulators.write_data.eq(
                Mux(write, sums.as_value(), self.write_value.replicate(self.lanes))
            ),
        ]  # fmt: skip
