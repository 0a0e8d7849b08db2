"""Products of binary and ternary numbers, counted instead of added."""

from amaranth import Cat, Const, Module, Signal
from amaranth.lib.wiring import In

from dataflows.multipliers import law
from rtl.multiplier import Multiplier, add_all
from rtl.shared import shared


@shared("lanes", "masked")
class BinaryMultiplier(Multiplier):
    """Sum of ``lanes`` products of numbers +1 (bit 1) and -1 (bit 0): ``2 * ones(~(a ^ w) & mask) - count``.

    ``masked`` ones take two more inputs: ``mask``, the lanes that count, and ``count``, how many these are. Both are
    the same for a whole array, so that nothing has to count them here. In the others all lanes count.
    It has no use for the ports that say how words are meant.

    Source
    ------
    Rastegari et al., XNOR-Net, ECCV 2016; Umuroglu et al., FINN, FPGA 2017.
    """

    def __init__(self, lanes: int, masked: bool = True):
        self.lanes, self.masked = lanes, masked
        super().__init__(law("binary", lanes), {"mask": In(lanes), "count": In(range(lanes + 1))} if masked else None)

    def elaborate(self, platform):
        m = Module()
        equal = Signal(self.lanes)
        total = Signal.like(self.o, name="total", reset_less=True)
        mask, count = (self.mask, self.count) if self.masked else (~Const(0, self.lanes), self.lanes)
        m.d.comb += [equal.eq(~(self.a ^ self.w) & mask), self.o.eq(total)]
        m.d.sync += total.eq(Cat(0, add_all(m, list(equal), "ones")) - count)
        return m


@shared("lanes")
class TernaryMultiplier(Multiplier):
    """Sum of ``lanes`` products of numbers -1, 0 and +1: those that are not zero, less twice the negative ones.

    Elements have two bits: the lower ones are the plane of numbers that are not zero, the upper ones that of
    signs, so that the code is that of signed numbers. It has no use for the ports that say how words are meant; -2
    counts as 0.
    """

    def __init__(self, lanes: int):
        self.lanes = lanes
        super().__init__(law("ternary", lanes), sum_bits=lanes.bit_length() + 1)

    def elaborate(self, platform):
        m = Module()
        counts, negative = Signal(self.lanes), Signal(self.lanes)
        total = Signal.like(self.o, name="total", reset_less=True)
        m.d.comb += [
            counts.eq(self.a[0::2] & self.w[0::2]),
            negative.eq((self.a[1::2] ^ self.w[1::2]) & counts),
            self.o.eq(total),
        ]
        m.d.sync += total.eq(add_all(m, list(counts), "ones") - Cat(0, add_all(m, list(negative), "negative")))
        return m
