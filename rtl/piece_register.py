"""A register at the edge of an array: takes the packed elements of a step, hands them out piece by piece."""

from amaranth import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.shared import shared


def by_container(m: Module, code, containers: tuple[int, ...]):
    """Each of ``containers`` in the case in which ``code`` says that it is the present one; there may be only one."""
    if len(containers) == 1:
        yield containers[0]
        return
    with m.Switch(code):
        for container in containers[:-1]:
            with m.Case(container.bit_length() - 1):
                yield container
        with m.Default():
            yield containers[-1]


TOLD = {"code": 2, "is_unsigned": 1, "piece": 3}
"""Inputs that say what to do with elements, where there is more than one case; widths."""


@shared("lanes", "containers", "piece_bits", "bits")
class PieceRegister(wiring.Component):
    """Takes ``lanes`` packed elements and hands out a piece of each.

    Parameters
    ----------
    lanes : int
    containers : tuple of int
        Widths that the packed elements can have, ascending.
    piece_bits : int
        1: bit planes, which are kept as planes. Otherwise elements have one piece of so many bits: they are extended
        by their sign or zeros, and piece numbers do not count.
    bits : int
        Widest elements; containers may be wider.

    Members
    -------
    i_<container> : In(lanes * container)
        Elements as they lie in containers of each width: number ``k`` in bits ``k * container`` and up.
    take : In(1)
        Take them.
    code : In(2), if there are several containers
        Binary logarithm of the container.
    is_unsigned : In(1), if there are several containers and no planes
        Elements are extended by zeros.
    piece : In(3), if there are several planes
        Number of the plane to hand out.
    o : Out(lanes * piece_bits)
        Element ``k`` in bits ``k * piece_bits`` and up.

    Timing
    ------
    What is taken is there in the next cycle; ``o`` follows ``piece`` in the same cycle.
    """

    def __init__(self, lanes: int, containers: tuple[int, ...], piece_bits: int, bits: int):
        self.lanes, self.containers, self.piece_bits, self.bits = lanes, containers, piece_bits, bits
        words = {f"i_{container}": In(lanes * container) for container in containers}
        several, planes = len(containers) > 1, piece_bits == 1
        wanted = {"code": several, "is_unsigned": several and not planes, "piece": planes and bits > 1}
        self.told = {name: In(width) for name, width in TOLD.items() if wanted[name]}
        super().__init__({**words, "take": In(1), **self.told, "o": Out(lanes * piece_bits)})

    def elaborate(self, platform):
        m = Module()
        if self.piece_bits == 1:
            self._planes(m)
        else:
            self._elements(m)
        return m

    def _planes(self, m):
        planes = [Signal(self.lanes, name=f"plane_{p}", reset_less=True) for p in range(self.bits)]
        with m.If(self.take):
            for container in by_container(m, getattr(self, "code", None), self.containers):
                word = getattr(self, f"i_{container}")
                m.d.sync += [plane.eq(word[p::container]) for p, plane in enumerate(planes[:container])]
        if "piece" not in self.told:
            m.d.comb += self.o.eq(planes[0])
            return
        with m.Switch(self.piece):
            for p, plane in enumerate(planes[:-1]):
                with m.Case(p):
                    m.d.comb += self.o.eq(plane)
            with m.Default():
                m.d.comb += self.o.eq(planes[-1])

    def _elements(self, m):
        elements = Signal.like(self.o, name="elements", reset_less=True)
        m.d.comb += self.o.eq(elements)
        with m.If(self.take):
            for container in by_container(m, getattr(self, "code", None), self.containers):
                word = getattr(self, f"i_{container}")
                packed = [word.word_select(k, container) for k in range(self.lanes)]
                m.d.sync += elements.eq(Cat(self._extended(element) for element in packed))

    def _extended(self, element):
        room = self.piece_bits - len(element)
        if room <= 0:
            return element[: self.piece_bits]
        return Cat(element, (element[-1] & ~self.is_unsigned).replicate(room))
