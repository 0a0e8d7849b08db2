"""Collects the rows of the row engine: their words go into the ring, their maximum or their sums to whoever waits."""

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from dataflows.config import Config
from rtl.collect_lane import ELEMENT_BITS, POWER_BITS, CollectLane
from rtl.maximum_tree import MaximumTree
from rtl.norm_lane import CODE_BITS, COUNT_BITS, SUM_BITS
from rtl.skew import delay
from rtl.softmax_lane import SCORE_BITS
from rtl.tree import AdderTree, tree_latency

EPSILON_BITS = 42
SQUARES_BITS = 28
"""Of the sum of the squares of a row's elements less their zero point."""
ROWS = 8
"""Rows between the first word that comes and the first word that is emitted."""


def score_word(cfg: Config) -> data.ArrayLayout:
    """A word of a row."""
    return data.ArrayLayout(signed(SCORE_BITS), cfg.lanes)


def collect_layout(cfg: Config) -> data.StructLayout:
    """What collecting the rows of a job takes; ``counted`` elements of the first row count, all of them in norms."""
    elements = range(cfg.attention.row_elements + 1)
    return data.StructLayout({
        "softmax": 1, "centered": 1, "causal": 1, "column": 1, "blocks": range(cfg.row_blocks + 1),
        "tail": range(cfg.lanes + 1), "rows": 16,
        "elements": elements, "counted": elements, "epsilon": EPSILON_BITS, "zero_x": signed(CODE_BITS),
    })  # fmt: skip


def sums_layout() -> data.StructLayout:
    """Sums of a row, and what belongs to its job."""
    return data.StructLayout({
        "sum": signed(SUM_BITS), "squares": SQUARES_BITS, "centered": 1, "elements": COUNT_BITS,
        "epsilon": EPSILON_BITS,
    })  # fmt: skip


