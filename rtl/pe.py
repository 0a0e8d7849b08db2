"""The processing element: one component whose stores and links follow from the dataflow description."""

from dataclasses import dataclass

from amaranth import Module, Mux, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dataflows.vocabulary import Axis, Dataflow, Kind, Operand
from rtl.shared import shared


@dataclass(frozen=True)
class Wire:
    """One connection from each PE to its neighbour: ``<name>_i`` and ``<name>_o`` of the PE.

    Attributes
    ----------
    shape : Shape
        Of the value.
    axis : Axis
        Direction of the neighbour.
    """

    shape: object
    axis: Axis


def check(flow: Dataflow) -> None:
    """Refuse a description this generator has no hardware for. Raises ValueError saying what it must be."""
    for operand in Operand:
        if flow.link(operand).delay != 1:
            raise ValueError(
                f"{flow.name}: delay of {operand.value} must be 1 register per hop, not {flow.link(operand).delay}"
            )
    if flow.output.axis is not Axis.SOUTH:
        raise ValueError(f"{flow.name}: output must travel south (one lane per column), not {flow.output.axis.value}")
    drains = flow.output.kind is Kind.DRAIN
    if flow.input_serialized != drains or (drains and flow.input.axis is not Axis.EAST):
        raise ValueError(f"{flow.name}: rows must be reduction unless the output is drained, not {flow.rows.value}")
    if drains and flow.output_transposed:
        raise ValueError(f"{flow.name}: columns must be channel when the output is drained, not {flow.cols.value}")


def links(flow: Dataflow) -> dict[str, Wire]:
    """All wires between neighbouring PEs.

    ``input``, ``weight``, ``output``: the operands; 8 bits, partial sums 32 bits. A loaded operand comes with ``load``
    (a word is here); the moving operand carries ``swap`` (first word of a tile) or, for drained outputs,
    ``first`` and ``last`` (of a sum) and ``shift`` (the drain registers move on).
    """
    wires = {
        "input": Wire(signed(8), flow.input.axis),
        "weight": Wire(signed(8), flow.weight.axis),
        "output": Wire(signed(32), flow.output.axis),
    }
    carrier = flow.link(flow.moving).axis
    if flow.output.kind is Kind.DRAIN:
        wires |= {name: Wire(unsigned(1), carrier) for name in ("first", "last", "shift")}
    else:
        wires |= {"load": Wire(unsigned(1), flow.link(flow.stationary).axis), "swap": Wire(unsigned(1), carrier)}
    return wires


@shared("flow")
class PE(wiring.Component):
    """One multiplier, one adder, and the registers the dataflow asks for.

    *Forwarded* operands pass through one register, which is also the multiplier's input.

    A *loaded* operand passes through one register too, unless the PE is armed: then the first word that comes is kept
    in the shadow register and not passed on. ``swap`` moves the shadow register to the active one, for the
    moving word it travels with and all later ones, and arms the PE again; a word that comes in the same cycle is kept.

    *Summed* outputs: ``output_o = output_i + product``. *Drained* outputs: products are added up from the word that
    carries ``first`` to the one that carries ``last``; then the sum is in the drain register ``output_o``, which takes
    ``output_i`` when ``shift`` is set.

    Parameters
    ----------
    flow : Dataflow
        Links of the three operands.

    Members
    -------
    <name>_i, <name>_o : In, Out
        One pair for each entry of :func:`links`.

    Timing
    ------
    Operands and flags: 1 cycle from ``_i`` to ``_o``. A pair of operands is in ``output_o`` after ``latency``
    cycles: operand registers, product register, sum or drain register. A partial sum takes 1 cycle.
    """

    latency = 3

    def __init__(self, flow: Dataflow):
        check(flow)
        self.flow = flow
        ports = {}
        for name, wire in links(flow).items():
            ports |= {f"{name}_i": In(wire.shape), f"{name}_o": Out(wire.shape)}
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        factors = []
        for operand in (Operand.INPUT, Operand.WEIGHT):
            loaded = self.flow.link(operand).kind is Kind.LOAD
            factors.append(self._loaded(m, operand) if loaded else self._pass(m, operand.value, reset_less=True))
        product = Signal(signed(16), reset_less=True)
        m.d.sync += product.eq(factors[0] * factors[1])
        if self.flow.output.kind is Kind.SUM:
            total = self._register(m, "output")
            m.d.sync += total.eq(self.output_i + product)
        else:
            self._accumulate(m, product)
        return m

    def _register(self, m, name, **options):
        """The register behind output port ``name``; it has the port's name, so that Verilog shows one."""
        port = getattr(self, f"{name}_o")
        register = Signal.like(port, name=f"{name}_o", **({"reset_less": True} | options))
        m.d.comb += port.eq(register)
        return register

    def _pass(self, m, name, **options):
        """A link that is registered from neighbour to neighbour."""
        register = self._register(m, name, **options)
        m.d.sync += register.eq(getattr(self, f"{name}_i"))
        return register

    def _loaded(self, m, operand):
        shadow = Signal(signed(8), reset_less=True)
        active = Signal(signed(8), reset_less=True)
        armed = Signal(init=1)
        keep = Signal()
        swap = self.swap_i
        self._pass(m, "swap", reset_less=False)
        self._pass(m, operand.value, reset_less=True)
        passing = self._register(m, "load", reset_less=False)
        m.d.comb += keep.eq(self.load_i & (armed | swap))
        m.d.sync += [passing.eq(self.load_i & ~keep), armed.eq((armed | swap) & ~keep)]
        with m.If(keep):
            m.d.sync += shadow.eq(getattr(self, f"{operand.value}_i"))
        with m.If(swap):
            m.d.sync += active.eq(shadow)
        return active

    def _accumulate(self, m, product):
        flags = {}
        for name in ("first", "last", "shift"):
            flags[name] = Signal(name=f"product_{name}")  # beside the product register
            m.d.sync += flags[name].eq(self._pass(m, name, reset_less=False))
        partial = Signal(signed(32), reset_less=True)
        total = Signal(signed(32))
        m.d.comb += total.eq(Mux(flags["first"], 0, partial) + product)
        m.d.sync += partial.eq(total)
        drain = self._register(m, "output")
        with m.If(flags["last"]):
            m.d.sync += drain.eq(total)
        with m.Elif(flags["shift"]):
            m.d.sync += drain.eq(self.output_i)
