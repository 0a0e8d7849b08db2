"""The row-stationary array: rows of PEs, one below the other, and what feeds and conducts them."""

from itertools import pairwise

from amaranth import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dataflows.config import Config
from dataflows.vocabulary import Axis, Dataflow, Kind
from rtl.operands import array_ports
from rtl.row_bus import InputBus, WeightBus
from rtl.row_conductor import RowConductor
from rtl.row_control import COUNT_BITS, RowControl, step_layout
from rtl.row_pe import INDEX_BITS, RowPE, RowSizes, place_in
from rtl.row_plan import RowPlanner
from rtl.shared import shared


def check(flow: Dataflow) -> None:
    """Refuse a description this generator has no hardware for. Raises ValueError saying what it must be."""
    if flow.input.kind is not Kind.BUS or not flow.input.store:
        raise ValueError(f"{flow.name}: input must come over a bus and be stored, not {flow.input.kind.value}")
    if flow.weight.kind is not Kind.LOAD or flow.weight.axis is not Axis.EAST or not flow.weight.store:
        raise ValueError(f"{flow.name}: weight must be loaded along rows and be stored, not {flow.weight.kind.value}")
    if flow.output.kind is not Kind.SUM or flow.output.axis is not Axis.SOUTH or flow.output.delay != 1:
        raise ValueError(f"{flow.name}: output must be summed southwards with 1 register per hop")


def total(m, values, name: str):
    """Sum of unsigned ``values``, added up in pairs that are as wide as they must be."""
    if len(values) == 1:
        return values[0]
    pairs = [values[i : i + 2] for i in range(0, len(values), 2)]
    sums = []
    for index, pair in enumerate(pairs):
        if len(pair) == 2:
            added = Signal(max(map(len, pair)) + 1, name=f"{name}_{len(pairs)}_{index}")
            m.d.comb += added.eq(pair[0] + pair[1])
            sums.append(added)
        else:
            sums += pair
    return total(m, sums, name)


