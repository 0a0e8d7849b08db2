"""Row scales: from the sum of a row's numerators to what requantizes its product with the values."""

from amaranth import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows.config import Config
from rtl.importance import reciprocal_layout
from rtl.limbs import partial_products
from rtl.reciprocal import INVERSE_BITS, Reciprocal
from rtl.requantize import SHIFT_BITS
from rtl.skew import delay
from rtl.softmax_lane import NUMERATOR_BITS
from rtl.sparse_queue import ShortQueue

MULTIPLIER_BITS = 24
DECISIONS = 4
"""Decisions that wait."""
ROWS = 4
"""Rows of softmax whose emission has begun and whose division has not."""


def total_bits(cfg: Config) -> int:
    """Width of the sum of a row's numerators."""
    return NUMERATOR_BITS + (cfg.attention.row_elements - 1).bit_length()


def scale_layout(cfg: Config) -> data.StructLayout:
    """A write to the row scales of the vector unit."""
    return data.StructLayout({
        "entry": range(cfg.attention.scales), "multiplier": MULTIPLIER_BITS, "shift": SHIFT_BITS,
    })  # fmt: skip


def scaled_row_layout(cfg: Config) -> data.StructLayout:
    """Where the scale of a row goes, multiplier and shift of values and output; ``end``: the last row of its job.

    With ``decide`` the job asks whether any of its sums is above ``limit``. With pruning a row may be observed, and it
    is ``fresh`` if it is the first one; with values it may be so for the columns of a head, too.
    """
    observed = {"observe": 1, "fresh": 1} if cfg.pruning else {}
    observed |= {"observe_values": 1, "fresh_values": 1, "largest": 1} if cfg.values else {}
    return data.StructLayout({
        "entry": range(cfg.attention.scales), "multiplier": MULTIPLIER_BITS, "shift": SHIFT_BITS, "end": 1,
        "decide": 1, "limit": total_bits(cfg), **observed,
    })  # fmt: skip


class RowsScale(wiring.Component):
    """``multiplier = (M * inverse(t)) >> 24`` (0 for t = 0), ``shift = S + max(bit length of t, 1) - 1``.

    Parameters
    ----------
    cfg : Config

    Members
    -------
    row : In(stream of scaled_row_layout, always ready)
        A row of softmax begins; at most ``ROWS`` rows may wait.
    total : In(stream of total_bits, always ready)
        t of the oldest row that has none yet.
    begun : Out(1)
        A division begins.
    o : Out(stream of scale_layout, always ready), end : Out(1)
        The scale of a row, and whether it is the last one of its job.
    decision : Out(stream of 1 bit)
        Whether any sum of a job was above its limit.
    busy : Out(1)
    observed : Out(stream of rtl.importance.reciprocal_layout, always ready)
        With pruning: the reciprocal of a row that is observed, two cycles before its scale.

    Timing
    ------
    A division begins ``interval`` = 12 cycles after the one before, and one cycle after its total comes, at the
    earliest. The scale leaves ``latency`` = 15 cycles after the division has begun; the decision
    of a job is offered ``decision_latency`` = 2 cycles after its last division has begun.
    """

    decision_latency = 1 + ShortQueue.latency
    interval = Reciprocal.interval
    latency = Reciprocal.latency + 2
    rows = ROWS

    def __init__(self, cfg: Config):
        self.cfg = cfg
        super().__init__({
            "row": In(stream.Signature(scaled_row_layout(cfg), always_ready=True)),
            "total": In(stream.Signature(total_bits(cfg), always_ready=True)),
            "begun": Out(1),
            "o": Out(stream.Signature(scale_layout(cfg), always_ready=True)),
            "end": Out(1),
            "decision": Out(stream.Signature(1)),
            "busy": Out(1),
            **(
                {"observed": Out(stream.Signature(reciprocal_layout(values=cfg.values), always_ready=True))}
                if cfg.pruning else {}
            ),
        })

    def elaborate(self, platform):
        m = Module()
        layout = scaled_row_layout(self.cfg)
        m.submodules.rows = rows = ShortQueue(layout, ROWS)
        m.submodules.totals = totals = ShortQueue(total_bits(self.cfg), ROWS)
        m.submodules.reciprocal = reciprocal = Reciprocal(total_bits(self.cfg))
        wiring.connect(m, totals.o, reciprocal.i)
        held = Signal(layout, reset_less=True)  # of the division that runs
        m.d.comb += [
            rows.i.valid.eq(self.row.valid),
            rows.i.payload.eq(self.row.payload),
            totals.i.valid.eq(self.total.valid),
            totals.i.payload.eq(self.total.payload),
            self.begun.eq(totals.o.valid & totals.o.ready),
            rows.o.ready.eq(self.begun),
        ]
        with m.If(self.begun):
            m.d.sync += held.eq(rows.o.payload)
            with m.If(~totals.o.payload.any()):
                m.d.sync += held.multiplier.eq(0)

        # Sums above the limit; at most as many decisions wait as jobs are open.
        m.submodules.decisions = decisions = ShortQueue(1, DECISIONS)
        wiring.connect(m, decisions.o, wiring.flipped(self.decision))
        above, any_above = Signal(), Signal()
        decided = Signal(reset_less=True)
        m.d.comb += above.eq(any_above | (totals.o.payload > rows.o.p.limit))
        with m.If(self.begun):
            m.d.sync += [any_above.eq(above & ~rows.o.p.end), decided.eq(above)]
        m.d.sync += decisions.i.valid.eq(self.begun & rows.o.p.end & rows.o.p.decide)
        m.d.comb += decisions.i.payload.eq(decided)

        # The division's last digit is also the first cycle in which the next one may begin.
        result = reciprocal.o.payload
        late = Signal(layout, reset_less=True)
        m.d.sync += late.eq(held)
        parts = partial_products(m, reciprocal.o.valid, result.inverse, late.multiplier, "product")
        product = Signal(INVERSE_BITS + MULTIPLIER_BITS)
        m.d.comb += product.eq(parts)
        shift = Signal(SHIFT_BITS, reset_less=True)
        entry = Signal.like(late.entry, reset_less=True)
        end = Signal(reset_less=True)
        with m.If(reciprocal.o.valid):
            m.d.sync += [shift.eq(late.shift + result.top), entry.eq(late.entry), end.eq(late.end)]
        m.d.sync += [
            self.o.valid.eq(delay(m, reciprocal.o.valid, 1, "multiplied", reset_less=False)),
            self.o.p.multiplier.eq(product >> INVERSE_BITS),
            self.o.p.shift.eq(shift),
            self.o.p.entry.eq(entry),
            self.end.eq(end),
        ]
        if self.cfg.pruning:
            m.d.comb += [
                self.observed.valid.eq(reciprocal.o.valid & late.observe),
                self.observed.p.inverse.eq(result.inverse >> 8),
                self.observed.p.shift.eq(result.top),
                self.observed.p.fresh.eq(late.fresh),
            ]
        if self.cfg.values:
            m.d.comb += [
                self.observed.valid.eq(reciprocal.o.valid & (late.observe | late.observe_values)),
                self.observed.p.for_tokens.eq(late.observe),
                self.observed.p.for_values.eq(late.observe_values),
                self.observed.p.fresh_values.eq(late.fresh_values),
                self.observed.p.largest.eq(late.largest),
            ]
        under_way = Signal(range(3))  # divisions, and what follows them
        m.d.sync += under_way.eq(under_way + self.begun - self.o.valid)
        m.d.comb += self.busy.eq(rows.o.valid | under_way.any())
        return m
