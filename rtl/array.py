"""The PE array with its edges, generated from the dataflow description."""

from amaranth import Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dataflows.config import Config, Numbers
from dataflows.vocabulary import Axis, Dataflow
from rtl.drain import Deskew, Transposer, sum_stream
from rtl.feeder import Feeder, operand_stream
from rtl.pe import PE, check, flags, links
from rtl.shared import shared
from rtl.skew import taps


@shared("flow", "numbers", "cols")
class Row(wiring.Component):
    """One row of PEs, and the lines of the flags that travel east.

    Parameters
    ----------
    flow : Dataflow
    numbers : Numbers
    cols : int

    Members
    -------
    <name>_i : In
        West end of each link that travels east.
    <name>_i, <name>_o : In, Out, one per column
        Links that travel south.
    <name>_i : In(1), or one per column
        Flags.
    """

    def __init__(self, flow: Dataflow, numbers: Numbers, cols: int):
        self.flow = flow
        self.numbers = numbers
        self.cols = cols
        ports = {}
        for name, wire in links(flow, numbers).items():
            if wire.axis is Axis.EAST:
                ports[f"{name}_i"] = In(signed(wire.bits))
            else:
                ports[f"{name}_i"] = In(signed(wire.bits)).array(cols)
                ports[f"{name}_o"] = Out(signed(wire.bits)).array(cols)
        for name, flag in flags(flow).items():
            ports[f"{name}_i"] = In(1) if flag.axis is Axis.EAST else In(1).array(cols)
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        wires = links(self.flow, self.numbers)
        east = {name: getattr(self, f"{name}_i") for name, wire in wires.items() if wire.axis is Axis.EAST}
        lines = {name: getattr(self, f"{name}_i") for name in flags(self.flow)}
        for name, flag in flags(self.flow).items():
            if flag.axis is Axis.EAST:
                lines[name] = taps(m, lines[name], self.cols, name, first=flag.stage)
        for col in range(self.cols):
            m.submodules[f"pe_{col}"] = pe = PE(self.flow, self.numbers)
            m.d.comb += [getattr(pe, f"{name}_i").eq(line[col]) for name, line in lines.items()]
            for name in wires:
                pe_i, pe_o = getattr(pe, f"{name}_i"), getattr(pe, f"{name}_o")
                if name in east:
                    m.d.comb += pe_i.eq(east[name])
                    east[name] = pe_o
                else:
                    m.d.comb += [pe_i.eq(getattr(self, f"{name}_i")[col]), getattr(self, f"{name}_o")[col].eq(pe_o)]
        return m


class Grid(wiring.Component):
    """Rows of PEs, one below the other, and the lines of the flags that travel south.

    Parameters
    ----------
    flow : Dataflow
    numbers : Numbers
    rows, cols : int

    Members
    -------
    <name>_i : In, one per row or column
        West or north edge of each link except the output, skewed as the links ask for.
    <name>_i : In(1), one per row or column
        Flags, skewed in the same way.
    output_o : Out(signed(acc_bits)), one per column
        South edge.
    """

    def __init__(self, flow: Dataflow, numbers: Numbers, rows: int, cols: int):
        self.flow = flow
        self.numbers = numbers
        self.rows = rows
        self.cols = cols
        ports = {"output_o": Out(signed(links(flow, numbers)["output"].bits)).array(cols)}
        for name, wire in links(flow, numbers).items():
            if name != "output":
                ports[f"{name}_i"] = In(signed(wire.bits)).array(rows if wire.axis is Axis.EAST else cols)
        for name, flag in flags(flow).items():
            ports[f"{name}_i"] = In(1).array(rows if flag.axis is Axis.EAST else cols)
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        wires = links(self.flow, self.numbers)
        zeros = [0] * self.cols  # sums start from nothing
        south = {name: getattr(self, f"{name}_i", zeros) for name, wire in wires.items() if wire.axis is Axis.SOUTH}
        lines = {name: self._line(m, name, flag) for name, flag in flags(self.flow).items()}
        for index in range(self.rows):
            m.submodules[f"row_{index}"] = row = Row(self.flow, self.numbers, self.cols)
            for name, wire in wires.items():
                if wire.axis is Axis.EAST:
                    m.d.comb += getattr(row, f"{name}_i").eq(getattr(self, f"{name}_i")[index])
                else:
                    for col in range(self.cols):
                        m.d.comb += getattr(row, f"{name}_i")[col].eq(south[name][col])
                    south[name] = getattr(row, f"{name}_o")
            for name, flag in flags(self.flow).items():
                port = getattr(row, f"{name}_i")
                if flag.axis is Axis.EAST:
                    m.d.comb += port.eq(lines[name][index])
                else:
                    m.d.comb += [sink.eq(line[index]) for sink, line in zip(port, lines[name], strict=True)]
        for col in range(self.cols):
            m.d.comb += self.output_o[col].eq(south["output"][col])
        return m

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
    input, weight : In(operand_stream)
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
        self.latency = Feeder.latency + PE.latency + cfg.array.rows - 1 + cfg.array.cols - 1
        self.latency += cfg.dataflow.output_transposed
        super().__init__({
            "input": In(operand_stream(cfg.input_elements, cfg.numbers.act_bits)),
            "weight": In(operand_stream(cfg.weight_elements, cfg.numbers.weight_bits)),
            "open": In(1),
            "o": Out(sum_stream(cfg)),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.cfg
        m.submodules.feeder = feeder = Feeder(cfg)
        m.submodules.grid = grid = Grid(cfg.dataflow, cfg.numbers, cfg.array.rows, cfg.array.cols)
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
