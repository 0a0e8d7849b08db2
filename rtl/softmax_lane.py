"""One lane of the row engine's softmax: a score to a numerator."""

from amaranth import Array, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.shared import shared

SCORE_BITS = 16
FRACTION_BITS = 8
NUMERATOR_BITS = 7
POWERS = tuple(round(127 * 2**FRACTION_BITS * 2 ** (-x / 256)) for x in range(256))
"""Powers of one half, times the largest numerator (``docs/numerics.md``, section 9); none is a tie."""
_POWER_BITS = NUMERATOR_BITS + FRACTION_BITS


@shared()
class PowerTable(wiring.Component):
    """``o = T[i]``, combinational: a module of its own, so that tools find the table."""

    def __init__(self):
        super().__init__({"i": In(FRACTION_BITS), "o": Out(_POWER_BITS)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.o.eq(Array(Const(value, _POWER_BITS) for value in POWERS)[self.i])
        return m


@shared("drops")
class SoftmaxLane(wiring.Component):
    """``o = (T[(m - s) mod 256] >> ((m - s) div 256) + 128) >> 8`` where the element counts, 0 elsewhere.

    Parameters
    ----------
    drops : bool
        Whether small numerators become 0, too.

    Members
    -------
    score : In(signed(16)), maximum : In(signed(16))
        s and m, with ``stage[0]``; ``maximum`` is at least ``score`` where the element counts.
    counts : In(1)
        With ``stage[counting]``.
    bound : In(8)
        With ``drops``, with ``stage[counting]``: twice the least numerator that stays, less one; 0: all stay.
    stage : In(latency)
        Bit i: an element is at the input of stage i; clock enables.
    o : Out(7)

    Timing
    ------
    One element per cycle, ``latency`` = 4 cycles.
    """

    latency = 4
    counting = 3

    def __init__(self, drops: bool = False):
        self.drops = drops
        super().__init__({
            **({"bound": In(NUMERATOR_BITS + 1)} if drops else {}),
            "score": In(signed(SCORE_BITS)),
            "maximum": In(signed(SCORE_BITS)),
            "counts": In(1),
            "stage": In(self.latency),
            "o": Out(NUMERATOR_BITS),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.table = table = PowerTable()
        below = Signal(SCORE_BITS, reset_less=True)
        power = Signal(_POWER_BITS, reset_less=True)
        places = Signal(SCORE_BITS - FRACTION_BITS, reset_less=True)
        half = Signal(NUMERATOR_BITS + 1, reset_less=True)  # what is left of the power, with one bit to round
        m.d.comb += table.i.eq(below[:FRACTION_BITS])
        with m.If(self.stage[0]):
            m.d.sync += below.eq(self.maximum - self.score)
        with m.If(self.stage[1]):
            m.d.sync += [
                power.eq(table.o),
                places.eq(below[FRACTION_BITS:]),
            ]
        with m.If(self.stage[2]):
            m.d.sync += half.eq(Mux(places[4:].any(), 0, (power >> places[:4])[FRACTION_BITS - 1 :]))
        counts = self.counts & (half >= self.bound) if self.drops else self.counts
        with m.If(self.stage[3]):
            m.d.sync += self.o.eq(Mux(counts, (half + 1) >> 1, 0))
        return m
