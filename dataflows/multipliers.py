"""Laws of multiplier kinds: which operand widths they take, in how many cycles, how many products at a time.

Operands that are wider than a word of one cycle lets them be come in *pieces* of that width, signed at the top only.
All pairs of pieces follow each other, highest places first; whenever the place falls, what has been added up so far
moves left by one piece. Bit planes are pieces of one bit, so this one rule covers 16-bit operands of a
fusion unit (four cycles of 8 bits) and bit-serial multipliers alike.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from dataflows.errors import InputError


@dataclass(frozen=True)
class Cycle:
    """One cycle of a step: which pieces of both operands are multiplied, piece 0 being the lowest.

    Attributes
    ----------
    a, w : int
        Numbers of the pieces.
    a_top, w_top : bool
        Whether they are the highest pieces, whose elements are signed where the operand is.
    first : bool
        First cycle of the step: what was added up before does not count.
    shift : bool
        What has been added up moves left by one piece before this cycle's products are added.
    """

    a: int
    w: int
    a_top: bool
    w_top: bool
    first: bool
    shift: bool


@dataclass(frozen=True)
class Law:
    """What one multiplier of a kind does in a step.

    Attributes
    ----------
    a_widths, w_widths : tuple of int
        Widths that the elements of a cycle's word can have, narrowest first.
    a_max, w_max : int
        Widest operands, in pieces of the widest width.
    lanes : int
        Products of a cycle with elements of the widest widths.
    packed : bool
        Whether narrower elements give as many times more products.
    """

    a_widths: tuple[int, ...]
    w_widths: tuple[int, ...]
    a_max: int
    w_max: int
    lanes: int = 1
    packed: bool = False

    def element(self, a_bits: int, w_bits: int) -> tuple[int, int]:
        """Widths of the elements in the words of a cycle. Raises :class:`InputError` for operands that are too wide."""
        return _piece("a", self.a_widths, self.a_max, a_bits), _piece("w", self.w_widths, self.w_max, w_bits)

    def pieces(self, a_bits: int, w_bits: int) -> tuple[int, int]:
        """How many pieces each operand has."""
        a, w = self.element(a_bits, w_bits)
        return -(-a_bits // a), -(-w_bits // w)

    def products(self, a_bits: int, w_bits: int) -> int:
        """Products that a step adds up."""
        a, w = self.element(a_bits, w_bits)
        return self.lanes * ((self.a_widths[-1] // a) * (self.w_widths[-1] // w) if self.packed else 1)

    def cycles(self, a_bits: int, w_bits: int) -> int:
        """Cycles of a step; one follows the other without a gap."""
        a, w = self.pieces(a_bits, w_bits)
        return a * w

    def order(self, a_bits: int, w_bits: int) -> Iterator[Cycle]:
        """The cycles of a step."""
        a_pieces, w_pieces = self.pieces(a_bits, w_bits)
        pairs = sorted(((a, w) for a in range(a_pieces) for w in range(w_pieces)), key=lambda pair: -sum(pair))
        place = a_pieces + w_pieces - 2
        for number, (a, w) in enumerate(pairs):
            yield Cycle(a, w, a == a_pieces - 1, w == w_pieces - 1, number == 0, a + w < place)
            place = a + w

    def word_bits(self) -> tuple[int, int]:
        """Bits of the longest word of each operand."""
        modes = [(a, w, self.products(a, w)) for a in self.a_widths for w in self.w_widths]
        return max(a * count for a, _, count in modes), max(w * count for _, w, count in modes)

    def sum_bits(self) -> int:
        """Bits of a signed number that holds every step's sum."""
        modes = [(a, w) for a in (*self.a_widths, self.a_max) for w in (*self.w_widths, self.w_max)]
        return max((self.products(a, w) * ((1 << a) - 1) * ((1 << w) - 1)).bit_length() for a, w in modes) + 1


def _piece(name: str, widths: tuple[int, ...], most: int, bits: int) -> int:
    if not 1 <= bits <= most:
        raise InputError(f"operand {name} has {bits} bits, but this multiplier takes 1 to {most}")
    return next((width for width in widths if width >= bits), widths[-1])


MultiplierKind = Literal["fusion", "serial_input", "serial_weight", "serial", "table", "binary", "ternary"]
"""Kinds that the configuration can ask for, beside the fixed multiplier."""

OPERANDS: dict[MultiplierKind, tuple[int, int]] = {
    "fusion": (2, 8), "serial_input": (2, 8), "serial_weight": (2, 8), "serial": (2, 8), "table": (2, 8),
    "binary": (1, 1), "ternary": (2, 2),
}  # fmt: skip
"""Narrowest and widest operands of each kind in an accelerator. One bit there means +1 and -1, which only one takes."""


def fusion(leaf: int, widest: int = 8) -> Law:
    """A unit of 8-bit operands made of multipliers of ``leaf`` bits; ``widest`` 16: wider ones over several cycles."""
    if leaf not in (2, 4):
        raise ValueError(f"leaf must be 2 or 4 bits, not {leaf}")
    widths = tuple(leaf << level for level in range((8 // leaf).bit_length()))
    return Law(widths, widths, widest, widest, packed=True)


def law(kind: MultiplierKind | None, lanes: int = 1, leaf: int = 2, bits: int = 8) -> Law:
    """Law of a kind of at most ``bits`` bits; None is the fixed multiplier."""
    match kind:
        case None:
            return Law((bits,), (bits,), bits, bits)
        case "fusion":
            return fusion(leaf)
        case "binary":
            return Law((1,), (1,), 1, 1, lanes)
        case "ternary":
            return Law((2,), (2,), 2, 2, lanes)
    a, w = {"serial_input": (1, bits), "serial_weight": (bits, 1), "serial": (1, 1), "table": (bits, 1)}[kind]
    return Law((a,), (w,), bits, bits, lanes)


@dataclass(frozen=True)
class Reduction:
    """How an array takes the reduction at one precision: what a *reduction word* is.

    Attributes
    ----------
    a_width, w_width : int
        Bits of an input and of a weight in memory (:func:`dataflows.formats.container`).
    products : int
        Of one multiplier in a step.
    cycles : int
        Of a step.
    steps : int
        Of a reduction word, and so the weight words that belong to one.
    cols : int
        Columns of the array.
    """

    a_width: int
    w_width: int
    products: int
    cycles: int
    steps: int
    cols: int

    @property
    def depth(self) -> int:
        """Reduction indices of a reduction word; index (step, product) is ``step * products + product``."""
        return self.steps * self.products

    @property
    def input_bytes(self) -> int:
        """Bytes of an input word."""
        return self.depth * self.a_width // 8

    @property
    def step_bytes(self) -> int:
        """Bytes of a weight word: ``products`` weights for each column."""
        return self.cols * self.products * self.w_width // 8

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weight words of a reduction word."""
        return self.steps * self.step_bytes

    @property
    def word_cycles(self) -> int:
        """Cycles of a reduction word, for one output word of an array whose sums stay."""
        return self.steps * self.cycles
