"""The PE array with its edges, generated from the dataflow description."""

from amaranth import Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dataflows.config import Config
from dataflows.sections import Multiplier, Numbers
from dataflows.vocabulary import Axis, Dataflow
from rtl.drain import Deskew, Transposer
from rtl.feeder import Feeder
from rtl.operands import array_ports
from rtl.pe import check, edge, flags, links, sum_cycles
from rtl.pes import pe_of
from rtl.shared import shared
from rtl.skew import taps
from rtl.tree import AdderTree


@shared("flow", "numbers", "cols", "unit")
class Row(wiring.Component):
    """One row of PEs, and the lines of the flags that travel east.

    Parameters
    ----------
    flow : Dataflow
    numbers : Numbers
    cols : int
    unit : Multiplier, optional
        What multiplies in a PE, if it is not one fixed multiplier.

    Members
    -------
    <name>_i : In
        West end of each link that travels east; with no register per hop, the wire to all PEs.
    <name>_i, <name>_o : In, Out, one per column
        Links that travel south, and those to each PE, as far as they enter and leave.
    <name>_i : In, or one per column
        Flags.
    """

    def __init__(self, flow: Dataflow, numbers: Numbers, cols: int, unit: Multiplier | None = None):
        self.flow = flow
        self.numbers = numbers
        self.cols = cols
        self.unit = unit
        ports = {}
        for name, wire in links(flow, numbers, unit).items():
            if wire.axis is Axis.EAST:
                ports[f"{name}_i"] = In(wire.shape)
                continue
            if wire.enters:
                ports[f"{name}_i"] = In(wire.shape).array(cols)
            if wire.leaves:
                ports[f"{name}_o"] = Out(wire.shape).array(cols)
        for name, flag in flags(flow, unit).items():
            ports[f"{name}_i"] = In(flag.bits) if flag.axis is Axis.EAST else In(flag.bits).array(cols)
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        wires = links(self.flow, self.numbers, self.unit)
        east = {name: getattr(self, f"{name}_i") for name, wire in wires.items() if wire.axis is Axis.EAST}
        lines = {name: getattr(self, f"{name}_i") for name in flags(self.flow, self.unit)}
        for name, flag in flags(self.flow, self.unit).items():
            if flag.axis is Axis.EAST:
                lines[name] = taps(m, lines[name], self.cols, name, first=flag.stage)
        for col in range(self.cols):
            m.submodules[f"pe_{col}"] = pe = pe_of(self.flow, self.numbers, self.unit)
            m.d.comb += [getattr(pe, f"{name}_i").eq(line[col]) for name, line in lines.items()]
            for name, wire in wires.items():
                if wire.enters:
                    source = east[name] if name in east else getattr(self, f"{name}_i")[col]
                    m.d.comb += getattr(pe, f"{name}_i").eq(source)
                if wire.leaves and name in east:
                    east[name] = getattr(pe, f"{name}_o")
                elif wire.leaves:
                    m.d.comb += getattr(self, f"{name}_o")[col].eq(getattr(pe, f"{name}_o"))
        return m


