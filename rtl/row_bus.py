"""The two ways into the row-stationary array: the input bus with its identifiers, and the filter words."""

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dataflows.config import Config
from dataflows.vocabulary import Operand
from rtl.operands import word_stream
from rtl.row_control import COUNT_BITS, following
from rtl.row_pe import INDEX_BITS, RowSizes, place_in
from rtl.row_plan import plan_layout


class InputBus(wiring.Component):
    """Numbers the words of the input stream and lets in as many as the PEs have room for.

    Words come in groups: for each slot of a chain, for each input row, ``fresh`` words. Every PE takes ``fresh`` words
    of a group (the row its identifier names), so one place in the input store holds for all PEs. A group begins when
    there is room for it in the last row, which frees its words last.

    Parameters
    ----------
    cfg : Config

    Members
    -------
    plan, valid, take : In(plan_layout), In(1), Out(1)
        The next job; taken when the last word of the job before has entered.
    input : In(word_stream)
    free, freed : In(1), In(16)
        So many words of the input store are free again.
    delivered : Out(1)
        The last word of a group enters.
    put, word, place, slot, index : Out
        The bus: a word, its place in the input stores, and the slot and the number of the row it is for.

    Timing
    ------
    One word per cycle; on the bus in the cycle after its transfer. ``take`` comes in the cycle after the last
    word's transfer at the earliest, the next word in the cycle after ``take``.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        self.sizes = RowSizes.of(cfg)
        super().__init__({
            "plan": In(plan_layout(cfg)),
            "valid": In(1),
            "take": Out(1),
            "input": In(word_stream(cfg, Operand.INPUT)),
            "free": In(1),
            "freed": In(INDEX_BITS),
            "delivered": Out(1),
            "put": Out(1),
            "word": Out(signed(cfg.numbers.act_bits)),
            "place": Out(place_in(self.sizes.inputs)),
            "slot": Out(COUNT_BITS),
            "index": Out(INDEX_BITS),
        })

    def elaborate(self, platform):
        m = Module()
        depth = self.sizes.inputs
        geometry = self.plan.geometry
        open_ = Signal()
        fresh = Signal(COUNT_BITS, reset_less=True)
        rows = Signal(INDEX_BITS, reset_less=True)
        slots = Signal(COUNT_BITS, reset_less=True)
        room = Signal(range(depth + 1), reset_less=True)  # words that may be held when a group begins
        held = Signal(range(depth + 1))
        inside = Signal()  # a group has begun
        enter, begin = Signal(), Signal()
        m.d.comb += [
            self.input.ready.eq(open_ & (inside | (held <= room))),
            enter.eq(self.input.valid & self.input.ready),
            begin.eq(enter & ~inside),
            self.take.eq(self.valid & ~open_),
        ]
        with m.If(self.take):
            m.d.sync += [
                open_.eq(1), fresh.eq(geometry.step.fresh), rows.eq(geometry.bus.rows),
                slots.eq(geometry.sets.chained), room.eq(depth - geometry.step.fresh),
            ]  # fmt: skip
        with m.If(enter & self.input.payload.end):
            m.d.sync += open_.eq(0)
        m.d.sync += held.eq(held + Mux(begin, fresh, 0) - Mux(self.free, self.freed, 0))
        self._count(m, enter, fresh, rows, slots, inside)
        return m

    def _count(self, m, enter, fresh, rows, slots, inside):
        """Number of the word, the row and the slot within a group; where the group and the word are stored."""
        column = Signal(COUNT_BITS)
        row = Signal(INDEX_BITS)
        slot = Signal(COUNT_BITS)
        place, start = (Signal.like(self.place, name=name) for name in ("next_place", "start"))
        row_ends, slot_ends = Signal(), Signal()
        after = Signal.like(place)
        m.d.comb += [
            row_ends.eq(column == fresh - 1),
            slot_ends.eq(row_ends & (row == rows - 1)),
            self.delivered.eq(enter & slot_ends & (slot == slots - 1)),
            after.eq(following(place, self.sizes.inputs)),
        ]
        with m.If(enter):
            m.d.sync += [inside.eq(~self.delivered), column.eq(column + 1), place.eq(after)]
            with m.If(row_ends):
                m.d.sync += [column.eq(0), row.eq(row + 1), place.eq(start)]
            with m.If(slot_ends):
                m.d.sync += [row.eq(0), slot.eq(slot + 1)]
            with m.If(self.delivered):
                m.d.sync += [slot.eq(0), place.eq(after), start.eq(after)]

        put = Signal()
        now = Signal(data.StructLayout({
            "word": self.word.shape(), "place": len(place), "slot": COUNT_BITS, "index": INDEX_BITS,
        }), reset_less=True)  # fmt: skip
        m.d.sync += put.eq(enter)
        with m.If(enter):
            m.d.sync += [
                now.word.eq(self.input.payload.data[0]), now.place.eq(place), now.slot.eq(slot), now.index.eq(row),
            ]  # fmt: skip
        m.d.comb += [
            self.put.eq(put), self.word.eq(now.word), self.place.eq(now.place), self.slot.eq(now.slot),
            self.index.eq(now.index),
        ]  # fmt: skip


class WeightBus(wiring.Component):
    """Distributes the filter words: one per row in each stream word, to the columns of one side after the other.

    All sides keep a pass at the same places. A word of the first side enters when the last row, which frees its words
    last, has room.

    Parameters
    ----------
    cfg : Config

    Members
    -------
    plan, valid, take : In(plan_layout), In(1), Out(1)
        The next job; taken when the last word of the job before has entered.
    weight : In(word_stream)
    free : In(1)
        One word of the filter store is free again.
    loaded : Out(1)
        The last word of a pass enters.
    load, words, place : Out
        Columns that take the words, one word per row, their place in the filter stores.

    Timing
    ------
    One word per cycle, loaded in the cycle after its transfer; between jobs as the input bus.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        self.sizes = RowSizes.of(cfg)
        super().__init__({
            "plan": In(plan_layout(cfg)),
            "valid": In(1),
            "take": Out(1),
            "weight": In(word_stream(cfg, Operand.WEIGHT)),
            "free": In(1),
            "loaded": Out(1),
            "load": Out(cfg.array.cols),
            "words": Out(data.ArrayLayout(signed(cfg.numbers.weight_bits), cfg.array.rows)),
            "place": Out(place_in(self.sizes.weights)),
        })

    def elaborate(self, platform):
        m = Module()
        depth = self.sizes.weights
        open_, enter = Signal(), Signal()
        words = Signal(16, reset_less=True)
        sides = Signal(COUNT_BITS, reset_less=True)
        members = Signal(data.ArrayLayout(COUNT_BITS, self.cfg.array.cols), reset_less=True)
        kept = Signal(range(depth + 1))
        word, side = Signal(16), Signal(COUNT_BITS)
        place, start, after = (Signal.like(self.place, name=name) for name in ("next_place", "start", "after"))
        side_ends = Signal()
        m.d.comb += [
            self.weight.ready.eq(open_ & ((side != 0) | (kept != depth))),
            enter.eq(self.weight.valid & self.weight.ready),
            self.take.eq(self.valid & ~open_),
            side_ends.eq(word == words - 1),
            self.loaded.eq(enter & side_ends & (side == sides - 1)),
            after.eq(following(place, depth)),
        ]
        m.d.sync += kept.eq(kept + (enter & (side == 0)) - self.free)
        with m.If(self.take):
            m.d.sync += [open_.eq(1), words.eq(self.plan.words), sides.eq(self.plan.geometry.bus.across)]
            m.d.sync += [member.eq(col.side) for member, col in zip(members, self.plan.cols, strict=True)]
        with m.If(enter):
            m.d.sync += [word.eq(word + 1), place.eq(after)]
            with m.If(side_ends):
                m.d.sync += [word.eq(0), side.eq(side + 1), place.eq(start)]
            with m.If(self.loaded):
                m.d.sync += [side.eq(0), place.eq(after), start.eq(after)]
            with m.If(self.weight.payload.end):
                m.d.sync += open_.eq(0)
        self._drive(m, enter, members, side, place)
        return m

    def _drive(self, m, enter, members, side, place):
        """Registers between the stream and the columns."""
        load = Signal(self.cfg.array.cols, name="load")
        words = Signal(self.words.shape(), name="words", reset_less=True)
        at = Signal.like(self.place, name="place", reset_less=True)
        m.d.sync += load.eq(0)
        with m.If(enter):
            m.d.sync += [load.eq(Cat(member == side for member in members)), words.eq(self.weight.payload.data)]
            m.d.sync += at.eq(place)
        m.d.comb += [self.load.eq(load), self.words.eq(words), self.place.eq(at)]
