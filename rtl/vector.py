"""Vector unit: accumulators or operand words to requantized output words, with an optional second operand."""

from typing import NamedTuple

from amaranth import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config
from dataflows.formats import ceil_pow2
from rtl.agu import AddressGenerator, connect_nest
from rtl.elements import Pack, Unpack
from rtl.halves import HALF_BITS
from rtl.head_importance import result_layout
from rtl.job import engine_ports
from rtl.memory import write_layout
from rtl.param_write import lane_writes
from rtl.queue import Queue
from rtl.row_words import RowWords, row_word_layout
from rtl.sparse_queue import ShortQueue
from rtl.turner import Turner
from rtl.vector_constants import JobConstants, lanes_latency
from rtl.vector_issue import VectorIssue, tap_layout
from rtl.vector_lane import VectorLane
from rtl.vector_scales import RowScales, scale_layout
from rtl.vector_table import Tables
from rtl.window import Window


def output_layout(cfg: Config) -> data.StructLayout:
    """An output word of at most one element per lane: its first ``count`` bytes are valid."""
    return data.StructLayout({
        "data": data.ArrayLayout(cfg.numbers.act_bits, cfg.lanes), "count": range(cfg.vector_word_bytes + 1),
    })


PRODUCTS = ("offset_a", "offset_b", "product")
"""Constants of the lanes for products of two operands."""

RESULT_LEVELS = ("result_block", "result_x", "result_y")
"""Loop levels of kept words, innermost first."""


class Words(NamedTuple):
    """What reaches the lanes in a cycle, each one bit.

    Attributes
    ----------
    take
        Lanes take from their sources.
    valid, end
        A word begins its way through the lanes; it is the last of its job.
    silent
        The word is dropped behind the lanes.
    """

    take: Value
    valid: Value
    end: Value
    silent: Value