class RowsCollect(wiring.Component):
    """Takes the words of rows.

    Parameters
    ----------
    cfg : Config

    Members
    -------
    job : In(stream of collect_layout)
        Taken together with the last word of the job before, or when there is none.
    i : In(stream of lanes x signed(16))
        Words of rows; of jobs with ``column`` lane 0 holds an element each.
    write : Out(1), write_address : Out(range(2 * row_blocks)), write_data : Out(lanes x signed(16))
        Writes to the ring, one cycle after a word is taken.
    read, begun : In(1)
        A word of the ring is read, and it is the first of its row.
    maximum : Out(stream of signed(16), always ready)
        Of the elements of a row that count (softmax); the lowest number where none does.
    sums : Out(stream of sums_layout, always ready)
        Of a row (norms).
    moving : Out(1)
        Words are on their way.

    Timing
    ------
    One transfer per cycle, the first one a cycle after the job. A word waits while the ring has no room for it, and the
    first word of a row while ``ROWS`` rows wait; both see a ``read`` one cycle later. What a row collects leaves
    ``latency`` cycles after its last word, or its last element, is taken.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        self.latency = 4 + tree_latency(cfg.lanes)
        self.words = 2 * cfg.row_blocks
        super().__init__({
            "job": In(stream.Signature(collect_layout(cfg))),
            "i": In(stream.Signature(score_word(cfg))),
            "write": Out(1),
            "write_address": Out(range(self.words)),
            "write_data": Out(score_word(cfg)),
            "read": In(1),
            "begun": In(1),
            "maximum": Out(stream.Signature(signed(SCORE_BITS), always_ready=True)),
            "sums": Out(stream.Signature(sums_layout(), always_ready=True)),
            "moving": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.cfg
        job = Signal(self.job.payload.shape(), reset_less=True)
        come, take = Signal(), Signal()  # a transfer, and one that completes a word
        first, last = Signal(), Signal()  # word of its row
        place = Signal(cfg.lanes, init=1)  # one bit: lane of the element that comes, of a column
        remaining = Signal.like(job.counted, reset_less=True)  # elements of the row that count, from this word on
        self._walk(m, job, come, take, first, last, place, remaining)

        # The word in the registers of the lanes, and what is known about it.
        counts = Signal(cfg.lanes, reset_less=True)
        zero_x = Signal.like(job.zero_x, reset_less=True)
        taken, of_softmax = Signal(), Signal(reset_less=True)
        m.d.sync += taken.eq(take)
        with m.If(take):
            m.d.sync += [
                counts.eq(Cat(remaining > lane for lane in range(cfg.lanes))),
                of_softmax.eq(job.softmax), zero_x.eq(job.zero_x),
            ]  # fmt: skip
        square = delay(m, taken & ~of_softmax, 1, "square", reset_less=False)
        lanes = [CollectLane() for _ in range(cfg.lanes)]
        for n, lane in enumerate(lanes):
            m.submodules[f"lane_{n}"] = lane
            m.d.comb += [
                lane.i.eq(Mux(job.column, self.i.payload[0], self.i.payload[n])),
                lane.take.eq(come & (~job.column | place[n])),
                lane.counts.eq(counts[n]),
                lane.zero_x.eq(zero_x),
                lane.softmax.eq(taken & of_softmax),
                lane.norm.eq(taken & ~of_softmax),
                lane.square.eq(square),
                self.write_data[n].eq(lane.word),
            ]
        m.d.comb += self.write.eq(taken)
        with m.If(taken):
            wraps = self.write_address == self.words - 1
            m.d.sync += self.write_address.eq(Mux(wraps, 0, self.write_address + 1))

        way = self.latency - 1  # cycles from a word's take to its accumulation
        arrives = delay(m, taken, way - 1, "arrives", reset_less=False)
        begins, closes, softmax = delay(m, Cat(first, last, job.softmax), way, "marks")
        self._find_maximum(m, lanes, arrives, begins)
        self._add(m, lanes, arrives, begins)
        closed = Signal()
        m.d.sync += closed.eq(arrives & closes)
        softmax_closed = delay(m, softmax, 1, "softmax_closed")
        names = ("centered", "elements", "epsilon")
        late = data.View(
            data.StructLayout({name: job.shape()[name].shape for name in names}),
            delay(m, Cat(job[name] for name in names), self.latency, "of_job"),
        )
        m.d.comb += [
            self.maximum.valid.eq(closed & softmax_closed),
            self.sums.valid.eq(closed & ~softmax_closed),
            *(self.sums.p[name].eq(late[name]) for name in names),
        ]
        inside = Signal(range(self.latency + 1))
        m.d.sync += inside.eq(Mux(come, self.latency, inside - inside.any()))
        m.d.comb += self.moving.eq(come | inside.any())
        return m

    def _walk(self, m, job, come, take, first, last, place, remaining):
        """The rows of one job after the other."""
        lanes = self.cfg.lanes
        active = Signal()
        left, rows_left = Signal.like(job.blocks, reset_less=True), Signal.like(job.rows, reset_less=True)
        counted, next_counted = Signal.like(job.counted, reset_less=True), Signal.like(job.counted)
        words, rows = Signal(range(self.words + 1), init=self.words), Signal(range(ROWS + 1), init=ROWS)  # free places
        end, load = Signal(), Signal()
        final = Signal()  # the element is the last one of its word
        ends = Mux(last, Const(1) << (job.tail - 1)[: bits_for(lanes - 1)], 1 << lanes - 1)
        m.d.comb += [
            self.i.ready.eq(active & words.any() & (~first | rows.any())),
            come.eq(self.i.valid & self.i.ready),
            final.eq((place & ends).any()),
            take.eq(come & (~job.column | final)),
            last.eq(left == 1),
            end.eq(take & last & (rows_left == 1)),
            self.job.ready.eq(~active | end),
            load.eq(self.job.valid & self.job.ready),
            next_counted.eq(counted + (job.causal & (counted != job.elements))),
        ]
        m.d.sync += [words.eq(words - take + self.read), rows.eq(rows - (take & first) + self.begun)]
        with m.If(come & job.column):
            m.d.sync += place.eq(Mux(final, 1, place << 1))
        with m.If(take):
            m.d.sync += first.eq(last)
            with m.If(last):
                m.d.sync += [
                    left.eq(job.blocks), rows_left.eq(rows_left - 1), counted.eq(next_counted),
                    remaining.eq(next_counted),
                ]  # fmt: skip
            with m.Else():
                m.d.sync += [left.eq(left - 1), remaining.eq(Mux(remaining > lanes, remaining - lanes, 0))]
        with m.If(load):
            given = self.job.payload
            m.d.sync += [
                job.eq(given), active.eq(1), first.eq(1), left.eq(given.blocks), rows_left.eq(given.rows),
                counted.eq(given.counted), remaining.eq(given.counted),
            ]  # fmt: skip
        with m.Elif(end):
            m.d.sync += active.eq(0)

    def _find_maximum(self, m, lanes, arrives, begins):
        """Maximum of the row so far, ``latency`` cycles after the word."""
        m.submodules.largest = tree = MaximumTree(len(lanes), SCORE_BITS)
        m.d.comb += [to.eq(lane.score) for to, lane in zip(tree.i, lanes, strict=True)]
        largest = delay(m, tree.o, 1, "largest_late")
        running = Signal(signed(SCORE_BITS), reset_less=True)
        with m.If(arrives & (begins | (largest > running))):
            m.d.sync += running.eq(largest)
        m.d.comb += self.maximum.payload.eq(running)

    def _add(self, m, lanes, arrives, begins):
        """Sum and sum of squares of the row so far, ``latency`` cycles after the word."""
        more = (len(lanes) - 1).bit_length()
        m.submodules.total = total = AdderTree(len(lanes), ELEMENT_BITS, ELEMENT_BITS + more)
        m.submodules.squares = squares = AdderTree(len(lanes), POWER_BITS, POWER_BITS + more)
        m.d.comb += [to.eq(lane.element) for to, lane in zip(total.i, lanes, strict=True)]
        m.d.comb += [to.eq(lane.power) for to, lane in zip(squares.i, lanes, strict=True)]
        late = delay(m, total.o, 1, "total_late")
        running, running_squares = self.sums.p.sum, self.sums.p.squares
        with m.If(arrives):
            m.d.sync += [
                running.eq(Mux(begins, 0, running) + late),
                running_squares.eq(Mux(begins, 0, running_squares) + squares.o),
            ]
