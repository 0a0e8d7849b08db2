"""The edges of the array where operands enter: joins the two streams, adds flags, makes the skew."""

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows.config import Config
from dataflows.vocabulary import Axis, Kind, Operand
from rtl.pe import PE, links
from rtl.skew import delay, staircase, taps


def operand_stream(elements: int) -> stream.Signature:
    """Stream of operand words.

    ``first`` and ``last`` mark the borders of a tile, ``begin`` and ``end`` those of a job.
    """
    return stream.Signature(data.StructLayout({
        "data": data.ArrayLayout(signed(8), elements), "first": 1, "last": 1, "begin": 1, "end": 1,
    }))


def edge_lanes(cfg: Config, axis: Axis) -> int:
    """Lanes of an edge: rows for links that enter at the west, columns for those that enter at the north."""
    return cfg.array.rows if axis is Axis.EAST else cfg.array.cols


class Feeder(wiring.Component):
    """Takes words from both operand streams when the array can use them, and drives the array's west and north edges.

    *A loaded operand* (weight- and input-stationary): one tile of it is ahead of the moving one. The first moving
    word of a tile waits until the last stationary word has entered in an earlier cycle; stationary words of the next
    tile enter from the cycle of that first moving word on. Gaps are allowed anywhere in both streams.

    *Drained outputs* (output-stationary): words enter in pairs, in chunks of ``rows``. A chunk starts when both
    streams have a word; within a chunk both must have a word in every cycle, because each row shifts its own word at
    a fixed rate. ``first`` and ``last`` of the weight stream mark the borders of the sums, which take at least one chunk.

    The first word of a job of the moving stream waits for an opened accumulator job.

    Parameters
    ----------
    cfg : Config

    Members
    -------
    input, weight : In(operand_stream)
    open : In(1)
        The accumulator has opened one more job.
    <name> : Out, one per row or column
        The edge of each of ``links(cfg.dataflow)`` except the output.
    emit : Out(1)
        Column 0 has a sum to hand out at the south edge, in this cycle.

    Timing
    ------
    A word that is transferred in cycle t is at lane i of the edge in cycle ``t + latency + i``.
    """

    latency = 1

    def __init__(self, cfg: Config):
        self.cfg = cfg
        self.wires = {name: wire for name, wire in links(cfg.dataflow).items() if name != Operand.OUTPUT.value}
        self.drained = cfg.dataflow.output.kind is Kind.DRAIN
        ports = {
            "input": In(operand_stream(cfg.input_elements)),
            "weight": In(operand_stream(cfg.weight_elements)),
            "open": In(1),
            "emit": Out(1),
        }
        edges = {f"{name}_o": Out(wire.shape).array(edge_lanes(cfg, wire.axis)) for name, wire in self.wires.items()}
        super().__init__(ports | edges)

    def elaborate(self, platform):
        m = Module()
        flow = self.cfg.dataflow
        moving = self.input if flow.moving is Operand.INPUT else self.weight
        credit = Signal(8)  # opened accumulator jobs without operands yet
        begin = Signal()
        allowed = Signal()
        m.d.comb += [
            begin.eq(moving.valid & moving.ready & moving.payload.begin),
            allowed.eq(~moving.payload.begin | (credit != 0)),
        ]
        m.d.sync += credit.eq(credit + self.open - begin)
        if self.drained:
            self._join(m, allowed)
        else:
            self._interlock(m, moving, allowed)
        return m

    def _drive(self, m, name, lanes):
        for port, lane in zip(getattr(self, f"{name}_o"), lanes, strict=True):
            m.d.comb += port.eq(lane)

    def _step(self, name):
        """Skew between neighbouring lanes of the edge where ``name`` enters."""
        return self.cfg.dataflow.skew[0 if self.wires[name].axis is Axis.EAST else 1]

    def _data(self, m, name, lanes):
        self._drive(m, name, staircase(m, lanes, self._step(name), name))

    def _flag(self, m, name, flag):
        self._drive(m, name, taps(m, flag, edge_lanes(self.cfg, self.wires[name].axis), self._step(name), name))

    def _interlock(self, m, moving, allowed):
        """One stationary tile ahead of the moving words."""
        stationary = self.weight if moving is self.input else self.input
        rows = self.cfg.array.rows
        words = self.cfg.dataflow.load_cycles(rows, self.cfg.array.cols)
        left = Signal(range(words), init=words - 1)
        full = Signal()  # the next tile is in the shadow registers or on its way there
        load, swap = Signal(), Signal()
        m.d.comb += [
            moving.ready.eq(allowed & (full | ~moving.payload.first)),
            swap.eq(moving.valid & moving.ready & moving.payload.first),
            stationary.ready.eq(~full | swap),
            load.eq(stationary.valid & stationary.ready),
        ]
        m.d.comb += self.emit.eq(delay(m, moving.valid & moving.ready, self.latency + rows - 1 + PE.latency, "emit"))
        with m.If(load):
            m.d.sync += left.eq(Mux(left == 0, words - 1, left - 1))
        with m.If(load & (left == 0)):
            m.d.sync += full.eq(1)
        with m.Elif(swap):
            m.d.sync += full.eq(0)
        for operand in (Operand.INPUT, Operand.WEIGHT):
            self._data(m, operand.value, list(getattr(self, operand.value).payload.data))
        self._flag(m, "load", load)
        self._flag(m, "swap", swap)

    def _join(self, m, allowed):
        """Chunks of ``rows`` pairs of words."""
        rows = self.cfg.array.rows
        take, close = Signal(), Signal()
        chunk = Signal(rows, init=1)  # one-hot: place in the chunk
        weight = self.weight.payload
        m.d.comb += [
            take.eq(self.input.valid & self.weight.valid & allowed),
            self.input.ready.eq(self.weight.valid & allowed),
            self.weight.ready.eq(self.input.valid & allowed),
            close.eq(take & weight.last),
        ]
        with m.If(take):
            m.d.sync += chunk.eq(Cat(chunk[-1], chunk)[:rows])
        self._serialize(m, take, chunk)
        # Zeros where no word enters: they add nothing to the sums.
        self._data(m, Operand.WEIGHT.value, [Mux(take, lane, 0).as_signed() for lane in weight.data])
        self._flag(m, "first", take & weight.first)
        self._flag(m, "last", close)

        # All drain registers of a column begin to move when its last row has its sum; row r moves r + 1 times.
        start = Signal()
        m.d.comb += start.eq(taps(m, close, rows + 1, 1, "closed")[rows])
        windows = [start]
        for row in range(1, rows):
            before = Signal(name=f"moved_{row}")
            m.d.sync += before.eq(windows[-1])
            windows.append(start | before)
        self._drive(m, "shift", windows)
        m.d.comb += self.emit.eq(delay(m, windows[-1], PE.latency - 1, "emit"))

    def _serialize(self, m, take, chunk):
        """Row r takes word r of each chunk and shifts it out: the time the words take to come is the skew."""
        lanes = []
        for row in range(self.cfg.array.rows):
            shifter = Signal(8 * self.cfg.input_elements, name=f"shifter_{row}", reset_less=True)
            with m.If(take & chunk[row]):
                m.d.sync += shifter.eq(self.input.payload.data.as_value())
            with m.Else():
                m.d.sync += shifter.eq(shifter >> 8)
            lanes.append(shifter[:8].as_signed())
        self._drive(m, Operand.INPUT.value, lanes)
