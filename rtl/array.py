"""The PE array with its edges, generated from the dataflow description."""

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dataflows.config import Config
from dataflows.vocabulary import Axis, Dataflow
from rtl.drain import Deskew, Transposer, sum_stream
from rtl.feeder import Feeder, edge_lanes, operand_stream
from rtl.pe import PE, check, links
from rtl.shared import shared


@shared("flow", "cols")
class Row(wiring.Component):
    """One row of PEs.

    Parameters
    ----------
    flow : Dataflow
    cols : int

    Members
    -------
    <name>_i : In
        West end of each link that travels east.
    <name>_i, <name>_o : In, Out, one per column
        Links that travel south.
    """

    def __init__(self, flow: Dataflow, cols: int):
        self.flow = flow
        self.cols = cols
        ports = {}
        for name, wire in links(flow).items():
            if wire.axis is Axis.EAST:
                ports[f"{name}_i"] = In(wire.shape)
            else:
                ports |= {f"{name}_i": In(wire.shape).array(cols), f"{name}_o": Out(wire.shape).array(cols)}
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        wires = links(self.flow)
        carried = {name: getattr(self, f"{name}_i") for name, wire in wires.items() if wire.axis is Axis.EAST}
        for col in range(self.cols):
            m.submodules[f"pe_{col}"] = pe = PE(self.flow)
            for name, wire in wires.items():
                pe_i, pe_o = getattr(pe, f"{name}_i"), getattr(pe, f"{name}_o")
                if wire.axis is Axis.EAST:
                    m.d.comb += pe_i.eq(carried[name])
                    carried[name] = pe_o
                else:
                    m.d.comb += [pe_i.eq(getattr(self, f"{name}_i")[col]), getattr(self, f"{name}_o")[col].eq(pe_o)]
        return m


class Grid(wiring.Component):
    """Rows of PEs, one below the other.

    Parameters
    ----------
    flow : Dataflow
    rows, cols : int

    Members
    -------
    <name>_i : In, one per row or column
        West or north edge of each link except the output; skewed as the links ask for.
    output_o : Out(signed(32)), one per column
        South edge.
    """

    def __init__(self, flow: Dataflow, rows: int, cols: int):
        self.flow = flow
        self.rows = rows
        self.cols = cols
        ports = {
            f"{name}_i": In(wire.shape).array(rows if wire.axis is Axis.EAST else cols)
            for name, wire in links(flow).items()
            if name != "output"
        }
        super().__init__(ports | {"output_o": Out(links(flow)["output"].shape).array(cols)})

    def elaborate(self, platform):
        m = Module()
        wires = links(self.flow)
        zeros = [0] * self.cols  # sums start from nothing
        north = {
            name: getattr(self, f"{name}_i", zeros) for name, wire in wires.items() if wire.axis is Axis.SOUTH
        }
        for index in range(self.rows):
            m.submodules[f"row_{index}"] = row = Row(self.flow, self.cols)
            for name, wire in wires.items():
                if wire.axis is Axis.EAST:
                    m.d.comb += getattr(row, f"{name}_i").eq(getattr(self, f"{name}_i")[index])
                else:
                    for col in range(self.cols):
                        m.d.comb += getattr(row, f"{name}_i")[col].eq(north[name][col])
                    north[name] = getattr(row, f"{name}_o")
        for col in range(self.cols):
            m.d.comb += self.output_o[col].eq(north["output"][col])
        return m


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
        Words of one sum per output channel. Summed: one per moving word. Drained: ``rows`` per last word of a reduction,
        the pixel of row ``rows - 1`` first. Transposed: ``cols`` per block of ``cols`` moving words, pixel 0 first.

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
            "input": In(operand_stream(cfg.input_elements)),
            "weight": In(operand_stream(cfg.weight_elements)),
            "open": In(1),
            "o": Out(sum_stream(cfg.lanes)),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.cfg
        m.submodules.feeder = feeder = Feeder(cfg)
        m.submodules.grid = grid = Grid(cfg.dataflow, cfg.array.rows, cfg.array.cols)
        m.submodules.deskew = deskew = Deskew(cfg)
        wiring.connect(m, feeder.input, wiring.flipped(self.input))
        wiring.connect(m, feeder.weight, wiring.flipped(self.weight))
        m.d.comb += [feeder.open.eq(self.open), deskew.emit.eq(feeder.emit)]
        for name, wire in feeder.wires.items():
            for lane in range(edge_lanes(cfg, wire.axis)):
                m.d.comb += getattr(grid, f"{name}_i")[lane].eq(getattr(feeder, f"{name}_o")[lane])
        for col in range(cfg.array.cols):
            m.d.comb += deskew.i[col].eq(grid.output_o[col])
        drain = deskew.o
        if cfg.dataflow.output_transposed:
            m.submodules.transposer = transposer = Transposer(cfg.lanes)
            wiring.connect(m, deskew.o, transposer.i)
            drain = transposer.o
        wiring.connect(m, drain, wiring.flipped(self.o))
        return m
