"""A processing element around any multiplier, so that kinds can be compared with all that a PE has around them."""

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.multiplier import MODE, Multiplier


class MultiplierPE(wiring.Component):
    """Output-stationary PE: words of both operands pass through, the sum stays and is drained.

    Any kind fits between the operand registers and the sum; the other dataflows would have to keep words of
    serial operands.

    Parameters
    ----------
    multiplier : Multiplier
        The kind; becomes a submodule.
    acc_bits : int
        Width of the sum, which is modular.

    Members
    -------
    a_i, w_i, a_o, w_o : In, Out
        Words, from and to the neighbours.
    output_i, output_o : In, Out(signed(acc_bits))
        Drain registers.
    add, begin, last, drain : In(1)
        With a step's sum at the multiplier's output: add it; it is the first of a sum; the last, so that the sum
        goes to the drain register. ``drain``: this takes ``output_i`` otherwise.
    others : In
        What says how words are meant, at the multiplier's input: one line of registers serves a row or column.

    Timing
    ------
    Operands: 1 cycle from ``_i`` to ``_o``. The sum is in ``output_o`` ``latency`` cycles after its last words.
    """

    def __init__(self, multiplier: Multiplier, acc_bits: int = 32):
        self.multiplier = multiplier
        self.acc_bits = acc_bits
        self.latency = 1 + multiplier.latency + 1
        words = {
            f"{name}_{way}": direction(len(getattr(multiplier, name)))
            for name in ("a", "w") for way, direction in (("i", In), ("o", Out))
        }  # fmt: skip
        flags = {name: In(1) for name in ("add", "begin", "last", "drain")}
        modes = {name: In(bits) for name, bits in MODE.items()} | multiplier.more
        sums = {"output_i": In(signed(acc_bits)), "output_o": Out(signed(acc_bits))}
        super().__init__(words | modes | flags | sums)

    def elaborate(self, platform):
        m = Module()
        m.submodules.multiplier = unit = self.multiplier
        for name in ("a", "w"):
            register = Signal.like(getattr(unit, name), name=f"{name}_o", reset_less=True)
            m.d.sync += register.eq(getattr(self, f"{name}_i"))
            m.d.comb += [getattr(self, f"{name}_o").eq(register), getattr(unit, name).eq(register)]
        m.d.comb += [getattr(unit, name).eq(getattr(self, name)) for name in (*MODE, *unit.more)]
        partial = Signal(signed(self.acc_bits), reset_less=True)
        total = Signal(signed(self.acc_bits))
        output = Signal(signed(self.acc_bits), name="output_o", reset_less=True)
        m.d.comb += [total.eq(Mux(self.begin, 0, partial) + unit.o), self.output_o.eq(output)]
        with m.If(self.add):
            m.d.sync += partial.eq(total)
        with m.If(self.last):
            m.d.sync += output.eq(total)
        with m.Elif(self.drain):
            m.d.sync += output.eq(self.output_i)
        return m
