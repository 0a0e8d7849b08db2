"""The array over the output plane: inputs travel between neighbours, weights are broadcast, sums are drained."""

from itertools import pairwise

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring

from dataflows.config import Config
from dataflows.vocabulary import Axis, Kind, Link
from rtl.operands import array_ports
from rtl.plane_control import PlaneControl, history_words
from rtl.plane_row import PlaneRow
from rtl.skew import delay, taps


def check(cfg: Config) -> None:
    """Refuse a description this generator has no hardware for. Raises ValueError saying what it must be."""
    flow = cfg.dataflow
    for name, link, wanted in (
        ("weight", flow.weight, Link(Kind.FORWARD, Axis.BOTH, delay=0)),
        ("output", flow.output, Link(Kind.DRAIN, Axis.SOUTH)),
    ):
        if link != wanted:
            raise ValueError(f"{flow.name}: with inputs from neighbours {name} must be {wanted}, not {link}")


class PlaneArray(wiring.Component):
    """PE (r, c) holds the sum of one output pixel of one channel; every cycle one weight meets the inputs of all PEs.

    An INPUT word holds an element for every PE. :class:`~dataflows.plane_order.PlaneOrder` says which steps take new
    elements from words, how many, and where in the words they lie; the rest comes from the neighbours' histories.

    Parameters
    ----------
    cfg : Config
        Uses ``array``, ``numbers`` and ``stores.input``, the steps a PE remembers its inputs for.

    Members
    -------
    input, weight : In(word_stream)
        Words of ``rows * cols`` inputs, from a sum's first one on; weights in the order (channel, kernel row, kernel
        column), one per step. ``begin`` and ``end`` of the weights mark the borders of a job.
    geometry : In(stream of geometry_layout)
        One per job. ``rows * cols * channels`` weights of a kernel make a sum.
    open : In(1)
        The accumulator has opened one more job; allows one more job to begin.
    o : Out(sum_stream)
        ``rows`` words per sum, that of the last row first; lane = column.

    Timing
    ------
    One step per cycle, without a gap between channels, sums and jobs. The words of a sum leave in consecutive cycles,
    the first one ``latency`` cycles after the sum's last step. Sums end at least ``rows`` cycles after each other: the
    last step of a shorter one waits.
    """

    latency = 3

    def __init__(self, cfg: Config):
        check(cfg)
        self.cfg = cfg
        super().__init__(array_ports(cfg))

    def elaborate(self, platform):
        m = Module()
        rows, cols = self.cfg.array.rows, self.cfg.array.cols
        m.submodules.control = control = PlaneControl(self.cfg)
        wiring.connect(m, wiring.flipped(self.geometry), control.geometry)
        m.d.comb += [
            control.input_valid.eq(self.input.valid),
            control.weight_valid.eq(self.weight.valid),
            control.weight_begin.eq(self.weight.payload.begin),
            control.weight_end.eq(self.weight.payload.end),
            control.open.eq(self.open),
            self.input.ready.eq(control.take),
            self.weight.ready.eq(control.go),
        ]
        flags = self._flags(m, control)
        group = self._inlet(m, control)

        places = self._rows(m, control, flags)
        act = self.cfg.numbers.act_bits
        word = self.input.payload.data.as_value()
        read_at = Signal.like(control.south)  # of rows that never look both ways at once
        looks_east = control.step.last_east if rows == 1 else control.step.east
        m.d.comb += read_at.eq(Mux(looks_east, control.east, control.south))
        for r, row in enumerate(places):
            last = r == rows - 1
            corner = group.word_select(r, act)
            m.d.comb += [
                row.fresh.eq(word[r * cols * act : (r + 1) * cols * act]),
                row.south.eq(group[: cols * act] if last else places[r + 1].history),
                row.corner.eq(Mux(control.step.one, group[:act], corner) if last else corner),
                row.east.eq(control.step.last_east if last else control.step.east),
                row.read_at.eq(control.south if last and rows > 1 else read_at),
                row.east_at.eq(control.east),
            ]
        self._drain(m, places, flags)
        return m

    def _inlet(self, m, control):
        """The group of new inputs of a step: what is left of a word, or the word at the stream.

        What the step leaves of it moves down by the size of the group, one of three.
        """
        rows, cols, act = self.cfg.array.rows, self.cfg.array.cols, self.cfg.numbers.act_bits
        word = self.input.payload.data.as_value()
        held = Signal.like(word, reset_less=True)
        group = Signal(max(rows, cols) * act)
        step = control.step
        m.d.comb += group.eq(Mux(step.load, word[: len(group)], held[: len(group)]))
        with m.If(control.go & ~step.all):
            for source, chosen in ((word, step.load), (held, ~step.load)):
                with m.If(chosen & step.east):
                    m.d.sync += held.eq(source >> (rows * act))
                with m.Elif(chosen & step.one):
                    m.d.sync += held.eq(source >> act)
                with m.Elif(chosen):
                    m.d.sync += held.eq(source >> (cols * act))
        return group

    def _flags(self, m, control):
        """Flags of the step whose products are at the adders; drain registers that move."""
        go, step, rows = control.go, control.step, self.cfg.array.rows
        add = delay(m, go, 2, "added", reset_less=False)
        first = delay(m, step.first, 2, "first")
        closed = taps(m, go & step.last, rows + 1, "closed", first=self.latency - 1, reset_less=False)
        weight = Signal.like(self.weight.payload.data[0], reset_less=True)
        with m.If(go):
            m.d.sync += weight.eq(self.weight.payload.data[0])
        shift = Signal()
        m.d.comb += shift.eq(Cat(closed[1:]).any())
        return {"weight": weight, "add": add, "first": first, "last": closed[0], "shift": shift}

    def _rows(self, m, control, flags):
        """All rows, with what goes to each alike."""
        cfg = self.cfg
        bits = (cfg.numbers.act_bits, cfg.numbers.weight_bits, cfg.numbers.acc_bits)
        places = []
        for r in range(cfg.array.rows):
            twice = r == cfg.array.rows - 1 and r > 0 and cfg.array.cols > 1
            m.submodules[f"row_{r}"] = row = PlaneRow(cfg.array.cols, bits, history_words(cfg), twice)
            m.d.comb += [row.go.eq(control.go), row.all.eq(control.step.all), row.write_at.eq(control.write)]
            m.d.comb += [getattr(row, name).eq(flag) for name, flag in flags.items()]
            places.append(row)
        return places

    def _drain(self, m, places, flags):
        """Sums move south while ``shift`` is set, and leave from the last row."""
        for north, row in pairwise(places):
            for sink, source in zip(row.drain_i, north.drain_o, strict=True):
                m.d.comb += sink.eq(source)
        m.d.comb += self.o.valid.eq(flags["shift"])
        for lane, source in zip(self.o.payload, places[-1].drain_o, strict=True):
            m.d.comb += lane.eq(source)
