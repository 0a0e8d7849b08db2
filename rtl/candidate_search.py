"""Candidate search: keys whose products with a query promise to be large, from sorted columns of the keys."""

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows.candidates import CODE_BITS, MAX_COLUMNS, STEP_BITS, fill_cycles, key_bits, step_cycles
from rtl.greedy_scores import GreedyScores
from rtl.memory import write_layout
from rtl.sorted_columns import SortedColumns
from rtl.zero_eliminator import dense_layout


def search_layout(length: int, columns: int) -> data.StructLayout:
    """A query, over ``keys`` keys, and how many ``steps`` to take; both are at least 1."""
    return data.StructLayout({
        "query": data.ArrayLayout(signed(CODE_BITS), columns), "keys": range(length + 1), "steps": STEP_BITS,
    })  # fmt: skip


class CandidateSearch(wiring.Component):
    """Adds the largest and the smallest product of a query with sorted columns to greedy scores, step by step.

    ``docs/numerics.md``, section 13, defines it. The products at the ends of the columns wait in the leaves of two
    comparator trees. A step adds what wins to the scores of its keys, and reads the next entries of its columns. In the
    end the keys with positive scores leave, in ascending order.

    Parameters
    ----------
    lanes : int
        Scores of a word, a power of two; as many are looked at per cycle in the end.
    length : int
        Most keys, at least 1.
    columns : int
        Columns, 2 to 256; unused ones have a query of 0.
    beat_bytes : int
        Bytes of a write.

    Members
    -------
    write
        See :class:`~rtl.sorted_columns.SortedColumns`; while no search is open.
    job : In(stream of search_layout(length, columns))
        Taken when no search is open.
    o : Out(stream of dense_layout)
        Candidates; there is always a last word, which may be empty.
    busy : Out(1)
        A search is open.

    Timing
    ------
    :func:`dataflows.candidates.cycles`, to the cycle, while ``o`` is ready.

    Source
    ------
    Ham et al., A3, HPCA 2020: greedy candidate search. Deviations: one read port for both ends, and registers in the
    trees, so a step takes :func:`~dataflows.candidates.step_cycles` instead of one with entries fetched ahead.
    """

    def __init__(self, lanes: int, length: int, columns: int, beat_bytes: int):
        if length < 1 or not 2 <= columns <= MAX_COLUMNS:
            raise ValueError(
                f"CandidateSearch must have at least 1 key and 2 to {MAX_COLUMNS} columns, not {length} and {columns}"
            )
        self.lanes, self.length, self.columns, self.beat_bytes = lanes, length, columns, beat_bytes
        super().__init__({
            "write": In(stream.Signature(write_layout(beat_bytes), always_ready=True)),
            "job": In(stream.Signature(search_layout(length, columns))),
            "o": Out(stream.Signature(dense_layout(lanes, key_bits(length)))),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.ends = ends = SortedColumns(self.length, self.columns, self.beat_bytes)
        m.submodules.greedy = scores = GreedyScores(self.lanes, self.length)
        wiring.connect(m, scores.o, wiring.flipped(self.o))
        wiring.connect(m, wiring.flipped(self.write), ends.write)
        job = Signal(self.job.payload.shape(), reset_less=True)
        m.d.comb += [
            ends.query.eq(job.query),
            ends.keys.eq(job.keys),
            scores.keys.eq(job.keys),
            self.job.ready.eq(~self.busy),
        ]

        # Both ends of every column are set, and all scores cleared; then steps.
        fill = fill_cycles(self.columns, scores.words)
        interval = step_cycles(self.columns)
        filling, stepping = Signal(), Signal()
        number, cycle = Signal(range(fill), reset_less=True), Signal(range(interval), reset_less=True)
        left = Signal(STEP_BITS, reset_less=True)
        with m.If(filling):
            m.d.sync += number.eq(number + 1)
            with m.If(number == fill - 1):
                m.d.sync += [filling.eq(0), stepping.eq(1), cycle.eq(0)]
        with m.If(stepping):
            m.d.sync += cycle.eq(cycle + 1)
            with m.If(cycle == interval - 1):
                m.d.sync += [cycle.eq(0), left.eq(left - 1), stepping.eq(left != 1)]
        with m.If(self.o.valid & self.o.ready & self.o.p.last):
            m.d.sync += self.busy.eq(0)
        with m.If(self.job.valid & self.job.ready):
            m.d.sync += [
                job.eq(self.job.payload), left.eq(self.job.p.steps), self.busy.eq(1), filling.eq(1), number.eq(0)
            ]  # fmt: skip

        # A step: the upper end moves in cycle 0, the lower one in cycle 1; their products are added in cycles 0 and 2.
        # What wins stays until the first of the moves is in it, three cycles or more later.
        win = Signal(ends.upper_win.shape())
        m.d.comb += [
            ends.set.eq(filling & (number < 2 * self.columns)),
            ends.set_column.eq(number >> 1),
            ends.move.eq(stepping & (cycle < 2)),
            ends.lower.eq(Mux(filling, number[0], cycle[0])),
            win.eq(Mux(cycle == 0, ends.upper_win, ends.lower_win)),
            scores.clear.eq(filling & (number < scores.words)),
            scores.clear_word.eq(number),
            scores.add.eq(stepping & ((cycle == 0) | (cycle == 2)) & win.some),
            scores.key.eq(win.key),
            scores.value.eq(Mux(cycle == 0, win.value, -win.value)),
            scores.show.eq(stepping & (cycle == interval - 1) & (left == 1)),
        ]
        return m
