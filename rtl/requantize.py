"""Requantization: divide by a power of two, round half to even, add the zero point, clamp."""

from amaranth import Cat, Const, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

SHIFT_BITS = 6
MAX_SHIFT = 2**SHIFT_BITS - 1


class Requantize(wiring.Component):
    """``o = clamp(round_half_even(product / 2**shift) + zero, low, high)``, exact.

    Parameters
    ----------
    product_bits : int
        Width of the signed product, at least ``bits + 3``.
    bits : int
        Width of the result.
    wide_bits : int
        Width of a second result, less than ``product_bits``; 0: there is none.

    Members
    -------
    product : In(signed(product_bits))
    shift : In(6)
        0 to 63; product and shift are read with ``enable[0]``.
    zero : In(signed(bits))
        Zero point; read with ``enable[1]``.
    low, high : In(signed(bits))
        Clamp bounds, ``low <= high``; read with ``enable[2]``.
    enable : In(3)
        Clock enables of the three stages: shift, round, clamp.
    o : Out(signed(bits))
    widen : In(1), wide : Out(signed(wide_bits))
        Only with ``wide_bits``: the rounded quotient, saturated, without zero point and clamps. ``widen`` is the enable
        of its register, at the second stage.

    Timing
    ------
    Latency 3 cycles (:attr:`latency`), one product per cycle; ``zero`` belongs to the product of the cycle
    before, ``low`` and ``high`` to the one before that. ``wide`` is valid a cycle before ``o``.

    Raises
    ------
    ValueError
        If ``product_bits`` is too small.
    """

    latency = 3

    def __init__(self, product_bits: int, bits: int, wide_bits: int = 0):
        if product_bits < bits + 3:
            raise ValueError(f"product_bits must be at least {bits + 3}, not {product_bits!r}")
        self.product_bits = product_bits
        self.bits = bits
        self.wide_bits = wide_bits
        super().__init__({
            "product": In(signed(product_bits)),
            "shift": In(SHIFT_BITS),
            "zero": In(signed(bits)),
            "low": In(signed(bits)),
            "high": In(signed(bits)),
            "enable": In(3),
            "o": Out(signed(bits)),
            **({"widen": In(1), "wide": Out(signed(wide_bits))} if wide_bits else {}),
        })

    def elaborate(self, platform):
        m = Module()
        # One fraction bit stays below the quotient; what is under it only breaks ties.
        scaled = Signal(signed(self.product_bits + 1), reset_less=True)
        rest = Signal(reset_less=True)
        shifted_out = Const(2**MAX_SHIFT - 1) >> ~self.shift  # ~shift is 63 - shift: leaves ``shift`` ones
        with m.If(self.enable[0]):
            m.d.sync += [
                scaled.eq(Cat(Const(0, 1), self.product).as_signed() >> self.shift),
                rest.eq((self.product & shifted_out[1:]).any()),
            ]

        # A quotient may saturate where zero point and rounding cannot bring it back into the result's range.
        limit = 1 << self.bits
        quotient = scaled[1:].as_signed()
        up = scaled[0] & (quotient[0] | rest)
        total = Signal(signed(self.bits + 3), reset_less=True)
        with m.If(self.enable[1]):
            with m.If(quotient < -limit):
                m.d.sync += total.eq(self.zero - limit)
            with m.Elif(quotient >= limit):
                m.d.sync += total.eq(self.zero + limit)
            with m.Else():
                m.d.sync += total.eq(quotient[: self.bits + 1].as_signed() + up + self.zero)

        if self.wide_bits:
            most = (1 << self.wide_bits - 1) - 1
            wide = Signal(signed(self.wide_bits), name="wide", reset_less=True)
            m.d.comb += self.wide.eq(wide)
            with m.If(self.widen):
                with m.If(quotient < -most - 1):
                    m.d.sync += wide.eq(-most - 1)
                with m.Elif(quotient >= most):
                    m.d.sync += wide.eq(most)
                with m.Else():
                    m.d.sync += wide.eq(quotient[: self.wide_bits].as_signed() + up)

        result = Signal(signed(self.bits), name="o", reset_less=True)
        m.d.comb += self.o.eq(result)
        with m.If(self.enable[2]):
            with m.If(total < self.low):
                m.d.sync += result.eq(self.low)
            with m.Elif(total > self.high):
                m.d.sync += result.eq(self.high)
            with m.Else():
                m.d.sync += result.eq(total)
        return m
