"""Leading-non-zero detection: the first set bit of a mask, by a tree of nodes with four inputs."""

from amaranth import Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.shared import shared

RADIX = 4
"""Inputs of a node."""


@shared("width")
class LeadingNonZero(wiring.Component):
    """Finds the lowest set bit of a mask.

    A node says whether any of its inputs is set, and which is the first; on the way to the root each level adds two
    bits to the index. Nodes that only repeat their single input are left out.

    Parameters
    ----------
    width : int
        Bits of the mask, at least 1.

    Members
    -------
    mask : In(width)
    found : Out(1)
        Any bit is set.
    index : Out(range(width))
        Position of the lowest set bit; 0 where there is none.
    rest : Out(width)
        The mask without that bit.

    Timing
    ------
    Combinational: ``levels`` nodes deep.

    Source
    ------
    Han et al., EIE, ISCA 2016: quadtree of nodes over the activations.
    """

    def __init__(self, width: int):
        if width < 1:
            raise ValueError(f"LeadingNonZero width must be at least 1, not {width}")
        self.width = width
        self.levels = 0
        while RADIX**self.levels < width:
            self.levels += 1
        super().__init__({"mask": In(width), "found": Out(1), "index": Out(range(width)), "rest": Out(width)})

    def elaborate(self, platform):
        m = Module()
        nodes = [(bit, Const(0, 0)) for bit in self.mask]
        for level in range(self.levels):
            groups = [nodes[i : i + RADIX] for i in range(0, len(nodes), RADIX)]
            nodes = [self._node(m, f"{level}_{number}", 2 * level, group) for number, group in enumerate(groups)]
        ((found, index),) = nodes
        m.d.comb += [self.found.eq(found), self.index.eq(index), self.rest.eq(self.mask & (self.mask - 1))]
        return m

    def _node(self, m, name, bits, inputs):
        """Join up to four (found, index of ``bits`` bits); returns the same, with two more bits of index."""
        found = Signal(name=f"found_{name}")
        index = Signal(bits + 2, name=f"index_{name}")
        chosen = Const(0, bits + 2)
        for place, (bit, below) in reversed(list(enumerate(inputs))):
            chosen = Mux(bit, place << bits | below, chosen)
        any_bit = inputs[0][0]
        for bit, _ in inputs[1:]:
            any_bit = any_bit | bit
        m.d.comb += [found.eq(any_bit), index.eq(chosen)]
        return found, index
