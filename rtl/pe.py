"""The processing element: one component whose stores and links follow from the dataflow description."""

from dataclasses import dataclass

from amaranth import Module, Mux, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dataflows.sections import Multiplier, Numbers
from dataflows.vocabulary import Axis, Dataflow, Kind, Operand
from rtl.multiplier import MODE
from rtl.shared import shared
from rtl.tree import tree_latency


@dataclass(frozen=True)
class Wire:
    """One operand's connection from each PE to its neighbour: ``<name>_i`` and ``<name>_o`` of the PE.

    Attributes
    ----------
    bits : int
        Width.
    axis : Axis
        Direction of the neighbour; both: each PE has a connection of its own to the edge.
    enters, leaves : bool
        Whether the PE has ``<name>_i`` and ``<name>_o``. A multicast operand only enters, by a wire to all PEs along
        its axis; a product for an adder tree only leaves.
    number : bool
        A signed number; else a word whose meaning is the multiplier's affair.
    """

    bits: int
    axis: Axis
    enters: bool = True
    leaves: bool = True
    number: bool = True

    @property
    def shape(self):
        """Of its ports."""
        return signed(self.bits) if self.number else unsigned(self.bits)


@dataclass(frozen=True)
class Flag:
    """Control bits that keep pace with the words on a line of registers beside the PEs.

    Attributes
    ----------
    axis : Axis
        Direction of the line; one register per PE.
    stage : int
        Cycles from the word at the PE's input to its flag at the PE.
    bits : int
        Width.
    """

    axis: Axis
    stage: int
    bits: int = 1


def check(flow: Dataflow) -> None:
    """Refuse a description this generator has no hardware for. Raises ValueError saying what it must be."""
    if not flow.matrix:
        raise ValueError(f"{flow.name}: must unroll whole groups, not {flow.rows.value} and {flow.cols.value}")
    delay = 0 if flow.stationary is None else 1  # a private operand has no way along which to be late
    for operand in Operand:
        if flow.link(operand).delay != delay:
            raise ValueError(
                f"{flow.name}: delay of {operand.value} must be {delay} register{'s' * (not delay)} per hop, "
                f"not {flow.link(operand).delay}"
            )
    if flow.output.axis is not Axis.SOUTH:
        raise ValueError(f"{flow.name}: output must travel south (one lane per column), not {flow.output.axis.value}")
    drains = flow.output.kind is Kind.DRAIN
    if flow.input_serialized != drains or (drains and flow.input.axis is not Axis.EAST):
        raise ValueError(f"{flow.name}: rows must be reduction unless the output is drained, not {flow.rows.value}")
    if flow.output_transposed and flow.stationary is not Operand.INPUT:
        raise ValueError(f"{flow.name}: columns must be channel unless the input stays, not {flow.cols.value}")


def edge(axis: Axis, rows: int, cols: int) -> int:
    """Lanes of the edge at which operands enter that travel along ``axis``."""
    return {Axis.EAST: rows, Axis.SOUTH: cols, Axis.BOTH: rows * cols}[axis]


def links(flow: Dataflow, numbers: Numbers, unit: Multiplier | None = None) -> dict[str, Wire]:
    """Links between neighbouring PEs: ``input``, ``weight``, ``output``, each as wide as its numbers.

    With a ``unit`` operands are words of its law.
    """
    words = unit.law.word_bits() if unit else (numbers.act_bits, numbers.weight_bits)
    wires = {}
    for operand, bits in zip((Operand.INPUT, Operand.WEIGHT), words, strict=True):
        link = flow.link(operand)
        wires[operand.value] = Wire(bits, link.axis, leaves=link.delay > 0, number=unit is None)
    tree = flow.output.delay == 0
    bits = numbers.act_bits + numbers.weight_bits if tree else numbers.acc_bits
    wires["output"] = Wire(bits, flow.output.axis, enters=not tree)
    return wires


PRECISION = ("a_code", "w_code", "a_signed", "w_signed")
"""Ports of a multiplier that say how words of single cycles are meant, in the order of flag ``precision``."""


def flags(flow: Dataflow, unit: Multiplier | None = None) -> dict[str, Flag]:
    """Control bits of the PEs.

    A loaded operand has ``load``: the PE keeps the word; it travels across the operand's way. The moving operand has
    ``swap`` (first word of a tile) or, for drained outputs, ``first`` and ``last`` (of a sum) and ``shift`` (the drain
    registers move on), all three beside the product. Where nothing stays there is nothing to tell. With a ``unit``
    each moving word tells how it and what it meets are meant, beside the operand registers (``precision``).
    """
    if flow.stationary is None:
        return {}
    carrier = flow.link(flow.moving).axis
    told = {"precision": Flag(carrier, stage=1, bits=sum(MODE[name] for name in PRECISION))} if unit else {}
    if flow.output.kind is Kind.DRAIN:
        return {name: Flag(carrier, stage=2) for name in ("first", "last", "shift")} | told
    across = Axis.EAST if flow.link(flow.stationary).axis is Axis.SOUTH else Axis.SOUTH
    return {"load": Flag(across, stage=0), "swap": Flag(carrier, stage=0)} | told


