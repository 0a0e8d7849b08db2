"""Multiplier that is fused from small ones: many products of narrow operands or few of wide ones."""

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dataflows.multipliers import fusion
from rtl.multiplier import MODE, Multiplier, add_shifted
from rtl.shared import shared

BITS = 8
"""Widest operand of a single cycle."""


@shared("leaf")
class Brick(wiring.Component):
    """Product of two numbers of ``leaf`` bits, each signed or unsigned (BitBrick: 2 bits, multiplied as 3 signed ones).

    Members
    -------
    a, w : In(leaf)
    a_signed, w_signed : In(1)
    o : Out(signed(2 * leaf + 1))
    """

    def __init__(self, leaf: int):
        self.leaf = leaf
        ports = {"a": In(leaf), "w": In(leaf), "a_signed": In(1), "w_signed": In(1)}
        super().__init__({**ports, "o": Out(signed(2 * leaf + 1))})

    def elaborate(self, platform):
        m = Module()
        a = Cat(self.a, self.a_signed & self.a[-1]).as_signed()
        w = Cat(self.w, self.w_signed & self.w[-1]).as_signed()
        m.d.comb += self.o.eq(a * w)
        return m


@shared("leaf", "level")
class FusionTree(wiring.Component):
    """Four trees of the level below, each moved left to its place if the operands are so wide; level 0 is a brick.

    Quadrant ``2 * i + j`` takes half ``i`` of operand ``a`` and half ``j`` of operand ``w``, or other elements.

    Parameters
    ----------
    leaf : int
        Bits of a brick's operands.
    level : int
        The operands of one product have up to ``leaf << level`` bits.

    Members
    -------
    a, w : In(leaf), ``4**level`` of them
        Operands of each brick.
    a_signed, w_signed : In(2**level)
        Whether bricks number ``i`` along an operand have its sign.
    a_wide, w_wide : In(level)
        Whether elements are wider than a quadrant of each level takes, lowest level first.
    o : Out(signed)
        Sum of the products. Combinational.
    """

    def __init__(self, leaf: int, level: int):
        self.leaf, self.level = leaf, level
        side = 2**level
        words = {name: In(leaf * side * side) for name in ("a", "w")}
        signs = {name: In(side) for name in ("a_signed", "w_signed")}
        wide = {name: In(level) for name in ("a_wide", "w_wide")}
        super().__init__({**words, **signs, **wide, "o": Out(signed(2 * leaf * side + 1))})

    def elaborate(self, platform):
        m = Module()
        below = self.level - 1
        half, part = 1 << below, self.leaf << below
        word = self.leaf * half * half
        rows = []
        for i in range(2):
            terms = []
            for j in range(2):
                tree = Brick(self.leaf) if below == 0 else FusionTree(self.leaf, below)
                m.submodules[f"quadrant_{i}{j}"] = tree
                m.d.comb += [
                    tree.a.eq(self.a.word_select(2 * i + j, word)),
                    tree.w.eq(self.w.word_select(2 * i + j, word)),
                    tree.a_signed.eq(self.a_signed.word_select(i, half)),
                    tree.w_signed.eq(self.w_signed.word_select(j, half)),
                ]
                if below:
                    m.d.comb += [tree.a_wide.eq(self.a_wide), tree.w_wide.eq(self.w_wide)]
                terms.append(tree.o)
            row = Signal(signed(2 * part + part + 1), name=f"row_{i}")
            m.d.comb += row.eq(terms[0] + Mux(self.w_wide[-1], terms[1].shift_left(part), terms[1]))
            rows.append(row)
        m.d.comb += self.o.eq(rows[0] + Mux(self.a_wide[-1], rows[1].shift_left(part), rows[1]))
        return m


