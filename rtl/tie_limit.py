"""Lets all greater elements through, and of the equal ones only the first so many."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dataflows.top_k import prefix_latency
from rtl.prefix_sum import PrefixSum
from rtl.skew import held_delay


class TieLimit(wiring.Component):
    """Decides which elements of a stream of words to keep, by how each compares with a threshold.

    Parameters
    ----------
    parallel : int
        Elements of a word.
    length : int
        Elements of a stream, at most.

    Members
    -------
    start : In(1), ties : In(range(length + 1))
        A stream begins, in which the first ``ties`` equal elements are kept. No word is given in this cycle.
    move : In(1)
        Whether the stream moves.
    valid : In(1), greater : In(parallel), equal : In(parallel)
        A word of flags.
    keep : Out(parallel)

    Timing
    ------
    ``keep`` belongs to the word of ``latency`` moves before.
    """

    def __init__(self, parallel: int, length: int):
        self.parallel, self.length = parallel, length
        self.latency = prefix_latency(parallel) + 1
        super().__init__({
            "start": In(1),
            "ties": In(range(length + 1)),
            "move": In(1),
            "valid": In(1),
            "greater": In(parallel),
            "equal": In(parallel),
            "keep": Out(parallel),
        })

    def elaborate(self, platform):
        m = Module()
        left = Signal.like(self.ties, reset_less=True)
        m.submodules.ranks = ranks = PrefixSum(self.parallel)
        m.d.comb += [ranks.flags.eq(self.equal), ranks.enable.eq(self.move)]
        greater = held_delay(m, self.greater, ranks.latency, self.move, "greater_line")
        equal = held_delay(m, self.equal, ranks.latency, self.move, "equal_line")
        valid = held_delay(m, self.valid, ranks.latency, self.move, "valid_line", reset_less=False)
        with m.If(self.move):
            m.d.sync += [
                self.keep[lane].eq(greater[lane] | equal[lane] & (ranks.counts[lane] < left))
                for lane in range(self.parallel)
            ]
        with m.If(self.start):
            m.d.sync += left.eq(self.ties)
        with m.Elif(self.move & valid):
            m.d.sync += left.eq(Mux(ranks.total < left, left - ranks.total, 0))
        return m
