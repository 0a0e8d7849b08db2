"""The largest of many numbers that come in the same cycle."""

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.shared import shared
from rtl.tree import RADIX, tree_latency


@shared("count", "bits")
class MaximumTree(wiring.Component):
    """Finds the largest of ``count`` signed numbers.

    Parameters
    ----------
    count : int
        Numbers, at least 1.
    bits : int
        Their width.

    Members
    -------
    i : In(signed(bits)), ``count`` of them
    o : Out(signed(bits))

    Timing
    ------
    As :class:`rtl.tree.AdderTree`: one result per cycle, ``latency`` cycles after its numbers.
    """

    def __init__(self, count: int, bits: int):
        self.count = count
        self.bits = bits
        self.latency = tree_latency(count)
        super().__init__({"i": In(signed(bits)).array(count), "o": Out(signed(bits))})

    def elaborate(self, platform):
        m = Module()
        terms = list(self.i)
        for stage in range(self.latency):
            groups = [terms[i : i + RADIX] for i in range(0, len(terms), RADIX)]
            shape = signed(self.bits)
            terms = [Signal(shape, name=f"largest_{stage}_{i}", reset_less=True) for i in range(len(groups))]
            for number, (term, group) in enumerate(zip(terms, groups, strict=True)):
                m.d.sync += term.eq(self._largest(m, group, f"{stage}_{number}"))
        m.d.comb += self.o.eq(terms[0])
        return m

    def _largest(self, m, values, name):
        """The largest of up to four: pairs, then the pairs' winners."""
        while len(values) > 1:
            winners = []
            for first in range(0, len(values), 2):
                pair = values[first : first + 2]
                if len(pair) == 1:
                    winners.append(pair[0])
                    continue
                winner = Signal(signed(self.bits), name=f"winner_{name}_{len(values)}_{first}")
                m.d.comb += winner.eq(Mux(pair[0] > pair[1], pair[0], pair[1]))
                winners.append(winner)
            values = winners
        return values[0]
