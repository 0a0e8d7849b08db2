"""Laws of multiplier kinds: which operand widths they take, in how many cycles, how many products at a time.

Operands that are wider than a word of one cycle lets them be come in *pieces* of that width, signed at the top only.
All pairs of pieces follow each other, highest places first; whenever the place falls, what has been added up so far
moves left by one piece. Bit planes are pieces of one bit, so this one rule covers 16-bit operands of a
fusion unit (four cycles of 8 bits) and bit-serial multipliers alike.
"""

from collections.abc import Iterator
from dataclasses import dataclass

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