def sources(leaf: int, a_bits: int, w_bits: int) -> list[tuple[int, int]]:
    """For each brick, in the order of a tree's words, which ``leaf`` bits of both operand words it multiplies."""
    side = BITS // leaf
    a_parts, w_parts = a_bits // leaf, w_bits // leaf
    result = []
    for brick in range(side * side):
        i = sum((brick >> 2 * bit + 1 & 1) << bit for bit in range(side.bit_length() - 1))
        j = sum((brick >> 2 * bit & 1) << bit for bit in range(side.bit_length() - 1))
        a_source = i + side * (j // w_parts)
        result.append((a_source, a_source // a_parts * w_parts + j % w_parts))
    return result


@shared("leaf", "operand")
class FusionAligner(wiring.Component):
    """Gives each brick its part of one operand's word. An array can have it once per row or column, at the edge.

    Parameters
    ----------
    leaf : int
        Bits of a brick's operand.
    operand : int
        0: ``a``, 1: ``w``.

    Members
    -------
    i : In
        Word, elements packed.
    a_code, w_code : In(2)
        Widths of the elements of both operands.
    o : Out
        Word, bricks in the order of :class:`FusionTree`. Combinational.
    """

    def __init__(self, leaf: int, operand: int):
        self.leaf, self.operand = leaf, operand
        bits = BITS * BITS // leaf
        super().__init__({"i": In(bits), "a_code": In(2), "w_code": In(2), "o": Out(bits)})

    def elaborate(self, platform):
        m = Module()
        widths = fusion(self.leaf).a_widths
        modes = {(a, w): [s[self.operand] for s in sources(self.leaf, a, w)] for a in widths for w in widths}
        for brick in range(len(self.i) // self.leaf):
            part = self.o.word_select(brick, self.leaf)
            cases: dict[int, list[str]] = {}
            for (a, w), places in modes.items():
                cases.setdefault(places[brick], []).append(f"{a.bit_length() - 1:02b}{w.bit_length() - 1:02b}")
            default, *others = cases
            with m.Switch(Cat(self.w_code, self.a_code)):
                for place in others:
                    with m.Case(*cases[place]):
                        m.d.comb += part.eq(self.i.word_select(place, self.leaf))
                with m.Default():
                    m.d.comb += part.eq(self.i.word_select(default, self.leaf))
        return m


@shared("leaf", "wide")
class FusionUnit(Multiplier):
    """A multiplier of 8-bit operands that is made of bricks: narrower operands give as many times more products.

    Its words are aligned: each brick's operands lie where :class:`FusionTree` wants them.

    Parameters
    ----------
    leaf : int
        Bits of a brick's operands, which are the narrowest that count: 2 as in the source, or 4 for a coarser unit
        (Deeprecon).
    wide : bool
        Operands of up to 16 bits, over several cycles.

    Source
    ------
    Sharma et al., Bit Fusion, ISCA 2018; bricks, recursive shift-add and 16 bits over four cycles as there.
    """

    def __init__(self, leaf: int = 2, wide: bool = True):
        self.leaf, self.wide = leaf, wide
        super().__init__(fusion(leaf, 2 * BITS if wide else BITS))

    def elaborate(self, platform):
        m = Module()
        levels = (BITS // self.leaf).bit_length() - 1
        m.submodules.tree = tree = FusionTree(self.leaf, levels)
        m.d.comb += [tree.a.eq(self.a), tree.w.eq(self.w)]
        for name in ("a", "w"):
            code, is_signed = getattr(self, f"{name}_code"), getattr(self, f"{name}_signed")
            wide = Signal(levels, name=f"{name}_wide")
            m.d.comb += [bit.eq(code > self.leaf.bit_length() - 1 + level) for level, bit in enumerate(wide)]
            tops = [is_signed & ((~wide | number) == 2**levels - 1) for number in range(2**levels)]
            m.d.comb += [getattr(tree, f"{name}_wide").eq(wide), getattr(tree, f"{name}_signed").eq(Cat(tops))]
        if self.wide:
            add_shifted(m, self, tree.o, BITS)
        else:
            total = Signal.like(self.o, name="total", reset_less=True)
            m.d.sync += total.eq(tree.o)
            m.d.comb += self.o.eq(total)
        return m


@shared("leaf", "wide")
class FusionMultiplier(Multiplier):
    """A :class:`FusionUnit` with its aligners in front of it: words are packed as for every other kind."""

    def __init__(self, leaf: int = 2, wide: bool = True):
        self.leaf, self.wide = leaf, wide
        super().__init__(fusion(leaf, 2 * BITS if wide else BITS))

    def elaborate(self, platform):
        m = Module()
        m.submodules.unit = unit = FusionUnit(self.leaf, self.wide)
        for operand, name in enumerate(("a", "w")):
            m.submodules[f"aligner_{name}"] = aligner = FusionAligner(self.leaf, operand)
            m.d.comb += [
                aligner.i.eq(getattr(self, name)),
                aligner.a_code.eq(self.a_code),
                aligner.w_code.eq(self.w_code),
                getattr(unit, name).eq(aligner.o),
            ]
        m.d.comb += [getattr(unit, name).eq(getattr(self, name)) for name in MODE]
        m.d.comb += self.o.eq(unit.o)
        return m
