"""Greedy scores of keys, and which of them are above zero."""

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from dataflows.candidates import PRODUCT_BITS, SCORE_BITS, key_bits
from rtl.memory import BankMemory
from rtl.zero_eliminator import ZeroEliminator, dense_layout


class GreedyScores(wiring.Component):
    """An accumulator per key, and a zero eliminator behind them.

    Parameters
    ----------
    lanes : int
        Scores of a word, a power of two.
    length : int
        Most keys.

    Members
    -------
    clear, clear_word : In(1), In(range(words))
        A word becomes 0.
    add, key, value : In(1), In(key_bits), In(signed(16))
        The value is added to the score of the key. Two cycles apart.
    show : In(1), keys : In(range(length + 1))
        The keys above zero, of so many, leave; nothing else is asked for until their last word has.
    o : Out(stream of dense_layout)
        There is always a last word, which may be empty.

    Timing
    ------
    A score is written one cycle after ``add``. The first word is read in the cycle after ``show``, one per cycle from
    then on, and goes into the eliminator a cycle later.
    """

    def __init__(self, lanes: int, length: int):
        self.lanes, self.length = lanes, length
        self.words = -(-length // lanes)
        super().__init__({
            "clear": In(1), "clear_word": In(range(self.words)),
            "add": In(1), "key": In(key_bits(length)), "value": In(signed(PRODUCT_BITS)),
            "show": In(1), "keys": In(range(length + 1)),
            "o": Out(stream.Signature(dense_layout(lanes, key_bits(length)))),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        lane_bits = exact_log2(self.lanes)
        word_bytes = SCORE_BITS // 8
        m.submodules.accumulators = memory = BankMemory(self.lanes * word_bytes, self.words, word_bytes)
        m.submodules.eliminator = eliminator = ZeroEliminator(self.lanes, key_bits(self.length))
        wiring.connect(m, eliminator.o, wiring.flipped(self.o))
        scores = Signal(data.ArrayLayout(signed(SCORE_BITS), self.lanes))
        m.d.comb += scores.as_value().eq(memory.read_data)

        # The key's word is read in one cycle, and written with the sum in the next.
        adding = Signal()
        key = Signal.like(self.key, name="added_key", reset_less=True)
        value = Signal.like(self.value, name="added_value", reset_less=True)
        m.d.sync += [adding.eq(self.add), key.eq(self.key), value.eq(self.value)]
        lane = Signal(max(1, lane_bits))
        total = Signal(SCORE_BITS)
        m.d.comb += [lane.eq(key[:lane_bits] if lane_bits else 0), total.eq(scores[lane] + value)]

        # Words on their way to the eliminator.
        showing, have = Signal(), Signal()
        word, seen = Signal(range(self.words), reset_less=True), Signal(range(self.words), reset_less=True)
        last = Signal(reset_less=True)
        read, ends = Signal(), Signal()
        m.d.comb += [
            read.eq(showing & (~have | eliminator.i.ready)),
            ends.eq(word == (self.keys - 1) >> lane_bits),
            eliminator.i.valid.eq(have),
            eliminator.i.p.last.eq(last),
        ]
        with m.If(read | eliminator.i.ready):
            m.d.sync += have.eq(read)
        with m.If(self.show):
            m.d.sync += [showing.eq(1), word.eq(0)]
        with m.Elif(read):
            m.d.sync += [showing.eq(~ends), word.eq(word + 1), seen.eq(word), last.eq(ends)]
        for place in range(self.lanes):
            number = Signal(range(self.words * self.lanes), name=f"number_{place}")
            m.d.comb += [
                number.eq((seen << lane_bits) | place),
                eliminator.i.p.data[place].eq(number),
                eliminator.i.p.keep[place].eq((scores[place] > 0) & (number < self.keys)),
            ]
        m.d.comb += [
            memory.read_enable.eq(self.add | read),
            memory.read_address.eq(Mux(self.add, self.key >> lane_bits, word)),
            memory.write_enable.eq(Mux(self.clear, ~0, Mux(adding, 1 << lane, 0))),
            memory.write_address.eq(Mux(self.clear, self.clear_word, key >> lane_bits)),
            memory.write_data.eq(Mux(self.clear, 0, total).replicate(self.lanes)),
        ]
        return m