class VectorEngine(wiring.Component):
    """Engine of the VECTOR unit; :class:`VectorLane` says what it computes.

    Parameters
    ----------
    cfg : Config
        Uses ``lanes``, ``bus_bytes`` and what describes parameter entries.
    acc_latency, operand_latency : int
        Cycles from an address to its data, at least 1.

    Members
    -------
    job, done, busy, stalled
        See :func:`rtl.job.engine_ports`; a job is done when its last word has left through ``o``.
    acc_address : Out(stream of 32-bit word address, always ready), acc_data : In(lanes x signed(acc_bits))
    operand_address : Out(stream of 32-bit byte address, always ready), operand_data : In(lanes x act_bits)
    param_write : In(stream of rtl.memory.write_layout, always ready)
        Whole beats at addresses that are multiples of the beat; ``first`` and ``count`` are not looked at.
        Byte ``b`` of lane ``l`` of entry ``e`` is at ``e * param_entry_bytes + param_lane_bytes * l + b``; with
        windows, taps 0 to 7 and tap 8 follow likewise, ``window_weights_address`` and twice that further on.
    o : Out(stream of output_layout)
        Words of jobs that do not keep them. With multipliers of narrow operands a word of ``lanes`` elements takes as
        many bytes as the job's ``formats`` say, coming and going (:mod:`rtl.elements`).
    result : Out(stream of rtl.memory.write_layout)
        Words of jobs that do, each a write to the operand buffer. Such a job runs alone: it is taken when no other is
        open, and no other is taken until it is done.

    Only where the configuration has attention:

    rows : Out(stream of lanes x signed(16))
        Words of jobs with ``mode.rows``: codes with their sign, or ``wide`` results of the lanes with ``mode.wide``.
    scale : In(stream of rtl.vector_scales.scale_layout, always ready)
    table : In(stream of rtl.memory.write_layout, always ready)
        Whole beats of tables, see :class:`rtl.vector_table.Tables`.
    results : Out(stream of rtl.head_importance.result_layout, always ready)
        With pruning: words of jobs with ``importance.observe``, a cycle after they have left.

    Timing
    ------
    One read per cycle; with accumulators as source one output word per cycle, without a gap between jobs of at
    least :attr:`latency` words (at most two jobs are open). A word's output is valid :attr:`latency` cycles after
    its last address, that of a window ``Window.latency`` later. Words in flight never stall: an address is sent only
    when the output queue has room for it.

    Raises
    ------
    ValueError
        If a latency is less than 1.
    """

    def __init__(self, cfg: Config, acc_latency: int = 2, operand_latency: int = 2):
        for name, value in (("acc_latency", acc_latency), ("operand_latency", operand_latency)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value!r}")
        self.cfg = cfg
        self.acc_latency = acc_latency
        self.operand_latency = operand_latency
        address = stream.Signature(unsigned(isa.STEP_BITS), always_ready=True)
        super().__init__({
            **engine_ports(cfg, isa.Unit.VECTOR),
            "acc_address": Out(address),
            "acc_data": In(data.ArrayLayout(signed(cfg.numbers.acc_bits), cfg.lanes)),
            "operand_address": Out(address),
            "operand_data": In(data.ArrayLayout(cfg.numbers.act_bits, cfg.lanes)),
            "param_write": In(stream.Signature(write_layout(cfg.bus_bytes), always_ready=True)),
            "o": Out(stream.Signature(output_layout(cfg))),
            "result": Out(stream.Signature(write_layout(cfg.lanes * cfg.act_bytes))),
            **(self._of_rows(cfg) if cfg.attention else {}),
            **({"results": Out(stream.Signature(result_layout(cfg.lanes), always_ready=True))} if cfg.pruning else {}),
        })

    @staticmethod
    def _of_rows(cfg: Config) -> dict:
        """Members about rows and tables."""
        return {
            "rows": Out(stream.Signature(row_word_layout(cfg))),
            "scale": In(stream.Signature(scale_layout(cfg), always_ready=True)),
            "table": In(stream.Signature(write_layout(cfg.bus_bytes), always_ready=True)),
        }

    @property
    def read_latency(self) -> int:
        """Cycles from an address to the take of its data: the slower of the two memories."""
        return max(self.acc_latency, self.operand_latency)

    @property
    def latency(self) -> int:
        """Cycles from the last address of a word to its output: memory, lane, tables, output queue."""
        return self.read_latency + lanes_latency(self.cfg) + Queue.latency

    def elaborate(self, platform):
        m = Module()
        cfg = self.cfg
        m.submodules.issue = issue = VectorIssue(cfg)
        m.submodules.constants = constants = JobConstants(cfg)
        lanes = [VectorLane(cfg) for _ in range(cfg.lanes)]
        for i, lane in enumerate(lanes):
            m.submodules[f"lane_{i}"] = lane

        # Jobs: a new one is begun when the one before the previous one is done, which frees its constants.
        # One that keeps its words is alone: what it writes can be read by the next.
        opened = Signal(range(3))
        begin, keeps, free = Signal(), Signal(), Signal()
        m.d.comb += [
            begin.eq(self.job.valid & self.job.ready),
            free.eq((opened == 0) | ((opened == 1) & ~keeps & ~self.job.payload.mode.keep)),
            issue.job.payload.eq(self.job.payload),
            issue.job.valid.eq(self.job.valid & free),
            self.job.ready.eq(issue.job.ready & free),
            constants.job.eq(self.job.payload),
            constants.begin.eq(begin),
            self.busy.eq(opened != 0),
        ]
        m.d.sync += opened.eq(opened + begin - self.done.valid)
        with m.If(begin):
            m.d.sync += keeps.eq(self.job.payload.mode.keep)

        # Reads: the address of the faster memory waits, so that both data arrive together with the tap.
        for source, port, cycles in (
            (issue.acc_address, self.acc_address, self.read_latency - self.acc_latency),
            (issue.operand_address, self.operand_address, self.read_latency - self.operand_latency),
        ):
            m.d.comb += [
                port.valid.eq(_delay(m, source.valid, cycles, "address_valid")),
                port.payload.eq(_delay(m, source.payload, cycles, "address", reset_less=True)),
            ]
        take = _delay(m, issue.o.valid, self.read_latency, "take")
        tap = _delay(m, issue.o.payload.as_value(), self.read_latency, "tap", reset_less=True)
        tap = data.View(tap_layout(cfg), tap)
        words = Words(take, take & tap.last, tap.end, Const(0))
        operands = self._elaborate_operands(m, tap)
        window = turner = None
        if cfg.vector:
            window, words = self._elaborate_window(m, take, tap, operands)
        if cfg.dataflow.output_turned_late:
            turner, words = self._elaborate_turner(m, issue, take, tap, words)

        # Words: what travels beside the lanes. stage[i]: a word is at the input of lane stage i, or of the tables.
        length = lanes_latency(cfg)
        stage = Signal(length + 1)
        tail = Signal(length, reset_less=True)
        ends = Signal(length, reset_less=True)
        valid = Signal(length)
        m.d.comb += [stage.eq((valid << 1) | words.valid), constants.word.eq(stage[0]), constants.end.eq(words.end)]
        m.d.sync += [
            valid.eq(stage),
            tail.eq((tail << 1) | constants.tail_block),
            ends.eq((ends << 1) | words.end),
        ]

        # The output queue has room for every word that was let in, so its ready need not be looked at.
        drops = window is not None or turner is not None
        to_rows = {"to_rows": 1, "wide": 1} if cfg.attention else {}
        entry = data.StructLayout({"word": output_layout(cfg), "end": 1, **({"drop": 1} if drops else {}), **to_rows})
        longest = self.latency + (Window.latency if window is not None else 0)
        if turner is not None:
            longest += 2 * cfg.lanes  # a block that comes and one that leaves
        m.submodules.queue = queue = Queue(entry, ceil_pow2(longest + 1) + 1)
        leave = Signal()
        queued = Signal()
        moving = Signal()
        beside = window.moving if window is not None else 0
        drop = Signal()  # what leaves the queue is no word, and only ends its job
        if drops:
            m.d.comb += [
                queue.i.payload.drop.eq(_delay(m, words.silent, length, "silent", reset_less=True)),
                drop.eq(queue.o.payload.drop),
            ]
        room = Signal(range(queue.depth + 1), init=queue.depth)
        go = Signal(init=1)  # there is room
        m.d.comb += [
            queue.i.valid.eq(stage[-1]),
            queue.i.payload.end.eq(ends[-1]),
        ]
        codes, stored, stored_ready = [lane.o for lane in lanes], ~keeps, self.o.ready
        if cfg.attention:
            codes = self._elaborate_tables(m, lanes, constants, stage)
            away = self._elaborate_rows(m, lanes, constants, stage, queue, drop, leave)
            stored, stored_ready = ~keeps & ~away, Mux(away, self.rows.ready, self.o.ready)
        self._connect_word(m, codes, constants, tail[-1], queue.i.payload.word)
        m.d.comb += [
            self.o.valid.eq(queue.o.valid & ~drop & stored),
            self.o.payload.eq(queue.o.payload.word),
            self.result.valid.eq(queue.o.valid & ~drop & keeps),
            queue.o.ready.eq(Mux(keeps, self.result.ready, stored_ready) | drop),
            leave.eq(queue.o.valid & queue.o.ready),
            issue.go.eq(go),
            queued.eq(queue.level.any() & ~queue.o.valid),  # a word is on its way through the queue
            moving.eq(issue.o.valid | take | stage.any() | queued | leave | self.done.valid | beside),
            self.stalled.eq(self.busy & ~moving),
            self.done.payload.eq(constants.give),
            constants.done.eq(self.done.valid),
        ]
        begun = Signal()
        m.d.comb += begun.eq(issue.o.valid & issue.o.payload.last)
        m.d.sync += [
            room.eq(room - begun + leave),
            go.eq((room > 1) | leave | ((room == 1) & ~begun)),
            self.done.valid.eq(leave & queue.o.payload.end),
        ]

        self._elaborate_result(m, begin, queue.o.payload.word)
        if cfg.pruning:
            self._elaborate_importance(m, begin, leave & ~drop, queue.o.payload)
        sums = self.acc_data if turner is None else turner.o.payload
        self._connect_lanes(m, lanes, constants, stage, words.take, tap, sums, operands, window)
        return m

    def _elaborate_operands(self, m, tap):
        """One element per lane of the operand word that comes."""
        if self.cfg.multiplier is None:
            return self.operand_data
        m.submodules.unpack = unpack = Unpack(self.cfg)
        m.d.comb += [unpack.i.as_value().eq(self.operand_data.as_value()), unpack.format.eq(tap.format)]
        return unpack.o

    def _elaborate_tables(self, m, lanes, constants, stage):
        """Codes of the lanes, looked up."""
        m.submodules.tables = tables = Tables(self.cfg)
        wiring.connect(m, wiring.flipped(self.table), tables.write)
        m.d.comb += [
            *(tables.i[i].eq(lane.o) for i, lane in enumerate(lanes)),
            *(getattr(tables, name).eq(getattr(constants, name)) for name in ("look", "slot", "looked")),
            tables.stage.eq(stage[VectorLane.latency :]),
        ]
        return list(tables.o)

    def _elaborate_rows(self, m, lanes, constants, stage, queue, drop, leave):
        """Row scales to the lanes, words to the row engine; returns whether the queue's word goes there."""
        m.submodules.row_scales = scales = RowScales(self.cfg)
        wiring.connect(m, wiring.flipped(self.scale), scales.write)
        m.submodules.row_words = words = RowWords(self.cfg, queue.depth)
        widen = Signal()
        first = queue.o.payload
        m.d.sync += words.put.eq(widen)
        m.d.comb += [
            widen.eq(stage[VectorLane.rounding] & constants.widen),
            scales.read.eq(Cat(stage[0] & constants.read_row, stage[1])),
            scales.entry.eq(constants.row),
            queue.i.payload.to_rows.eq(constants.to_rows),
            queue.i.payload.wide.eq(constants.wide),
            words.codes.eq(first.word.data),
            words.wide.eq(first.wide),
            words.take.eq(leave),
            self.rows.valid.eq(queue.o.valid & first.to_rows & ~drop),
            self.rows.payload.eq(words.o),
        ]
        for i, lane in enumerate(lanes):
            m.d.comb += [
                lane.by_row.eq(constants.by_row),
                lane.row_multiplier.eq(scales.multiplier),
                lane.row_shift.eq(scales.shift),
                lane.widen.eq(widen),
                words.i[i].eq(lane.wide),
            ]
        return first.to_rows

    def _connect_word(self, m, codes, constants, last_block, word):
        """The output word that the lanes leave."""
        if self.cfg.multiplier is None:
            count = Mux(last_block, constants.tail, self.cfg.lanes) * self.cfg.act_bytes
            elements = Cat(Value.cast(code) for code in codes)
            if self.cfg.attention:
                halved = constants.nibbles != isa.Nibbles.NONE
                low = Cat(Value.cast(code)[:HALF_BITS] for code in codes)
                high = Cat(Value.cast(code)[HALF_BITS:] for code in codes)
                halves = Mux(constants.nibbles == isa.Nibbles.HIGH, high, low)
                elements, count = Mux(halved, halves, elements), Mux(halved, (count + 1) >> 1, count)
            m.d.comb += [word.count.eq(count), word.data.as_value().eq(elements)]
            return
        m.submodules.pack = pack = Pack(self.cfg)
        m.d.comb += [
            *(pack.i[i].eq(code) for i, code in enumerate(codes)),
            pack.format.eq(constants.result),
            pack.valid.eq(constants.valid | ~last_block.replicate(self.cfg.lanes)),
            word.data.as_value().eq(pack.o.as_value()),
            word.count.eq(Mux(last_block, constants.tail_bytes, constants.word_bytes)),
        ]

    def _elaborate_result(self, m, begin, word):
        """Addresses of kept words."""
        m.submodules.result = agu = AddressGenerator(len(RESULT_LEVELS), isa.STEP_BITS)
        names = ("result_base", *RESULT_LEVELS)
        layout = self.job.payload.shape()
        job = Signal(data.StructLayout({name: layout[name].shape for name in names}), reset_less=True)
        begins, write = Signal(), self.result.payload
        m.d.sync += [begins.eq(begin & self.job.payload.mode.keep)]
        m.d.sync += [job[name].eq(self.job.payload[name]) for name in names]
        connect_nest(m, agu.nest.payload, job.result_base.address, [job[name] for name in RESULT_LEVELS])
        m.d.comb += [
            agu.nest.valid.eq(begins),
            agu.o.ready.eq(self.result.valid & self.result.ready),
            write.address.eq(agu.o.payload.address),
            write.data.as_value().eq(word.data.as_value()),
            write.first.eq(0),
            write.count.eq(word.count),
        ]

    def _elaborate_importance(self, m, begin, leave, entry):
        """Words of heads, and what their jobs say of them."""
        register = self.job.payload.importance.shape()
        m.submodules.observed = jobs = ShortQueue(data.StructLayout({"importance": register, "zero": signed(8)}), 2)
        result, first = self.results.payload, jobs.o.payload
        m.d.comb += [
            jobs.i.valid.eq(begin),
            jobs.i.p.importance.eq(self.job.payload.importance),
            jobs.i.p.zero.eq(self.job.payload.requantize.zero),
            jobs.o.ready.eq(leave & entry.end),
        ]
        m.d.sync += [
            self.results.valid.eq(leave & first.importance.observe),
            *(to.eq(code.as_signed()) for to, code in zip(result.data, entry.word.data, strict=True)),
            result.count.eq(entry.word.count),
            result.zero.eq(first.zero),
            *(result[name].eq(first.importance[name]) for name in ("head", "factor", "fresh")),
            result.last.eq(entry.end),
        ]

    def _elaborate_window(self, m, take, tap, operands):
        """The window, and the words behind it: those that slid through it, and those that passed."""
        m.submodules.window = window = Window(self.cfg)
        slides = Signal()
        past = Signal()
        finish = Signal()  # a word completes, wanted or not
        m.d.comb += [
            slides.eq(take & tap.window),
            past.eq(take & ~tap.window),
            finish.eq(slides & tap.last),
            window.take.eq(slides),
            window.word.eq(operands),
            window.step.eq(tap.step),
            window.write.payload.eq(self.param_write.payload),
            window.write.valid.eq(self.param_write.valid),
        ]
        finished = _delay(m, finish, Window.latency, "finished")
        ended = _delay(m, tap.end, Window.latency, "ended", reset_less=True)
        valid, end = (past & tap.last) | finished, Mux(finished, ended, tap.end)
        return window, Words(past, valid, end, finished & ~window.valid)

    def _elaborate_turner(self, m, issue, take, tap, words):
        """The turner, and the words behind it: accumulators that were turned, and what passed."""
        m.submodules.turner = turner = Turner(self.cfg)
        inside = Signal(range(2 * self.cfg.lanes + self.read_latency + 1))  # reads from their issue to their word
        turned, enters = Signal(), Signal()
        m.d.comb += [
            enters.eq(take & tap.turn),  # in other cycles the last windows of the job before may still come
            turner.i.valid.eq(enters),
            turner.i.payload.eq(self.acc_data),
            turner.span.eq(tap.span),
            turned.eq(turner.o.valid),
            issue.turning.eq(inside != 0),
        ]
        m.d.sync += inside.eq(inside + (issue.o.valid & issue.o.payload.turn) - turned)
        # Nothing else is on its way while accumulators are turned: whatever is valid in that cycle comes from them.
        silent = Mux(turned, ~turner.wanted, words.silent)
        return turner, Words(
            (words.take & ~enters) | turned, (words.valid & ~enters) | turned,
            Mux(turned, turner.end, words.end), silent,
        )

    def _connect_lanes(self, m, lanes, constants, stage, take, tap, sums, operands, window):
        write = self.param_write
        writes, write_entry, write_data = lane_writes(m, self.cfg, write.payload, write.valid, part=0)
        for i, lane in enumerate(lanes):
            if window is not None:
                m.d.comb += [lane.from_window.eq(window.valid), lane.window.eq(window.o[i])]
            m.d.comb += [
                lane.acc.eq(sums[i]),
                lane.operand.eq(operands[i]),
                lane.take.eq(take),
                lane.first.eq(tap.first),
                lane.from_operand.eq(constants.from_operand),
                lane.add_taps.eq(constants.add_taps),
                lane.max_taps.eq(constants.max_taps),
                lane.entry.eq(constants.entry),
                lane.stage.eq(stage),
                *(getattr(lane, name).eq(getattr(constants, name)) for name in constants.per_lane),
                *(getattr(lane, name).eq(getattr(constants, name)) for name in PRODUCTS if self.cfg.products),
                lane.write.eq(writes[i]),
                lane.write_entry.eq(write_entry),
                lane.write_data.eq(write_data[i]),
            ]


def _delay(m, value, cycles, name, reset_less=False):
    """``value`` of ``cycles`` cycles ago."""
    for i in range(cycles):
        later = Signal.like(value, name=f"{name}_{i + 1}", reset_less=reset_less)
        m.d.sync += later.eq(value)
        value = later
    return value