@shared("flow", "numbers", "unit")
class PE(wiring.Component):
    """One multiplier, one adder (unless a tree adds), and the registers the dataflow asks for.

    *Forwarded* operands pass through one register, which is also the multiplier's input. Those that do not go on to a
    neighbour (*multicast* and *private* ones) have it too.

    A *loaded* operand passes through one register too; ``load`` takes the word at the input into the shadow
    register. ``swap`` moves the shadow register to the active one, for the moving word that is at the input and all
    later ones; a word loaded in the same cycle is the next one.

    *Summed* outputs: ``output_o = output_i + product``; for a tree, ``output_o`` is the product. *Drained* outputs:
    products are added up from the one that comes with ``first`` to the one that comes with ``last``; then the sum is in
    the drain register ``output_o``, which takes ``output_i`` when ``shift`` is set.

    Parameters
    ----------
    flow : Dataflow
        Links of the three operands.
    numbers : Numbers
        Their widths.
    unit : Multiplier, optional
        What multiplies instead of one fixed multiplier; each kind has a class of its own (:func:`rtl.pes.pe_of`).

    Members
    -------
    <name>_i, <name>_o : In, Out
        For each of :func:`links`, as far as it enters and leaves.
    <name>_i : In
        Each of :func:`flags`.

    Timing
    ------
    Operands: 1 cycle from ``_i`` to ``_o``. A pair of operands is in ``output_o`` after ``latency`` cycles: operand
    registers, product register, sum or drain register; a product for a tree leaves one cycle earlier. A partial sum
    takes 1 cycle. No register has a reset: words and flags are equally fast, so what is left in the array from before a
    reset stays ahead of the first new word.
    """

    latency = 3

    def __init__(self, flow: Dataflow, numbers: Numbers, unit: Multiplier | None = None):
        check(flow)
        self.flow = flow
        self.numbers = numbers
        self.unit = unit
        ports = {f"{name}_i": In(flag.bits) for name, flag in flags(flow, unit).items()}
        for name, wire in links(flow, numbers, unit).items():
            if wire.enters:
                ports[f"{name}_i"] = In(wire.shape)
            if wire.leaves:
                ports[f"{name}_o"] = Out(wire.shape)
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        wires = links(self.flow, self.numbers, self.unit)
        factors = []
        for operand in (Operand.INPUT, Operand.WEIGHT):
            word = getattr(self, f"{operand.value}_i")
            if wires[operand.value].leaves:
                passed = self._register(m, operand.value)
            else:
                passed = Signal.like(word, name=operand.value, reset_less=True)
            m.d.sync += passed.eq(word)
            factors.append(self._keep(m, word) if self.flow.link(operand).kind is Kind.LOAD else passed)
        output = self._register(m, "output")
        if not wires["output"].enters:
            m.d.sync += output.eq(factors[0] * factors[1])
            return m
        product = self._product(m, *factors)
        if self.flow.output.kind is Kind.SUM:
            m.d.sync += output.eq(self.output_i + product)
        else:
            self._accumulate(m, product, output)
        return m

    def _product(self, m, x, w):
        """The product register."""
        product = Signal(signed(self.numbers.act_bits + self.numbers.weight_bits), reset_less=True)
        m.d.sync += product.eq(x * w)
        return product

    def _register(self, m, name):
        """The register behind output port ``name``; it has the port's name, so that Verilog shows one."""
        port = getattr(self, f"{name}_o")
        register = Signal.like(port, name=f"{name}_o", reset_less=True)
        m.d.comb += port.eq(register)
        return register

    def _keep(self, m, word):
        """Shadow and active register of the loaded operand; returns the active one."""
        shadow = Signal(word.shape(), reset_less=True)
        active = Signal(word.shape(), reset_less=True)
        with m.If(self.load_i):
            m.d.sync += shadow.eq(word)
        with m.If(self.swap_i):
            m.d.sync += active.eq(shadow)
        return active

    def _accumulate(self, m, product, drain):
        """Partial sum, and the drain register that takes it."""
        partial = Signal(drain.shape(), reset_less=True)
        total = Signal(drain.shape())
        m.d.comb += total.eq(Mux(self.first_i, 0, partial) + product)
        m.d.sync += partial.eq(total)
        with m.If(self.last_i):
            m.d.sync += drain.eq(total)
        with m.Elif(self.shift_i):
            m.d.sync += drain.eq(self.output_i)


def sum_cycles(flow: Dataflow, rows: int) -> int:
    """Cycles from a pair of operands at the first PE of a column to the column's sum at the south edge."""
    if flow.output.delay == 0:
        return PE.latency - 1 + tree_latency(rows)
    return PE.latency + rows - 1
