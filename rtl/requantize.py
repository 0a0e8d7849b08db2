"""Requantization: divide by a power of two, round half to even, add the zero point, clamp to 8 bits."""

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

SHIFT_BITS = 6
MAX_SHIFT = 2**SHIFT_BITS - 1
SCALED_BITS = 9
"""Width in which a quotient may saturate: zero point and rounding cannot bring it back below the 8-bit clamp."""


class Requantize(wiring.Component):
    """``o = clamp(round_half_even(product / 2**shift) + zero, low, high)``, exact.

    Parameters
    ----------
    product_bits : int
        Width of the signed product, at least 11.

    Members
    -------
    product : In(signed(product_bits))
    shift : In(6)
        0 to 63; both are read with ``enable[0]``.
    zero, low, high : In(signed(8))
        Zero point and clamp bounds (``low <= high``); read with ``enable[1]``.
    enable : In(2)
        Clock enables of the two stages: shift, then round and clamp.
    o : Out(signed(8))

    Timing
    ------
    Latency 2 cycles (:attr:`latency`), one product per cycle; ``zero``, ``low`` and ``high`` belong to the
    product of the cycle before.

    Raises
    ------
    ValueError
        If ``product_bits`` is too small.
    """

    latency = 2

    def __init__(self, product_bits: int):
        if product_bits <= SCALED_BITS + 1:
            raise ValueError(f"product_bits must be at least {SCALED_BITS + 2}, not {product_bits!r}")
        self.product_bits = product_bits
        super().__init__({
            "product": In(signed(product_bits)),
            "shift": In(SHIFT_BITS),
            "zero": In(signed(8)),
            "low": In(signed(8)),
            "high": In(signed(8)),
            "enable": In(2),
            "o": Out(signed(8)),
        })

    def elaborate(self, platform):
        m = Module()
        # One fraction bit stays below the quotient; "below" are the bits under it, which only break ties.
        scaled = Signal(signed(self.product_bits + 1))
        below = Signal(self.product_bits)
        shifted_out = Const(2**MAX_SHIFT - 1) >> ~self.shift  # ~shift is 63 - shift: leaves ``shift`` ones
        m.d.comb += [
            scaled.eq(Cat(Const(0, 1), self.product).as_signed() >> self.shift),
            below.eq(self.product & shifted_out[1:]),
        ]
        integer = scaled[1:]
        tops = integer[SCALED_BITS - 1:]  # all equal: the quotient fits
        limit = Cat((~scaled[-1]).replicate(SCALED_BITS - 1), scaled[-1])
        quotient = Signal(signed(SCALED_BITS), reset_less=True)
        up = Signal(reset_less=True)
        with m.If(self.enable[0]):
            m.d.sync += [
                quotient.eq(Mux(tops.all() | ~tops.any(), integer[:SCALED_BITS], limit)),
                up.eq(scaled[0] & (integer[0] | below.any())),
            ]

        total = Signal(signed(SCALED_BITS + 2))
        m.d.comb += total.eq(quotient + up + self.zero)
        with m.If(self.enable[1]):
            m.d.sync += self.o.eq(
                Mux(total < self.low, self.low, Mux(total > self.high, self.high, total[:8].as_signed()))
            )
        return m
