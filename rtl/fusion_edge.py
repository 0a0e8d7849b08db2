"""Edge of an array of fusion units: gives each row or column its bytes of a word, and each brick its bits of these."""

from amaranth import Cat, Module, Mux
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dataflows.sections import Multiplier
from rtl.fusion import BITS, FusionAligner
from rtl.operands import container_code


def precision(m, word):
    """Flag ``precision`` of :func:`rtl.pe.flags` for a word of a :func:`~rtl.operands.word_stream`."""
    codes = [container_code(m, word[f"{name}_bits"], f"{name}_code") for name in "aw"]
    return Cat(*codes, ~word.a_unsigned, ~word.w_unsigned)


class FusionEdge(wiring.Component):
    """Takes packed words apart.

    In a word each lane has, one after the other, as many bytes as the *other* operand's elements fit into 8 bits: so
    many products of one element add up.

    Parameters
    ----------
    unit : Multiplier
        Of kind ``fusion``.
    operand : int
        0: input words, whose lanes are rows; 1: weight words, whose lanes are columns.
    lanes : int

    Members
    -------
    i : In(lanes * 8 / leaf bytes)
        A packed word.
    a_bits, w_bits : In(4)
        Widths of inputs and weights.
    o : Out, one per lane
        Words for the bricks (:class:`~rtl.fusion.FusionAligner`). Combinational.
    """

    def __init__(self, unit: Multiplier, operand: int, lanes: int):
        self.unit = unit
        self.operand = operand
        self.lanes = lanes
        word = unit.law.word_bits()[operand]
        super().__init__({
            "i": In(data.ArrayLayout(8, lanes * word // 8)),
            "a_bits": In(4),
            "w_bits": In(4),
            "o": Out(word).array(lanes),
        })

    def elaborate(self, platform):
        m = Module()
        codes = [container_code(m, bits, f"{name}_code") for name, bits in (("a", self.a_bits), ("w", self.w_bits))]
        widths = self.unit.law.a_widths
        for lane in range(self.lanes):
            m.submodules[f"aligner_{lane}"] = aligner = FusionAligner(self.unit.leaf, self.operand)
            m.d.comb += [
                Cat(aligner.a_code, aligner.w_code).eq(Cat(*codes)),
                self.o[lane].eq(aligner.o),
            ]
            for byte in range(len(aligner.i) // 8):
                places = {bits: lane * BITS // bits + byte for bits in widths if byte < BITS // bits}
                self._choose(m, aligner.i.word_select(byte, 8), codes[1 - self.operand], places)
        return m

    def _choose(self, m, part, code, places):
        """One byte of a lane, which lies in a place for each width of the other operand."""
        (_, default), *others = places.items()
        value = self.i[default]
        for bits, place in others:
            if place != default:
                value = Mux(code == bits.bit_length() - 1, self.i[place], value)
        m.d.comb += part.eq(value)
