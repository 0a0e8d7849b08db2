"""What all multiplier kinds have in common, and the two simplest parts: the fixed multiplier and the shifting sum."""

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dataflows.multipliers import Law
from rtl.shared import shared


class Multiplier(wiring.Component):
    """Base of all kinds: words of operands in, exact sums of products out.

    A *step* adds up ``law.products(a_bits, w_bits)`` products in ``law.cycles(a_bits, w_bits)`` cycles, whose order is
    ``law.order(a_bits, w_bits)``. In every cycle ``a`` and ``w`` hold a word each: the present piece of element ``k``
    in bits ``k * width`` to ``k * width + width - 1``, the same ``k`` in both, elements without use zero. ``width``
    is ``law.element(a_bits, w_bits)``; operands that do not fill their pieces are extended by their sign, or zeros.

    Parameters
    ----------
    law : Law
        Of the kind.
    more : dict, optional
        Further ports.
    sum_bits : int, optional
        Width of ``o``; by default that of the largest unsigned sum, and a sign.

    Members
    -------
    a, w : In
        Words of the cycle.
    a_code, w_code : In(2)
        Binary logarithm of their elements' widths.
    a_signed, w_signed : In(1)
        The elements of this cycle's word are signed: a signed operand's highest piece.
    first, shift : In(1)
        See :class:`dataflows.multipliers.Cycle`.
    o : Out(signed)
        Exact sum of the step's products.

    Timing
    ------
    ``o`` holds the sum of a step ``latency`` cycles after its last cycle, for one cycle. Steps need no gap between
    them. No register has a reset: the first cycle of a step forgets what was before.

    A kind that has one width ignores the codes, and one whose steps are single cycles ``first`` and ``shift``.
    """

    latency = 1

    def __init__(self, law: Law, more: dict | None = None, sum_bits: int | None = None):
        self.law = law
        self.more = more or {}
        a_bits, w_bits = law.word_bits()
        ports = {name: In(bits) for name, bits in MODE.items()}
        o_bits = law.sum_bits() if sum_bits is None else sum_bits
        super().__init__({"a": In(a_bits), "w": In(w_bits), **ports, **self.more, "o": Out(signed(o_bits))})


MODE = {"a_code": 2, "w_code": 2, "a_signed": 1, "w_signed": 1, "first": 1, "shift": 1}
"""Ports that say how a word is meant, and their widths: the same for all kinds."""


@shared()
class FixedMultiplier(Multiplier):
    """One product of two signed 8-bit numbers per cycle: the multiplier of :class:`rtl.pe.PE`.

    It has no use for ``a_signed`` and ``w_signed``: both operands are.
    """

    def __init__(self):
        super().__init__(Law((8,), (8,), 8, 8), sum_bits=16)

    def elaborate(self, platform):
        m = Module()
        product = Signal.like(self.o, name="product", reset_less=True)
        m.d.sync += product.eq(self.a.as_signed() * self.w.as_signed())
        m.d.comb += self.o.eq(product)
        return m


def add_shifted(m, unit: Multiplier, total, piece: int, negative=None, first=None, shift=None) -> None:
    """Drive ``unit.o`` with the sum that a step has so far.

    Parameters
    ----------
    m : Module
        Of the unit.
    unit : Multiplier
        Whose sum it is.
    total : Value
        This cycle's products, added up.
    piece : int
        Bits by which a shift moves the sum.
    negative : Value, optional
        Subtract the total. It is inverted and a carry comes in below, so that there is one adder.
    first, shift : Value, optional
        Those of the total, if they are not the unit's present ones.
    """
    held, before = Signal.like(unit.o, name="held", reset_less=True), Signal.like(unit.o, name="before")
    first, shift = unit.first if first is None else first, unit.shift if shift is None else shift
    m.d.comb += [before.eq(Mux(first, 0, Mux(shift, held << piece, held))), unit.o.eq(held)]
    if negative is None:
        m.d.sync += held.eq(before + total)
        return
    addend, both = Signal.like(unit.o, name="addend"), Signal(len(held) + 1, name="both")
    m.d.comb += [addend.eq(total), both.eq(Cat(1, before) + Cat(negative, addend ^ negative.replicate(len(addend))))]
    m.d.sync += held.eq(both[1:])


def add_all(m, terms: list, name: str):
    """A balanced tree of adders without registers."""
    level = 0
    while len(terms) > 1:
        pairs = [terms[i] + terms[i + 1] for i in range(0, len(terms) - 1, 2)]
        rest = [terms[-1]] if len(terms) % 2 else []
        terms = []
        for number, value in enumerate([*pairs, *rest]):
            terms.append(Signal(value.shape(), name=f"{name}_{level}_{number}"))
            m.d.comb += terms[-1].eq(value)
        level += 1
    return terms[0]
