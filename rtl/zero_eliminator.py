"""Zero eliminator: what is kept of a stream of words, without gaps."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from dataflows.top_k import eliminator_latency
from rtl.prefix_sum import PrefixSum
from rtl.shared import shared
from rtl.skew import held_delay


def flagged_layout(parallel: int, bits: int, spares: int = 0) -> data.StructLayout:
    """A word: elements, which to keep, with ``spares`` which may be kept, and whether it is the last of its run."""
    spare = {"spare": parallel} if spares else {}
    return data.StructLayout({"data": data.ArrayLayout(bits, parallel), "keep": parallel, **spare, "last": 1})


def dense_layout(parallel: int, bits: int) -> data.StructLayout:
    """A word of the first ``count`` elements; only the last of a run has fewer than ``parallel``, possibly none."""
    return data.StructLayout({"data": data.ArrayLayout(bits, parallel), "count": range(parallel + 1), "last": 1})


@shared("parallel", "bits", "spares")
class ZeroEliminator(wiring.Component):
    """Packs the elements that are kept, in their order, into full words.

    Prefix counts say where each element belongs: behind those that wait in the unfinished word, and around its end.
    ``log2(parallel)`` stages move them there; stage b exchanges lanes whose numbers differ in bit b. Two elements whose
    lanes differ below bit b only are less than ``2**b`` apart, so their places differ there, too, and they never meet.
    So the same stages that close the gaps append to the unfinished word.

    With ``spares`` there are elements of which only the first so many are kept.

    Parameters
    ----------
    parallel : int
        Elements of a word, a power of two.
    bits : int
        Bits of an element.
    spares : int
        Most spare elements that are ever kept; 0: there are none.

    Members
    -------
    i : In(stream of flagged_layout)
    o : Out(stream of dense_layout)
        A run ends with a word that says ``last``, which is empty if nothing was left for it.
    count : Out(range(parallel + 1))
        How many flags of ``i.payload.keep`` are set, ``prefix_latency`` cycles later, whether ``i`` is valid or not.
    allow : In(1), allowed : In(range(spares + 1))
        From the next word on, as many spare elements are kept. Before the first word of a run, while nothing is in the
        prefix sums; only with ``spares``.

    Timing
    ------
    A word of input per cycle. An output word is valid ``latency`` cycles after the transfer of the input that completes
    it. The end of a run can make two words: then ``i.ready`` is low for a cycle. ``i.ready`` follows ``o.ready``.

    Source
    ------
    Wang et al., SpAtten, HPCA 2021: zero eliminator of prefix sum and shifters. Deviation: exchanges instead of
    shifts, as many of them, which lead to the place in the output word instead of to its beginning.
    """

    def __init__(self, parallel: int, bits: int, spares: int = 0):
        if parallel < 1 or parallel & parallel - 1:
            raise ValueError(f"ZeroEliminator parallel must be a power of two, not {parallel}")
        self.parallel, self.bits, self.spares = parallel, bits, spares
        self.latency = eliminator_latency(parallel)
        super().__init__({
            "i": In(stream.Signature(flagged_layout(parallel, bits, spares))),
            "o": Out(stream.Signature(dense_layout(parallel, bits))),
            "count": Out(range(parallel + 1)),
            **({"allow": In(1), "allowed": In(range(spares + 1))} if spares else {}),
        })

    def elaborate(self, platform):
        m = Module()
        parallel = self.parallel
        places = exact_log2(parallel)  # bits of a place in a word
        move, rest = Signal(), Signal()
        m.d.comb += self.i.ready.eq(move)

        m.submodules.ranks = ranks = PrefixSum(parallel)
        m.d.comb += [ranks.flags.eq(self.i.payload.keep), ranks.enable.eq(move), self.count.eq(ranks.total)]
        counted = Signal.like(self.i.payload)
        counted_valid = Signal()
        m.d.comb += [
            counted.as_value().eq(held_delay(m, self.i.payload.as_value(), ranks.latency, move, "counted_word")),
            counted_valid.eq(held_delay(m, self.i.valid, ranks.latency, move, "counted_valids", reset_less=False)),
        ]
        kept, before, total = counted.keep, list(ranks.counts), ranks.total
        if self.spares:
            kept, before, total = self._spare(m, counted, move & counted_valid, ranks)

        # In which bits each element changes its lane, and where the unfinished word ends before and after it.
        used = Signal(places)
        placed = Signal(data.ArrayLayout(self.bits, parallel), reset_less=True)
        begin = Signal(places, reset_less=True)
        end = Signal(range(2 * parallel), reset_less=True)
        last = Signal(reset_less=True)
        valid = Signal()
        ways = [Signal(places, name=f"way_{lane}", reset_less=True) for lane in range(parallel)]
        reached = Signal(range(2 * parallel))
        m.d.comb += reached.eq(used + total)
        with m.If(move):
            m.d.sync += [begin.eq(used), end.eq(reached), last.eq(counted.last), valid.eq(counted_valid)]
            for lane, way in enumerate(ways):
                with m.If(counted_valid & kept[lane]):  # what is dropped switches nothing
                    m.d.sync += placed[lane].eq(counted.data[lane])
                m.d.sync += way.eq(Mux(kept[lane], (used + before[lane]) ^ lane, 0))
            with m.If(counted_valid):
                m.d.sync += used.eq(Mux(counted.last, 0, reached))

        # The word with the new elements behind the old ones; those that have gone around its end begin the next.
        moved = self._move(m, list(placed), ways)
        waiting = Signal(data.ArrayLayout(self.bits, max(1, parallel - 1)), reset_less=True)
        full, emits = Signal(), Signal()
        rest_count = Signal(range(parallel), reset_less=True)
        word = self.o.payload
        m.d.comb += [
            full.eq(end >= parallel),
            emits.eq(valid & (full | last)),
            move.eq(~rest & (~emits | self.o.ready)),
            self.o.valid.eq(rest | emits),
            word.count.eq(Mux(rest, rest_count, Mux(full, parallel, end))),
            word.last.eq(rest | last & (end <= parallel)),
            word.data[-1].eq(moved[-1]),  # where nothing waits
        ]
        for lane in range(parallel - 1):
            old = rest | (lane < begin)
            m.d.comb += word.data[lane].eq(Mux(old, waiting[lane], moved[lane]))
            with m.If(move & valid & (full | ~(lane < begin))):
                m.d.sync += waiting[lane].eq(moved[lane])
        with m.If(rest):
            m.d.sync += rest.eq(~self.o.ready)
        with m.Elif(move):
            m.d.sync += [rest.eq(valid & last & (end > parallel)), rest_count.eq(end - parallel)]
        return m

    def _spare(self, m, counted, moves, ranks):
        """Which elements are kept with the spare ones, how many of them before each, and of all."""
        m.submodules.spare_ranks = spare_ranks = PrefixSum(self.parallel)
        m.d.comb += [spare_ranks.flags.eq(self.i.payload.spare), spare_ranks.enable.eq(ranks.enable)]
        left = Signal.like(self.allowed, reset_less=True)
        here = Signal(range(self.parallel + 1))  # of this word
        total = Signal(range(self.parallel + 1))
        m.d.comb += here.eq(Mux(left > self.parallel, self.parallel, left))
        fewer = [Signal(range(self.parallel + 1), name=f"spare_{lane}") for lane in range(self.parallel + 1)]
        for few, count in zip(fewer, [*spare_ranks.counts, spare_ranks.total], strict=True):
            m.d.comb += few.eq(Mux(count < here, count, here))
        with m.If(moves):
            m.d.sync += left.eq(left - fewer[-1])
        with m.If(self.allow):
            m.d.sync += left.eq(self.allowed)
        kept = Signal(self.parallel)
        for lane in range(self.parallel):
            m.d.comb += kept[lane].eq(counted.keep[lane] | counted.spare[lane] & (spare_ranks.counts[lane] < here))
        m.d.comb += total.eq(ranks.total + fewer[-1])
        return kept, [ranks.counts[lane] + fewer[lane] for lane in range(self.parallel)], total

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
