"""Multipliers that take one or both operands piece by piece, and add up many lanes before anything is shifted."""

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dataflows.multipliers import Law
from rtl.fusion import Brick
from rtl.multiplier import Multiplier, add_all, add_shifted
from rtl.shared import shared


@shared("lanes", "a_piece", "w_piece", "bits")
class SerialMultiplier(Multiplier):
    """Sums of ``lanes`` products, a piece of each operand per cycle.

    ======== ======== ===========================================================================================
    a_piece  w_piece  what it is
    ======== ======== ===========================================================================================
    1        8        Stripes: activation bits serial, weights parallel; AND gates and an adder tree
    1        1        Loom and BISMO: both operands serial; AND gates and a count of ones
    2        2        bricks of a fusion unit in time instead of in space, with one shift-add for all of them
    ======== ======== ===========================================================================================

    A sign plane is subtracted, and so is the product of a sign plane with another plane. A step of Loom's holds a
    plane of weights while the planes of activations pass, in a second accumulator; here, as in BISMO, planes come in
    the order of their places, and one accumulator does. The cycles are the same.

    Parameters
    ----------
    lanes : int
        Products of a step.
    a_piece, w_piece : int
        Bits of an element that come in a cycle. Equal, or one of them is ``bits``.
    bits : int
        Widest operands.

    Source
    ------
    Judd et al., Stripes, MICRO 2016. Sharify et al., Loom, DAC 2018; deviation: the order of planes.
    Umuroglu et al., BISMO, FPL 2018; deviation: a step shifts a sum of its own, not one of many steps.
    """

    def __init__(self, lanes: int, a_piece: int, w_piece: int, bits: int = 8):
        if a_piece != w_piece and bits not in (a_piece, w_piece):
            raise ValueError(f"pieces must be equal or one of them {bits} bits, not {a_piece} and {w_piece}")
        self.lanes, self.a_piece, self.w_piece, self.bits = lanes, a_piece, w_piece, bits
        super().__init__(Law((a_piece,), (w_piece,), bits, bits, lanes=lanes))

    def elaborate(self, platform):
        m = Module()
        factors = []
        for word, piece, is_signed in ((self.a, self.a_piece, self.a_signed), (self.w, self.w_piece, self.w_signed)):
            parts = [word.word_select(lane, piece) for lane in range(self.lanes)]
            factors.append(parts if piece == 1 else [Cat(p, p[-1] & is_signed).as_signed() for p in parts])
        if self.a_piece == 1 and self.w_piece == 1:
            products = [a & w for a, w in zip(*factors, strict=True)]
        elif self.a_piece == 1:
            products = [Mux(a, w, 0) for a, w in zip(*factors, strict=True)]
        elif self.w_piece == 1:
            products = [Mux(w, a, 0) for a, w in zip(*factors, strict=True)]
        else:
            products = [a * w for a, w in zip(*factors, strict=True)]
        signs = [s for s, p in ((self.a_signed, self.a_piece), (self.w_signed, self.w_piece)) if p == 1]
        negative = signs[0] ^ signs[1] if len(signs) == 2 else signs[0] if signs else None
        add_shifted(m, self, add_all(m, products, "sum"), min(self.a_piece, self.w_piece), negative)
        return m


@shared("leaf", "places", "bits")
class TemporalUnit(wiring.Component):
    """One brick in time: its product moves to its place and is added to a register as wide as a whole sum.

    Members
    -------
    a, w : In(leaf)
    a_signed, w_signed, first : In(1)
    place : In
        Places of both pieces, added.
    o : Out(signed(bits))
    """

    def __init__(self, leaf: int, places: int, bits: int):
        self.leaf, self.places, self.bits = leaf, places, bits
        flags = {name: In(1) for name in ("a_signed", "w_signed", "first")}
        super().__init__({"a": In(leaf), "w": In(leaf), **flags, "place": In(range(places)), "o": Out(signed(bits))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.brick = brick = Brick(self.leaf)
        m.d.comb += [getattr(brick, name).eq(getattr(self, name)) for name in ("a", "w", "a_signed", "w_signed")]
        moved = Signal(signed(2 * self.leaf + 1 + self.leaf * (self.places - 1)))
        with m.Switch(self.place):
            for place in range(self.places):
                with m.Case(place):
                    m.d.comb += moved.eq(brick.o << self.leaf * place)
        held = Signal.like(self.o, name="held", reset_less=True)
        m.d.sync += held.eq(Mux(self.first, 0, held) + moved)
        m.d.comb += self.o.eq(held)
        return m


@shared("lanes", "leaf", "bits")
class TemporalMultiplier(Multiplier):
    """Bricks in time, each with a shifter and a register of its own: what a fusion unit is compared with.

    Takes one more input, ``place``: numbers of the present pieces, added. ``lanes`` bricks make ``lanes`` products of
    8-bit operands in 16 cycles, as many as a fusion unit with as many bricks.

    Parameters
    ----------
    lanes, leaf, bits : int
        Bricks, bits of their operands, and widest operands.

    Source
    ------
    Sharma et al., Bit Fusion, ISCA 2018, the temporal design of its table of areas. Its bricks have no sum of all
    lanes; this one adds their registers up, outside of :class:`TemporalUnit`.
    """

    def __init__(self, lanes: int = 16, leaf: int = 2, bits: int = 8):
        self.lanes, self.leaf, self.bits = lanes, leaf, bits
        self.places = 2 * (bits // leaf) - 1
        law = Law((leaf,), (leaf,), bits, bits, lanes=lanes)
        super().__init__(law, {"place": In(range(self.places))})

    def elaborate(self, platform):
        m = Module()
        sums = []
        for lane in range(self.lanes):
            m.submodules[f"unit_{lane}"] = unit = TemporalUnit(self.leaf, self.places, 2 * self.bits + 1)
            m.d.comb += [
                unit.a.eq(self.a.word_select(lane, self.leaf)),
                unit.w.eq(self.w.word_select(lane, self.leaf)),
                unit.place.eq(self.place),
            ]
            m.d.comb += [getattr(unit, name).eq(getattr(self, name)) for name in ("a_signed", "w_signed", "first")]
            sums.append(unit.o)
        m.d.comb += self.o.eq(add_all(m, sums, "sum"))
        return m
