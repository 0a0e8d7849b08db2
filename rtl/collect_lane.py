"""One lane of collecting rows: an element on its way to maximum, sum and sum of squares."""

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.norm_lane import CODE_BITS
from rtl.shared import shared
from rtl.softmax_lane import SCORE_BITS

ELEMENT_BITS = CODE_BITS + 1
"""Of a code less its zero point."""
POWER_BITS = 2 * ELEMENT_BITS - 1
"""Of its square, with a sign."""
LOWEST = -(1 << SCORE_BITS - 1)


@shared()
class CollectLane(wiring.Component):
    """Keeps what comes, and leaves out what does not count.

    Members
    -------
    i : In(signed(16)), take : In(1)
        An element comes.
    word : Out(signed(16))
        The last one that came, one cycle later.
    counts : In(1), zero_x : In(signed(8))
        Of ``word``.
    softmax, norm : In(1)
        ``word`` is complete, and is of a row of either kind.
    square : In(1)
        ``element`` is to be squared: ``norm`` of the cycle before.
    score : Out(signed(16))
        ``word``, or the lowest number where it does not count, one cycle after ``softmax``.
    element : Out(signed(9)), power : Out(signed(17))
        The low byte of ``word`` less ``zero_x``, or 0 where it does not count, one cycle after ``norm``; its square,
        two cycles after it.
    """

    def __init__(self):
        super().__init__({
            "i": In(signed(SCORE_BITS)),
            "take": In(1),
            "word": Out(signed(SCORE_BITS)),
            "counts": In(1),
            "zero_x": In(signed(CODE_BITS)),
            "softmax": In(1),
            "norm": In(1),
            "square": In(1),
            "score": Out(signed(SCORE_BITS)),
            "element": Out(signed(ELEMENT_BITS)),
            "power": Out(signed(POWER_BITS)),
        })

    def elaborate(self, platform):
        m = Module()
        word = Signal(signed(SCORE_BITS), name="kept_word", reset_less=True)
        score = Signal(signed(SCORE_BITS), name="kept_score", reset_less=True)
        element = Signal(signed(ELEMENT_BITS), name="kept_element", reset_less=True)
        power = Signal(signed(POWER_BITS), name="kept_power", reset_less=True)
        m.d.comb += [self.word.eq(word), self.score.eq(score), self.element.eq(element), self.power.eq(power)]
        with m.If(self.take):
            m.d.sync += word.eq(self.i)
        with m.If(self.softmax):
            m.d.sync += score.eq(Mux(self.counts, word, LOWEST))
        with m.If(self.norm):
            m.d.sync += element.eq(Mux(self.counts, word[:CODE_BITS].as_signed() - self.zero_x, 0))
        with m.If(self.square):
            m.d.sync += power.eq(element * element)
        return m
