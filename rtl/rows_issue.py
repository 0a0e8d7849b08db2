"""Order of the words that the row engine emits: one read of the ring per cycle."""

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows.config import Config
from rtl.norm_lane import CODE_BITS, NormLane
from rtl.requantize import SHIFT_BITS
from rtl.rows_finish import norm_layout
from rtl.rows_scale import MULTIPLIER_BITS, scaled_row_layout, total_bits
from rtl.rows_scale import ROWS as SCALED_ROWS
from rtl.skew import taps
from rtl.softmax_lane import NUMERATOR_BITS, SCORE_BITS, SoftmaxLane

SWITCH_CYCLES = NormLane.latency - SoftmaxLane.latency + 1
"""Cycles from the last word of a norm to the first one of a softmax: so the words stay in order."""


def issue_layout(cfg: Config) -> data.StructLayout:
    """What emitting the rows of a job takes; see :func:`rtl.rows_collect.collect_layout`."""
    elements = range(cfg.attention.row_elements + 1)
    code = signed(CODE_BITS)
    return data.StructLayout({
        "softmax": 1, "causal": 1, "blocks": range(cfg.row_blocks + 1), "tail": range(cfg.lanes + 1), "rows": 16,
        "elements": elements, "counted": elements, "multiplier": MULTIPLIER_BITS, "shift": SHIFT_BITS,
        "decide": 1, "limit": total_bits(cfg), "entry": range(cfg.attention.scales), "block": range(cfg.gain_blocks),
        "zero_x": code, "zero": code, "low": code, "high": code, **observed_fields(cfg),
    })  # fmt: skip


def observed_fields(cfg: Config) -> dict:
    """With pruning: probabilities are added to the importance of tokens; the first ones overwrite it.

    With values the same for the columns of a head, which may keep the largest probability; and the least numerator that
    does not become 0.
    """
    banks = {"observe_values": 1, "fresh_values": 1, "largest": 1}
    values = {**banks, "least": NUMERATOR_BITS} if cfg.values else {}
    return {"observe": 1, "fresh": 1, **values} if cfg.pruning else {}


def word_layout(cfg: Config) -> data.StructLayout:
    """A word that is read: valid lanes, lanes that count (softmax), gains (norms); last of its row, of its job."""
    lanes = range(cfg.lanes + 1)
    return data.StructLayout({"count": lanes, "counted": lanes, "block": range(cfg.gain_blocks), "last": 1, "end": 1})


