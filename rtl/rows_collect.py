"""Collects the rows of the row engine: their words go into the ring, their maximum or their sums to whoever waits."""

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from dataflows.config import Config
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
LOWEST = -(1 << SCORE_BITS - 1)


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
        active = Signal()
        left, rows_left = Signal.like(job.blocks, reset_less=True), Signal.like(job.rows, reset_less=True)
        counted = Signal.like(job.counted, reset_less=True)  # elements of the row that count
        remaining = Signal.like(job.counted, reset_less=True)  # from this word on
        first, room, rows_room = Signal(), Signal(), Signal()
        come, take, last, end, load = Signal(), Signal(), Signal(), Signal(), Signal()
        place = Signal(cfg.lanes, init=1)  # one bit: lane of the element that comes, of a column
        final = Signal()  # it is the last one of its word
        ends = Mux(last, Const(1) << (job.tail - 1)[: bits_for(cfg.lanes - 1)], 1 << cfg.lanes - 1)
        m.d.comb += [
            self.i.ready.eq(active & room & (~first | rows_room)),
            come.eq(self.i.valid & self.i.ready),
            final.eq((place & ends).any()),
            take.eq(come & (~job.column | final)),
            last.eq(left == 1),
            end.eq(take & last & (rows_left == 1)),
            self.job.ready.eq(~active | end),
            load.eq(self.job.valid & self.job.ready),
        ]
        with m.If(come & job.column):
            m.d.sync += place.eq(Mux(final, 1, place << 1))
        next_counted = Signal.like(counted)
        m.d.comb += next_counted.eq(counted + (job.causal & (counted != job.elements)))
        with m.If(take):
            m.d.sync += first.eq(last)
            with m.If(last):
                m.d.sync += [
                    left.eq(job.blocks), rows_left.eq(rows_left - 1), counted.eq(next_counted),
                    remaining.eq(next_counted),
                ]  # fmt: skip
            with m.Else():
                m.d.sync += [left.eq(left - 1), remaining.eq(Mux(remaining > cfg.lanes, remaining - cfg.lanes, 0))]
        with m.If(load):
            given = self.job.payload
            m.d.sync += [
                job.eq(given), active.eq(1), first.eq(1), left.eq(given.blocks), rows_left.eq(given.rows),
                counted.eq(given.counted), remaining.eq(given.counted),
            ]  # fmt: skip
        with m.Elif(end):
            m.d.sync += active.eq(0)
        self._count_room(m, take, first, room, rows_room)

        # The word in a register, and what is known about it.
        word = Signal(score_word(cfg), reset_less=True)
        counts = Signal(cfg.lanes, reset_less=True)
        zero_x = Signal.like(job.zero_x, reset_less=True)
        taken, of_softmax = Signal(), Signal(reset_less=True)
        m.d.sync += taken.eq(take)
        for lane in range(cfg.lanes):
            with m.If(come & (~job.column | place[lane])):
                m.d.sync += word[lane].eq(Mux(job.column, self.i.payload[0], self.i.payload[lane]))
        with m.If(take):
            m.d.sync += [
                counts.eq(Cat(remaining > lane for lane in range(cfg.lanes))),
                of_softmax.eq(job.softmax), zero_x.eq(job.zero_x),
            ]  # fmt: skip
        m.d.comb += [self.write.eq(taken), self.write_data.eq(word)]
        with m.If(taken):
            wraps = self.write_address == self.words - 1
            m.d.sync += self.write_address.eq(Mux(wraps, 0, self.write_address + 1))

        way = self.latency - 1  # cycles from a word's take to its accumulation
        arrives = delay(m, taken, way - 1, "arrives", reset_less=False)
        marks = Signal(3)
        m.d.comb += marks.eq(Cat(first, last, job.softmax))
        begins, closes, softmax = delay(m, marks, way, "marks")
        closed = Signal()
        m.d.sync += closed.eq(arrives & closes)
        softmax_closed = delay(m, softmax, 1, "softmax_closed")
        self._find_maximum(m, word, counts, taken & of_softmax, arrives, begins)
        self._add(m, word, counts, zero_x, taken & ~of_softmax, arrives, begins)
        m.d.comb += [
            self.maximum.valid.eq(closed & softmax_closed),
            self.sums.valid.eq(closed & ~softmax_closed),
        ]
        of_job = Signal(data.StructLayout({"centered": 1, "elements": COUNT_BITS, "epsilon": EPSILON_BITS}))
        m.d.comb += [of_job[name].eq(job[name]) for name in ("centered", "elements", "epsilon")]
        late = data.View(of_job.shape(), delay(m, of_job.as_value(), self.latency, "of_job"))
        m.d.comb += [self.sums.p[name].eq(late[name]) for name in ("centered", "elements", "epsilon")]
        inside = Signal(range(self.latency + 1))
        m.d.sync += inside.eq(Mux(come, self.latency, inside - inside.any()))
        m.d.comb += self.moving.eq(come | inside.any())
        return m

    def _count_room(self, m, take, first, room, rows_room):
        """Places of the ring and of rows that are free."""
        words, rows = Signal(range(self.words + 1), init=self.words), Signal(range(ROWS + 1), init=ROWS)
        m.d.sync += [words.eq(words - take + self.read), rows.eq(rows - (take & first) + self.begun)]
        m.d.comb += [room.eq(words.any()), rows_room.eq(rows.any())]

    def _find_maximum(self, m, word, counts, enable, arrives, begins):
        """Maximum of the row so far, ``latency`` cycles after the word."""
        m.submodules.largest = tree = MaximumTree(self.cfg.lanes, SCORE_BITS)
        scores = Signal(score_word(self.cfg), reset_less=True)
        with m.If(enable):
            m.d.sync += [
                scores[lane].eq(Mux(counts[lane], word[lane], LOWEST)) for lane in range(self.cfg.lanes)
            ]
        m.d.comb += [to.eq(score) for to, score in zip(tree.i, scores, strict=True)]
        largest = delay(m, tree.o, 1, "largest_late")
        running = Signal(signed(SCORE_BITS), reset_less=True)
        with m.If(arrives & (begins | (largest > running))):
            m.d.sync += running.eq(largest)
        m.d.comb += self.maximum.payload.eq(running)

    def _add(self, m, word, counts, zero_x, enable, arrives, begins):
        """Sum and sum of squares of the row so far, ``latency`` cycles after the word."""
        lanes = self.cfg.lanes
        element_bits = CODE_BITS + 1
        word_bits = element_bits + (lanes - 1).bit_length()
        m.submodules.total = total = AdderTree(lanes, element_bits, word_bits)
        m.submodules.squares = squares = AdderTree(lanes, 2 * element_bits - 1, word_bits + element_bits - 1)
        shape = signed(element_bits)
        elements = Signal(data.ArrayLayout(shape, lanes), reset_less=True)
        powers = Signal(data.ArrayLayout(signed(2 * element_bits - 1), lanes), reset_less=True)
        codes = [word[lane][:CODE_BITS].as_signed() for lane in range(lanes)]
        squaring = delay(m, enable, 1, "squaring", reset_less=False)
        with m.If(enable):
            m.d.sync += [elements[n].eq(Mux(counts[n], codes[n] - zero_x, 0)) for n in range(lanes)]
        with m.If(squaring):
            m.d.sync += [power.eq(element * element) for power, element in zip(powers, elements, strict=True)]
        m.d.comb += [to.eq(element) for to, element in zip(total.i, elements, strict=True)]
        m.d.comb += [to.eq(power) for to, power in zip(squares.i, powers, strict=True)]
        late = delay(m, total.o, 1, "total_late")
        running, running_squares = self.sums.p.sum, self.sums.p.squares
        with m.If(arrives):
            m.d.sync += [
                running.eq(Mux(begins, 0, running) + late),
                running_squares.eq(Mux(begins, 0, running_squares) + squares.o),
            ]
