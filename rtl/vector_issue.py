"""Front of the vector unit: turns a job into reads of accumulators and operands."""

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config
from rtl.agu import AddressGenerator, connect_nest
from rtl.elements import FORMAT_BITS
from rtl.job import job_layout
from rtl.turner import span_layout
from rtl.window import Window
from rtl.window_walk import WindowWalk, step_layout


def tap_layout(cfg: Config) -> data.StructLayout:
    """One read: first and last of its output word, and end of the job.

    With windows: whether it goes to the window, and where it stands there. The last read of a job completes a word
    even if its window is no ``output``; that word is dropped.

    Where accumulators are turned: whether it goes through the turner, and the pixels wanted of its block.

    With multipliers of narrow operands: how the elements of its operand word lie in memory.
    """
    layout = {"first": 1, "last": 1, "end": 1}
    if cfg.vector:
        layout |= {"window": 1, "step": step_layout(cfg)}
    if cfg.dataflow.output_turned_late:
        layout |= {"turn": 1, "span": span_layout(cfg)}
    if cfg.multiplier:
        layout |= {"format": FORMAT_BITS}
    return data.StructLayout(layout)


class VectorIssue(wiring.Component):
    """Walks the accumulator nest, the operand nest, or both in step.

    The nest of the source decides where words and the job end; a job that adds operands to accumulators
    needs an operand nest of as many words.

    Parameters
    ----------
    cfg : Config
        Decides the job's layout.

    Members
    -------
    job : In(stream of job_layout(VECTOR))
        Taken together with the last read of the job before.
    go : In(1)
        A read may be made in this cycle.
    turning : In(1)
        Reads that others would overtake are on their way through the turner; only where accumulators are turned.
    o : Out(stream of tap_layout, always ready)
        Valid in the cycle of a read, together with one or both of:
    acc_address : Out(stream of 32-bit word address, always ready)
    operand_address : Out(stream of 32-bit byte address, always ready)

    Timing
    ------
    The first read is made one cycle after the job was taken; then one per cycle while ``go``, without a gap
    between jobs; after a job with windows any other job waits until the last window is complete.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        address = stream.Signature(unsigned(isa.STEP_BITS), always_ready=True)
        super().__init__({
            "job": In(stream.Signature(job_layout(cfg, isa.Unit.VECTOR))),
            "go": In(1),
            **({"turning": In(1)} if cfg.dataflow.output_turned_late else {}),
            "o": Out(stream.Signature(tap_layout(self.cfg), always_ready=True)),
            "acc_address": Out(address),
            "operand_address": Out(address),
        })

    def elaborate(self, platform):
        m = Module()
        names = [r.name for r in isa.units(self.cfg)[isa.Unit.VECTOR]]
        acc_levels = [n for n in names if n.startswith("acc_") and n != "acc_base"]
        operand_levels = [n for n in names if n.startswith("operand_") and n != "operand_base"]
        m.submodules.acc = acc = AddressGenerator(len(acc_levels), isa.STEP_BITS)
        m.submodules.operand = operand = AddressGenerator(len(operand_levels), isa.STEP_BITS)

        job = self.job.payload
        job_operand = Signal()
        connect_nest(m, acc.nest.payload, job.acc_base.address, [job[n] for n in acc_levels])
        connect_nest(m, operand.nest.payload, job.operand_base.address, [job[n] for n in operand_levels])
        m.d.comb += [
            job_operand.eq(job.mode.from_operand | job.mode.add),
            self.job.ready.eq(acc.nest.ready & operand.nest.ready),
            acc.nest.valid.eq(self.job.valid & operand.nest.ready & ~job.mode.from_operand),
            operand.nest.valid.eq(self.job.valid & acc.nest.ready & job_operand),
        ]
        uses_acc = Signal(reset_less=True)
        uses_operand = Signal(reset_less=True)
        with m.If(self.job.valid & self.job.ready):
            m.d.sync += [uses_acc.eq(~job.mode.from_operand), uses_operand.eq(job_operand)]

        fire = Signal()
        go = self.go
        last = operand.o.payload.last[:2].all()
        end = Mux(uses_acc, acc.o.payload.last.all(), operand.o.payload.last.all())
        if self.cfg.vector:
            go, last = self._elaborate_window(m, fire, operand.o.payload, last, end)
        if self.cfg.dataflow.output_turned_late:
            go &= uses_acc | ~self.turning
            self._elaborate_turn(m, uses_acc, end)
        if self.cfg.multiplier:
            self._elaborate_format(m, uses_acc)
        m.d.comb += [
            # An unused generator never has an address, so one of the two is enough only where one is used.
            fire.eq(
                go
                & (acc.o.valid | operand.o.valid)
                & (acc.o.valid | ~uses_acc)
                & (operand.o.valid | ~uses_operand)
            ),
            acc.o.ready.eq(fire),
            operand.o.ready.eq(fire),
            self.acc_address.valid.eq(fire & uses_acc),
            self.acc_address.payload.eq(acc.o.payload.address),
            self.operand_address.valid.eq(fire & uses_operand),
            self.operand_address.payload.eq(operand.o.payload.address),
            self.o.valid.eq(fire),
            self.o.payload.first.eq(operand.o.payload.first[:2].all()),
            self.o.payload.last.eq(uses_acc | last),
            self.o.payload.end.eq(end),
        ]
        return m

    def _elaborate_window(self, m, fire, read, last, end):
        """Returns whether a read may be made, and whether an operand read is its word's last."""
        m.submodules.walk = walk = WindowWalk(self.cfg)
        begin = Signal()
        windows = Signal(reset_less=True)  # the job slides windows
        recent = Signal(Window.latency)  # reads of windows that others would overtake
        m.d.comb += [
            begin.eq(self.job.valid & self.job.ready),
            walk.job.eq(self.job.payload),
            walk.begin.eq(begin),
            walk.step.eq(fire),
            walk.first.eq(read.first),
            walk.last.eq(read.last),
            self.o.payload.window.eq(windows),
            self.o.payload.step.eq(walk.o),
        ]
        m.d.sync += recent.eq((recent << 1) | (fire & windows))
        with m.If(begin):
            m.d.sync += windows.eq(self.job.payload.mode.reduce == isa.Reduce.WINDOW)
        return self.go & (windows | ~recent.any()), Mux(windows, walk.o.output | end, last)

    def _elaborate_turn(self, m, uses_acc, end):
        """Say of each read whether it is turned, and which pixels of its block are wanted."""
        turn = self.job.payload.turn
        first = Signal(range(self.cfg.lanes), reset_less=True)
        last = Signal(range(self.cfg.lanes), reset_less=True)
        with m.If(self.job.valid & self.job.ready):
            m.d.sync += [first.eq(turn.first), last.eq(turn.first + turn.count - 1)]
        tap = self.o.payload
        m.d.comb += [tap.turn.eq(uses_acc), tap.span.first.eq(first), tap.span.last.eq(last), tap.span.end.eq(end)]

    def _elaborate_format(self, m, uses_acc):
        """Say of each read how its elements lie in memory: first the source of a word, then what is added."""
        job, tap = self.job.payload, self.o.payload
        source = Signal(FORMAT_BITS, reset_less=True)
        addend = Signal(FORMAT_BITS, reset_less=True)
        with m.If(self.job.valid & self.job.ready):
            m.d.sync += [
                source.eq(job.formats.source),
                addend.eq(Mux(job.mode.add, job.formats.addend, job.formats.source)),
            ]
        m.d.comb += tap.format.eq(Mux(tap.first & ~uses_acc, source, addend))