class RowsIssue(wiring.Component):
    """Reads the rows of the ring in their order.

    Parameters
    ----------
    cfg : Config

    Members
    -------
    job : In(stream of issue_layout)
        Taken together with the last word of the job before, or when there is none.
    maximum : In(stream of signed(16)), norm : In(stream of norm_layout)
        A row of softmax, or of a norm, is complete; taken with its first word.
    scaled : Out(stream of scaled_row_layout, always ready)
        A row of softmax begins.
    divided : In(1)
        The division of one of these begins.
    go : In(1)
        There is room for one more word behind the lanes.
    softmax, normal : Out(1)
        A word is read, of either kind.
    begun : Out(1)
        It is the first of its row.
    word : Out(word_layout), address : Out(range(2 * row_blocks))
        Which one it is.
    of_job : Out(issue_layout)
        The job that is under way.
    row_maximum : Out(signed(16)), row : Out(norm_layout)
        Of the word of the last cycle's row.

    Timing
    ------
    One word per cycle, the first one a cycle after its job. A row begins when it is complete; of softmax when fewer
    than ``rows_scale.ROWS`` rows wait for their division (``divided`` counts from the next cycle on), and
    ``SWITCH_CYCLES`` = 9 after the last word of a norm.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        self.words = 2 * cfg.row_blocks
        super().__init__({
            "job": In(stream.Signature(issue_layout(cfg))),
            "maximum": In(stream.Signature(signed(SCORE_BITS))),
            "norm": In(stream.Signature(norm_layout())),
            "scaled": Out(stream.Signature(scaled_row_layout(cfg), always_ready=True)),
            "divided": In(1),
            "go": In(1),
            "softmax": Out(1),
            "normal": Out(1),
            "begun": Out(1),
            "word": Out(word_layout(cfg)),
            "address": Out(range(self.words)),
            "of_job": Out(issue_layout(cfg)),
            "row_maximum": Out(signed(SCORE_BITS)),
            "row": Out(norm_layout()),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.cfg
        job = Signal(issue_layout(cfg), reset_less=True)
        active, first = Signal(), Signal()
        left, rows_left = Signal.like(job.blocks, reset_less=True), Signal.like(job.rows, reset_less=True)
        counted = Signal.like(job.counted, reset_less=True)
        remaining = Signal.like(job.counted, reset_less=True)
        block, entry = Signal.like(job.block, reset_less=True), Signal.like(job.entry, reset_less=True)
        issue, last, end, load, complete = Signal(), Signal(), Signal(), Signal(), Signal()
        switched, scales_room = Signal(), Signal()
        word = self.word
        m.d.comb += [
            complete.eq(Mux(job.softmax, self.maximum.valid & scales_room & switched, self.norm.valid)),
            issue.eq(active & self.go & (~first | complete)),
            last.eq(left == 1),
            end.eq(issue & last & (rows_left == 1)),
            self.job.ready.eq(~active | end),
            load.eq(self.job.valid & self.job.ready),
            self.softmax.eq(issue & job.softmax),
            self.normal.eq(issue & ~job.softmax),
            self.begun.eq(issue & first),
            self.maximum.ready.eq(self.begun & job.softmax),
            self.norm.ready.eq(self.begun & ~job.softmax),
            self.of_job.eq(job),
            word.count.eq(Mux(last, job.tail, cfg.lanes)),
            word.counted.eq(Mux(remaining > cfg.lanes, cfg.lanes, remaining)),
            word.block.eq(block),
            word.last.eq(last),
            word.end.eq(end),
        ]
        next_counted = Signal.like(counted)
        m.d.comb += next_counted.eq(counted + (job.causal & (counted != job.elements)))
        with m.If(issue):
            m.d.sync += [first.eq(last), self.address.eq(Mux(self.address == self.words - 1, 0, self.address + 1))]
            with m.If(last):
                m.d.sync += [
                    left.eq(job.blocks), rows_left.eq(rows_left - 1), counted.eq(next_counted),
                    remaining.eq(next_counted), block.eq(job.block), entry.eq(entry + 1),
                ]  # fmt: skip
            with m.Else():
                m.d.sync += [
                    left.eq(left - 1), remaining.eq(Mux(remaining > cfg.lanes, remaining - cfg.lanes, 0)),
                    block.eq(block + 1),
                ]  # fmt: skip
        with m.If(self.begun):
            m.d.sync += [self.row_maximum.eq(self.maximum.payload), self.row.eq(self.norm.payload)]
        with m.If(load):
            given = self.job.payload
            m.d.sync += [
                job.eq(given), active.eq(1), first.eq(1), left.eq(given.blocks), rows_left.eq(given.rows),
                counted.eq(given.counted), remaining.eq(given.counted), block.eq(given.block), entry.eq(given.entry),
            ]  # fmt: skip
        with m.Elif(end):
            m.d.sync += active.eq(0)

        # Rows of softmax: where their scales go, how many of them wait; words of norms on their long way.
        waiting = Signal(range(SCALED_ROWS + 1))
        recent = taps(m, self.normal, SWITCH_CYCLES - 1, "recent", first=1, reset_less=False)
        m.d.comb += [
            self.scaled.valid.eq(self.begun & job.softmax),
            self.scaled.p.entry.eq(entry),
            self.scaled.p.multiplier.eq(job.multiplier),
            self.scaled.p.shift.eq(job.shift),
            self.scaled.p.end.eq(rows_left == 1),
            self.scaled.p.decide.eq(job.decide),
            self.scaled.p.limit.eq(job.limit),
            scales_room.eq(waiting != SCALED_ROWS),
            switched.eq(~Cat(recent).any()),
        ]
        m.d.sync += waiting.eq(waiting + self.scaled.valid - self.divided)
        if cfg.pruning:
            m.d.comb += [
                self.scaled.p.observe.eq(job.observe),
                self.scaled.p.fresh.eq(job.fresh & (rows_left == job.rows)),
            ]
        if cfg.values:
            m.d.comb += [
                self.scaled.p.observe_values.eq(job.observe_values),
                self.scaled.p.fresh_values.eq(job.fresh_values & (rows_left == job.rows)),
                self.scaled.p.largest.eq(job.largest),
            ]
        return m
