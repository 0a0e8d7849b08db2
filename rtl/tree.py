"""Adder trees: the sum of a column whose products all come in the same cycle."""

from amaranth import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.shared import shared

RADIX = 4
"""Numbers that are added between two registers: two levels of two-input adders."""


@shared("count", "bits", "sum_bits")
class AdderTree(wiring.Component):
    """Adds ``count`` signed numbers, modulo ``2**sum_bits``; each stage is as wide as its sums can become.

    Parameters
    ----------
    count : int
        Numbers to add, at least 1.
    bits : int
        Their width.
    sum_bits : int
        Width of the sum.

    Members
    -------
    i : In(signed(bits)), ``count`` of them
    o : Out(signed(sum_bits))

    Timing
    ------
    One sum per cycle, ``latency`` cycles after its numbers: a register for each stage of ``RADIX`` to one, none for a
    single number.
    """

    def __init__(self, count: int, bits: int, sum_bits: int):
        self.count = count
        self.bits = bits
        self.sum_bits = sum_bits
        self.latency = tree_latency(count)
        super().__init__({"i": In(signed(bits)).array(count), "o": Out(signed(sum_bits))})

    def elaborate(self, platform):
        m = Module()
        terms = list(self.i)
        for stage in range(self.latency):
            groups = [terms[i : i + RADIX] for i in range(0, len(terms), RADIX)]
            bits = min(self.sum_bits, len(terms[0]) + (RADIX - 1).bit_length())
            terms = [Signal(signed(bits), name=f"sum_{stage}_{i}", reset_less=True) for i in range(len(groups))]
            m.d.sync += [term.eq(sum(group)) for term, group in zip(terms, groups, strict=True)]
        m.d.comb += self.o.eq(terms[0])
        return m


def tree_latency(count: int) -> int:
    """Stages of a tree that adds ``count`` numbers."""
    stages = 0
    while RADIX**stages < count:
        stages += 1
    return stages