@shared("sizes", "cols")
class PERow(wiring.Component):
    """One row: its control, its PEs, and its identifier on the bus.

    Parameters
    ----------
    sizes : RowSizes
    cols : int

    Members
    -------
    identify, slot, row_base, listens, col_base, col_listens : In
        Take new identifiers: slot and first input row of the row, whether it is in use; the same for the columns.
    put, word, place, bus_slot, index : In
        The bus (:class:`~rtl.row_bus.InputBus`).
    load, filter_word, filter_place : In
        Columns that take a filter word.
    last_filter, last_tap, used, boundary, col_used : In
        :func:`~rtl.row_conductor.settings_layout`.
    go_i, step_i, go_o, step_o, done, run : see :class:`~rtl.row_control.RowControl`
    sum_i, sum_o : In, Out(signed(acc_bits)), one per column
    valid_i, valid_o : In(1), Out(1)
        There is a word of sums.
    gated : Out(range(cols + 1)), only with ``sizes.gating``
        Multiplications not done, one cycle.
    """

    def __init__(self, sizes: RowSizes, cols: int):
        self.sizes = sizes
        self.cols = cols
        step = step_layout(sizes)
        flags = ("identify", "listens", "put", "used", "boundary", "go_i", "valid_i")
        super().__init__({
            **{name: In(1) for name in flags},
            **{name: Out(1) for name in ("go_o", "done", "run", "valid_o")},
            **{name: In(cols) for name in ("load", "col_used", "col_listens")},
            "slot": In(COUNT_BITS),
            "bus_slot": In(COUNT_BITS),
            "row_base": In(INDEX_BITS),
            "index": In(INDEX_BITS),
            "col_base": In(INDEX_BITS).array(cols),
            "word": In(signed(sizes.act_bits)),
            "place": In(place_in(sizes.inputs)),
            "filter_word": In(signed(sizes.weight_bits)),
            "filter_place": In(place_in(sizes.weights)),
            "last_filter": In(COUNT_BITS),
            "last_tap": In(COUNT_BITS),
            "step_i": In(step),
            "step_o": Out(step),
            "sum_i": In(signed(sizes.acc_bits)).array(cols),
            "sum_o": Out(signed(sizes.acc_bits)).array(cols),
            **({"gated": Out(range(cols + 1))} if sizes.gating else {}),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.control = control = RowControl(self.sizes)
        slot, listens = Signal(COUNT_BITS, reset_less=True), Signal()
        mine, move, emit, valid = Signal(), Signal(), Signal(), Signal()
        with m.If(self.identify):
            m.d.sync += [slot.eq(self.slot), listens.eq(self.listens)]
        m.d.sync += valid.eq(move)
        m.d.comb += [
            mine.eq(self.put & listens & (self.bus_slot == slot)),
            emit.eq(control.emit & self.used),
            move.eq(emit | self.valid_i),
            self.valid_o.eq(valid),
            control.last_filter.eq(self.last_filter),
            control.last_tap.eq(self.last_tap),
            control.boundary.eq(self.boundary),
            control.go_i.eq(self.go_i),
            control.step_i.eq(self.step_i),
            self.go_o.eq(control.go_o),
            self.step_o.eq(control.step_o),
            self.done.eq(control.done),
            self.run.eq(control.run),
        ]
        wires = {
            "identify": self.identify, "row_base": self.row_base, "put": mine, "index": self.index, "word": self.word,
            "place": self.place, "filter_word": self.filter_word, "filter_place": self.filter_place,
            "move": move, "arrive": self.valid_i, "emit": emit, "first": control.first, "filter": control.filter,
            "window_place": control.window_place, "weight_place": control.weight_place,
            "fetch": control.fetch & self.used, "read": control.run & self.used,
            "multiply": control.multiply & self.used, "keep": control.keep & self.used,
            "close": control.close & self.used,
        }  # fmt: skip
        pes = []
        for col in range(self.cols):
            m.submodules[f"pe_{col}"] = pe = RowPE(self.sizes)
            pes.append(pe)
            m.d.comb += [getattr(pe, name).eq(wire) for name, wire in wires.items()]
            m.d.comb += [
                pe.listen.eq(self.col_listens[col]), pe.col_base.eq(self.col_base[col]),
                pe.load.eq(self.load[col]), pe.used.eq(self.col_used[col]),
                pe.sum_i.eq(self.sum_i[col]), self.sum_o[col].eq(pe.sum_o),
            ]  # fmt: skip
        if self.sizes.gating:
            self._count(m, pes, control)
        return m

    def _count(self, m, pes, control):
        """Zeros are counted once per window word, and that many multiplications gated in each cycle it is used."""
        zeros = Signal(range(self.cols + 1), reset_less=True)
        fetched, counts = Signal(), Signal()
        m.d.sync += [fetched.eq(control.fetch & self.used), counts.eq(control.multiply & self.used)]
        with m.If(fetched):
            m.d.sync += zeros.eq(total(m, [pe.gated for pe in pes], "zeros"))
        with m.If(counts):
            m.d.comb += self.gated.eq(zeros)


class RowArray(wiring.Component):
    """Bus, filter loading, conductor and rows.

    A job is ``passes`` passes of ``positions`` steps of taps x filters cycles; the geometry of each is in its INPUT
    job's registers (``docs/architecture.md`` section 3 says what the words are and where they go).

    Parameters
    ----------
    cfg : Config

    Members
    -------
    geometry : In(stream of geometry_layout)
        Of each job, in order.
    input, weight : In(word_stream)
        Words of the jobs, in order. Only ``end`` counts.
    open : In(1)
        The accumulator has opened one more job; allows one more job to begin its first step.
    o : Out(sum_stream)
        Per step, for each unit, for each filter: a word of one sum per column. Columns not in use have sums of zero.
    gated : Out(range(rows * cols + 1)), only with ``array.zero_gating``
        Multiplications left out because the input word was zero; complete when the sums have left.

    Timing
    ------
    With the *start* of a step the cycle in which the conductor lets it go (row r runs ``r + filters * unit`` cycles
    later), R rows, D filter words and W words of ``stores.input``:

    * Plan: valid ``1 + max(R, C)`` cycles after the job's geometry is taken, which is as soon as the plan before has
      been taken by all. Input words, filter words and steps take it, each when it is valid and their own words or
      steps of the job before are over (words: in the cycle after the last one); the first word follows in the
      cycle after that.
    * Input words: one per cycle. The first of a group waits until ``held + fresh <= 3 * W``; held counts the words of
      the groups begun and not freed.
    * Filter words: one per cycle. One of the first side waits until ``kept < D``.
    * A step starts at the earliest: ``taps * filters`` cycles after the start of the step before; one cycle after the
      last word of its newest group and (first step of a pass) after the last filter word of its pass was transferred;
      one cycle after ``open`` (first step of a job); for the first step of a job, ``skew + 4`` cycles more than
      ``taps * filters`` after the start of the last step of the job before, with ``skew = R - 1 + filters *
      (units - 1)``, and one cycle after the plan is valid.
    * The last row ends a step ``taps * filters + skew`` cycles after its start; in the next cycle ``held`` is less by
      ``fresh`` (last step of a pass: ``preload * fresh``). In the last step of a pass ``kept`` falls by one per cycle,
      from ``2 + skew`` to ``1 + skew + taps * filters`` cycles after its start.
    * The sum of filter f of unit u leaves ``(taps - 1 + u) * filters + f + R + 4`` cycles after the step's start.
    """

    def __init__(self, cfg: Config):
        check(cfg.dataflow)
        self.cfg = cfg
        self.sizes = RowSizes.of(cfg)
        self.latency = cfg.array.rows + RowPE.latency
        gated = {"gated": Out(range(cfg.multipliers + 1))} if cfg.array.zero_gating else {}
        super().__init__(array_ports(cfg) | gated)

    def elaborate(self, platform):
        m = Module()
        cfg = self.cfg
        m.submodules.planner = planner = RowPlanner(cfg)
        m.submodules.bus = bus = InputBus(cfg)
        m.submodules.weights = weights = WeightBus(cfg)
        m.submodules.conductor = conductor = RowConductor(cfg)
        rows = [PERow(self.sizes, cfg.array.cols) for _ in range(cfg.array.rows)]
        for index, row in enumerate(rows):
            m.submodules[f"row_{index}"] = row
        wiring.connect(m, wiring.flipped(self.geometry), planner.geometry)
        wiring.connect(m, wiring.flipped(self.input), bus.input)
        wiring.connect(m, wiring.flipped(self.weight), weights.weight)
        for index, taker in enumerate((bus, weights, conductor)):
            m.d.comb += [
                taker.plan.eq(planner.plan), taker.valid.eq(planner.valid[index]), planner.take[index].eq(taker.take),
            ]  # fmt: skip
        last = rows[-1]
        m.d.comb += [
            conductor.open.eq(self.open), conductor.delivered.eq(bus.delivered), conductor.loaded.eq(weights.loaded),
            conductor.ready.eq(~rows[0].run | rows[0].done),
            conductor.done.eq(last.done), conductor.done_step.eq(last.step_o),
            bus.free.eq(conductor.free), bus.freed.eq(conductor.freed),
            weights.free.eq(last.run & last.step_o.ends_pass),
        ]  # fmt: skip
        for index, row in enumerate(rows):
            self._wire(m, index, row, planner.plan, bus, weights, conductor.settings)
        self._chain(m, conductor, rows)
        if cfg.array.zero_gating:
            m.d.sync += self.gated.eq(total(m, [row.gated for row in rows], "gated"))
        return m

    def _wire(self, m, index, row, plan, bus, weights, settings):
        """What all rows hear."""
        m.d.comb += [
            row.identify.eq(bus.take), row.slot.eq(plan.rows[index].slot), row.listens.eq(plan.rows[index].used),
            row.row_base.eq(plan.rows[index].base),
            row.put.eq(bus.put), row.word.eq(bus.word), row.place.eq(bus.place), row.bus_slot.eq(bus.slot),
            row.index.eq(bus.index),
            row.load.eq(weights.load), row.filter_word.eq(weights.words[index]), row.filter_place.eq(weights.place),
            row.last_filter.eq(settings.last_filter), row.last_tap.eq(settings.last_tap),
            row.used.eq(settings.row_used[index]), row.boundary.eq(settings.boundary[index]),
            row.col_used.eq(settings.col_used),
        ]  # fmt: skip
        for port, listens, col in zip(row.col_base, row.col_listens, plan.cols, strict=True):
            m.d.comb += [port.eq(col.base), listens.eq(col.used)]

    def _chain(self, m, conductor, rows):
        """Steps and sums go down the rows; nothing comes in at the top, and the sums leave at the bottom."""
        m.d.comb += [rows[0].go_i.eq(conductor.go), rows[0].step_i.eq(conductor.step)]
        for above, row in pairwise(rows):
            m.d.comb += [row.go_i.eq(above.go_o), row.step_i.eq(above.step_o), row.valid_i.eq(above.valid_o)]
            m.d.comb += [sink.eq(source) for sink, source in zip(row.sum_i, above.sum_o, strict=True)]
        m.d.comb += self.o.valid.eq(rows[-1].valid_o)
        m.d.comb += [lane.eq(source) for lane, source in zip(self.o.payload, rows[-1].sum_o, strict=True)]
