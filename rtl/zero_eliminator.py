"""Zero eliminator: what is kept of a stream of words, without gaps."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from dataflows.top_k import eliminator_latency
from rtl.prefix_sum import PrefixSum
from rtl.shared import shared
from rtl.skew import held_delay


def flagged_layout(parallel: int, bits: int) -> data.StructLayout:
    """A word: elements, which of them to keep, and whether it is the last of its run."""
    return data.StructLayout({"data": data.ArrayLayout(bits, parallel), "keep": parallel, "last": 1})


def dense_layout(parallel: int, bits: int) -> data.StructLayout:
    """A word of the first ``count`` elements; only the last of a run has fewer than ``parallel``, possibly none."""
    return data.StructLayout({"data": data.ArrayLayout(bits, parallel), "count": range(parallel + 1), "last": 1})


@shared("parallel", "bits")
class ZeroEliminator(wiring.Component):
    """Packs the elements that are kept, in their order, into full words.

    Prefix counts say where each element belongs: behind those that wait in the unfinished word, and around its end.
    ``log2(parallel)`` stages move them there; stage b exchanges lanes whose numbers differ in bit b. Two elements whose
    lanes differ below bit b only are less than ``2**b`` apart, so their places differ there, too, and they never meet.
    So the same stages that close the gaps append to the unfinished word.

    Parameters
    ----------
    parallel : int
        Elements of a word, a power of two.
    bits : int
        Bits of an element.

    Members
    -------
    i : In(stream of flagged_layout)
    o : Out(stream of dense_layout)
        A run ends with a word that says ``last``, which is empty if nothing was left for it.
    count : Out(range(parallel + 1))
        How many flags of ``i.payload.keep`` are set, ``prefix_latency`` cycles later, whether ``i`` is valid or not.

    Timing
    ------
    A word of input per cycle. An output word is valid ``latency`` cycles after the transfer of the input that completes
    it. The end of a run can make two words: then ``i.ready`` is low for a cycle. ``i.ready`` follows ``o.ready``.

    Source
    ------
    Wang et al., SpAtten, HPCA 2021: zero eliminator of prefix sum and shifters. Deviation: exchanges instead of
    shifts, as many of them, which lead to the place in the output word instead of to its beginning.
    """

    def __init__(self, parallel: int, bits: int):
        if parallel < 1 or parallel & parallel - 1:
            raise ValueError(f"ZeroEliminator parallel must be a power of two, not {parallel}")
        self.parallel, self.bits = parallel, bits
        self.latency = eliminator_latency(parallel)
        super().__init__({
            "i": In(stream.Signature(flagged_layout(parallel, bits))),
            "o": Out(stream.Signature(dense_layout(parallel, bits))),
            "count": Out(range(parallel + 1)),
        })

    def elaborate(self, platform):
        m = Module()
        parallel = self.parallel
        places = exact_log2(parallel)  # bits of a place in a word
        free, move, rest = Signal(), Signal(), Signal()
        m.d.comb += [free.eq(~self.o.valid | self.o.ready), move.eq(free & ~rest), self.i.ready.eq(move)]

        m.submodules.ranks = ranks = PrefixSum(parallel)
        m.d.comb += [ranks.flags.eq(self.i.payload.keep), ranks.enable.eq(move), self.count.eq(ranks.total)]
        counted = Signal.like(self.i.payload)
        counted_valid = Signal()
        m.d.comb += [
            counted.as_value().eq(held_delay(m, self.i.payload.as_value(), ranks.latency, move, "counted_word")),
            counted_valid.eq(held_delay(m, self.i.valid, ranks.latency, move, "counted_valids", reset_less=False)),
        ]

        # In which bits each element changes its lane, and where the unfinished word ends before and after it.
        used = Signal(places)
        placed = Signal(data.ArrayLayout(self.bits, parallel), reset_less=True)
        begin = Signal(places, reset_less=True)
        end = Signal(range(2 * parallel), reset_less=True)
        last = Signal(reset_less=True)
        valid = Signal()
        ways = [Signal(places, name=f"way_{lane}", reset_less=True) for lane in range(parallel)]
        reached = Signal(range(2 * parallel))
        m.d.comb += reached.eq(used + ranks.total)
        with m.If(move):
            m.d.sync += [placed.eq(counted.data), begin.eq(used), end.eq(reached), last.eq(counted.last)]
            m.d.sync += valid.eq(counted_valid)
            for lane, way in enumerate(ways):
                m.d.sync += way.eq(Mux(counted.keep[lane], (used + ranks.counts[lane]) ^ lane, 0))
            with m.If(counted_valid):
                m.d.sync += used.eq(Mux(counted.last, 0, reached))

        # The word with the new elements behind the old ones; those that have gone around its end begin the next.
        moved = self._move(m, list(placed), ways)
        waiting = Signal(data.ArrayLayout(self.bits, parallel), reset_less=True)
        word = Signal(data.ArrayLayout(self.bits, parallel))
        full = Signal()
        rest_count = Signal(range(parallel + 1), reset_less=True)
        m.d.comb += full.eq(end >= parallel)
        m.d.comb += word[-1].eq(moved[-1])  # where nothing waits
        m.d.comb += [word[lane].eq(Mux(lane < begin, waiting[lane], moved[lane])) for lane in range(parallel - 1)]
        with m.If(free):
            m.d.sync += self.o.valid.eq(rest | valid & (full | last))
            m.d.sync += rest.eq(~rest & valid & last & (end > parallel))
            with m.If(rest):
                m.d.sync += [self.o.payload.data.eq(waiting), self.o.payload.count.eq(rest_count)]
                m.d.sync += self.o.payload.last.eq(1)
            with m.Else():
                m.d.sync += [self.o.payload.data.eq(word), self.o.payload.count.eq(Mux(full, parallel, end))]
                m.d.sync += [self.o.payload.last.eq(last & (end <= parallel)), rest_count.eq(end - parallel)]
        with m.If(move & valid):
            m.d.sync += [waiting[lane].eq(Mux(full, moved[lane], word[lane])) for lane in range(parallel)]
        return m

    def _move(self, m, elements, ways):
        """Elements after the stages of exchanges; of their ways only the bits are carried that are still to come."""
        for stage in range(exact_log2(self.parallel)):
            moved, left = [], []
            for lane in range(self.parallel):
                other = lane ^ 1 << stage
                element = Signal(self.bits, name=f"moved_{stage}_{lane}")
                way = Signal(max(0, len(ways[lane]) - 1), name=f"left_{stage}_{lane}")
                m.d.comb += [
                    element.eq(Mux(ways[other][0], elements[other], elements[lane])),
                    way.eq(Mux(ways[other][0], ways[other][1:], Mux(ways[lane][0], 0, ways[lane][1:]))),
                ]
                moved.append(element)
                left.append(way)
            elements, ways = moved, left
        return elements
