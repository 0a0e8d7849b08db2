"""Importance of heads: magnitudes of their results, added up beside the way from VECTOR to STORE."""

from amaranth import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from dataflows.pruning import IMPORTANCE_BITS, MAGNITUDE_BITS, MAX_FACTOR, MAX_HEADS
from rtl.importance import accumulator_ports
from rtl.limbs import partial_products
from rtl.memory import BankMemory
from rtl.queue import Queue
from rtl.skew import delay
from rtl.tree import AdderTree

JOBS_AHEAD = 4


def result_layout(lanes: int) -> data.StructLayout:
    """An output word of a head: codes, how many of them count, their zero point; ``last`` of the job.

    ``fresh``: the job is the first that adds to its head. Everything but data and count is the same in all its words.
    """
    return data.StructLayout({
        "data": data.ArrayLayout(signed(8), lanes),
        "count": range(lanes + 1),
        "zero": signed(8),
        "head": range(MAX_HEADS),
        "factor": MAX_FACTOR.bit_length(),
        "fresh": 1,
        "last": 1,
    })


class HeadImportance(wiring.Component):
    """Adds ``factor * sum(|y - zero|)`` of each job to the accumulator of its head.

    Parameters
    ----------
    lanes : int
        Elements of a word, a power of two.

    Members
    -------
    i : In(stream of result_layout(lanes), always ready)
        The sum of a job before its factor has at most :data:`~dataflows.pruning.MAGNITUDE_BITS` bits.
    busy : Out(1)
        Something has yet to be added.
    read, ... : accumulator_ports(lanes, words)
        Word w holds heads ``w * lanes`` and following. For use while it is not busy.

    Timing
    ------
    A word per cycle. A job's sum is there ``latency`` cycles after its last word; jobs that end less than ``spacing``
    cycles behind each other are added one after the other.
    """

    spacing = 3

    def __init__(self, lanes: int):
        self.lanes = lanes
        self.words = -(-MAX_HEADS // lanes)
        self.tree = AdderTree(lanes, 10, 10 + lanes.bit_length())
        self.latency = 1 + self.tree.latency + 1 + 2 + Queue.latency + self.spacing
        super().__init__({
            "i": In(stream.Signature(result_layout(lanes), always_ready=True)),
            "busy": Out(1),
            **accumulator_ports(lanes, self.words),
        })

    def elaborate(self, platform):
        m = Module()
        word = self.i.payload
        m.submodules.tree = self.tree
        for lane in range(self.lanes):
            off = Signal(signed(9), name=f"off_{lane}")
            m.d.comb += off.eq(word.data[lane] - word.zero)
            m.d.sync += self.tree.i[lane].eq(Mux(lane < word.count, Mux(off < 0, -off, off), 0))

        # The sum of the job so far; behind its last word the product with the factor.
        tag = data.StructLayout({"head": range(MAX_HEADS), "fresh": 1})
        way = 1 + self.tree.latency
        valid = delay(m, self.i.valid, way, "valid_line", reset_less=False)
        last = delay(m, word.last, way, "last_line")
        total = Signal(MAGNITUDE_BITS, reset_less=True)
        begun = Signal()
        factor = delay(m, word.factor, way + 1, "factor_line")
        with m.If(valid):
            m.d.sync += [total.eq(Mux(begun, total, 0) + self.tree.o.as_unsigned()), begun.eq(~last)]
        product = Signal(IMPORTANCE_BITS, reset_less=True)
        m.d.sync += product.eq(partial_products(m, 1, total, factor, "product"))
        ends = delay(m, valid & last, 3, "ends_line", reset_less=False)
        m.submodules.jobs = jobs = Queue(data.StructLayout({"value": IMPORTANCE_BITS, "tag": tag}), JOBS_AHEAD)
        m.d.comb += [
            jobs.i.valid.eq(ends),
            jobs.i.p.value.eq(product),
            jobs.i.p.tag.head.eq(delay(m, word.head, way + 3, "head_line")),
            jobs.i.p.tag.fresh.eq(delay(m, word.fresh, way + 3, "fresh_line")),
        ]
        opened = Signal(range(64))  # jobs that have ended and are not added yet
        m.d.sync += opened.eq(opened + (self.i.valid & word.last) - (jobs.o.valid & jobs.o.ready))
        m.d.comb += self.busy.eq(opened != 0)
        self._elaborate_add(m, jobs.o)
        return m

    def _elaborate_add(self, m, jobs):
        """Read, add, write: a cycle each."""
        m.submodules.accumulators = accumulators = BankMemory(
            self.lanes * IMPORTANCE_BITS // 8, self.words, IMPORTANCE_BITS // 8
        )
        place = exact_log2(self.lanes)
        head, job = jobs.p.tag.head, jobs.payload
        read, add, write = jobs.valid, Signal(), Signal()
        stage_read = Signal()
        lane = Signal(max(1, place))
        m.d.comb += [lane.eq(head[:place] if place else 0), stage_read.eq(read & ~add & ~write)]
        m.d.sync += [add.eq(stage_read), write.eq(add)]
        lanes = Signal(data.ArrayLayout(unsigned(IMPORTANCE_BITS), self.lanes))
        before = Signal(IMPORTANCE_BITS)
        value = Signal(IMPORTANCE_BITS, reset_less=True)
        m.d.comb += [lanes.as_value().eq(accumulators.read_data), before.eq(lanes[lane])]
        m.d.sync += value.eq(Mux(job.tag.fresh, 0, before) + job.value)
        m.d.comb += [
            jobs.ready.eq(write),
            accumulators.read_enable.eq(stage_read | self.read),
            accumulators.read_address.eq(Mux(stage_read, head >> place, self.read_word)),
            accumulators.write_enable.eq(Mux(write, 1 << lane, self.write)),
            accumulators.write_address.eq(Mux(write, head >> place, self.write_word)),
            accumulators.write_data.eq(Mux(write, value, self.write_value).replicate(self.lanes)),
            self.read_data.eq(lanes),
        ]
