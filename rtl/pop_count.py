"""How many bits of a mask are set, by a tree of adders."""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class PopCount(wiring.Component):
    """Counts the set bits of a mask.

    Parameters
    ----------
    width : int
        Bits of the mask, at least 1.

    Members
    -------
    i : In(width)
    o : Out(range(width + 1))

    Timing
    ------
    One mask per cycle, ``latency`` cycles later.
    """

    latency = 1

    def __init__(self, width: int):
        if width < 1:
            raise ValueError(f"PopCount width must be at least 1, not {width}")
        self.width = width
        super().__init__({"i": In(width), "o": Out(range(width + 1))})

    def elaborate(self, platform):
        m = Module()
        terms = list(self.i)
        level = 0
        while len(terms) > 1:
            pairs = [terms[i : i + 2] for i in range(0, len(terms), 2)]
            terms = [Signal(level + 2, name=f"count_{level}_{n}") for n in range(len(pairs))]
            m.d.comb += [term.eq(sum(pair)) for term, pair in zip(terms, pairs, strict=True)]
            level += 1
        m.d.sync += self.o.eq(terms[0])
        return m