class Grid(wiring.Component):
    """Rows of PEs, one below the other, the lines of the flags that travel south, and adder trees if there are any.

    Parameters
    ----------
    flow : Dataflow
    numbers : Numbers
    rows, cols : int
    unit : Multiplier, optional

    Members
    -------
    <name>_i : In, one per row, column or PE
        Edge of each link except the output, skewed as the links ask for; row after row where each PE has its own.
    <name>_i : In, one per row or column
        Flags, skewed in the same way.
    output_o : Out(signed(acc_bits)), one per column
        South edge.
    """

    def __init__(self, flow: Dataflow, numbers: Numbers, rows: int, cols: int, unit: Multiplier | None = None):
        self.flow = flow
        self.numbers = numbers
        self.rows = rows
        self.cols = cols
        self.unit = unit
        ports = {"output_o": Out(signed(numbers.acc_bits)).array(cols)}
        for name, wire in links(flow, numbers, unit).items():
            if name != "output":
                ports[f"{name}_i"] = In(wire.shape).array(edge(wire.axis, rows, cols))
        for name, flag in flags(flow, unit).items():
            ports[f"{name}_i"] = In(flag.bits).array(edge(flag.axis, rows, cols))
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        wires = links(self.flow, self.numbers, self.unit)
        zeros = [0] * self.cols  # sums start from nothing
        south = {name: getattr(self, f"{name}_i", zeros) for name, wire in wires.items() if wire.axis is Axis.SOUTH}
        lines = {name: self._line(m, name, flag) for name, flag in flags(self.flow, self.unit).items()}
        rows = [Row(self.flow, self.numbers, self.cols, self.unit) for _ in range(self.rows)]
        for index, row in enumerate(rows):
            m.submodules[f"row_{index}"] = row
            for name, wire in wires.items():
                if wire.axis is Axis.EAST:
                    m.d.comb += getattr(row, f"{name}_i").eq(getattr(self, f"{name}_i")[index])
                elif wire.enters:
                    for col, sink in enumerate(getattr(row, f"{name}_i")):
                        own = wire.axis is Axis.BOTH
                        source = getattr(self, f"{name}_i")[index * self.cols + col] if own else south[name][col]
                        m.d.comb += sink.eq(source)
                if wire.axis is Axis.SOUTH and wire.leaves:
                    south[name] = getattr(row, f"{name}_o")
            for name, flag in flags(self.flow, self.unit).items():
                port = getattr(row, f"{name}_i")
                if flag.axis is Axis.EAST:
                    m.d.comb += port.eq(lines[name][index])
                else:
                    m.d.comb += [sink.eq(line[index]) for sink, line in zip(port, lines[name], strict=True)]
        sums = south["output"] if wires["output"].enters else self._trees(m, rows, wires["output"].bits)
        for col in range(self.cols):
            m.d.comb += self.output_o[col].eq(sums[col])
        return m

    def _trees(self, m, rows, bits):
        """An adder tree for each column; returns the sums."""
        sums = []
        for col in range(self.cols):
            m.submodules[f"tree_{col}"] = tree = AdderTree(self.rows, bits, self.numbers.acc_bits)
            m.d.comb += [tree.i[index].eq(row.output_o[col]) for index, row in enumerate(rows)]
            sums.append(tree.o)
        return sums

    def _line(self, m, name, flag):
        """Travelling east: the flag of each row. Travelling south: of each column, the flags of its rows."""
        edge = getattr(self, f"{name}_i")
        if flag.axis is Axis.EAST:
            return edge
        return [taps(m, bit, self.rows, f"{name}_{col}", first=flag.stage) for col, bit in enumerate(edge)]


class PEArray(wiring.Component):
    """Feeder, PEs and drain.

    Parameters
    ----------
    cfg : Config

    Members
    -------
    input, weight : In(word_stream)
        See :class:`~rtl.feeder.Feeder` for when words are taken.
    open : In(1)
        The accumulator has opened one more job; allows one more job of the moving stream to begin.
    o : Out(sum_stream)
        Words of one sum per output channel. Summed: one per moving word. Drained: ``rows`` per last word of a
        reduction, the pixel of row ``rows - 1`` first. Transposed: ``cols`` per block of ``cols`` moving words, pixel 0
        first.

    Timing
    ------
    Sums leave ``latency`` cycles after the moving word that completes them (transposed: that completes the block) is
    transferred; drained and transposed ones are followed by the rest of their group. One word per cycle, and no gap
    between tiles or jobs.
    """

    def __init__(self, cfg: Config):
        check(cfg.dataflow)
        self.cfg = cfg
        flow = cfg.dataflow
        self.latency = Feeder.latency + sum_cycles(flow, cfg.array.rows) + flow.skew[1] * (cfg.array.cols - 1)
        self.latency += flow.output_transposed
        super().__init__(array_ports(cfg))

    def elaborate(self, platform):
        m = Module()
        cfg = self.cfg
        m.submodules.feeder = feeder = Feeder(cfg)
        m.submodules.grid = grid = Grid(
            cfg.dataflow, cfg.numbers, cfg.array.rows, cfg.array.cols, cfg.multiplier
        )
        m.submodules.deskew = deskew = Deskew(cfg)
        wiring.connect(m, feeder.input, wiring.flipped(self.input))
        wiring.connect(m, feeder.weight, wiring.flipped(self.weight))
        m.d.comb += [feeder.open.eq(self.open), deskew.emit.eq(feeder.emit)]
        for name in feeder.axes:
            for source, sink in zip(getattr(feeder, f"{name}_o"), getattr(grid, f"{name}_i"), strict=True):
                m.d.comb += sink.eq(source)
        for col in range(cfg.array.cols):
            m.d.comb += deskew.i[col].eq(grid.output_o[col])
        drain = deskew.o
        if cfg.dataflow.output_transposed:
            m.submodules.transposer = transposer = Transposer(cfg)
            wiring.connect(m, deskew.o, transposer.i)
            drain = transposer.o
        wiring.connect(m, drain, wiring.flipped(self.o))
        return m
