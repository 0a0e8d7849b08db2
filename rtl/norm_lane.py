"""One lane of the row engine's norms: an element to a code."""

from amaranth import Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dataflows.config import Config
from rtl.limbs import partial_products
from rtl.memory import BankMemory
from rtl.requantize import SHIFT_BITS, Requantize
from rtl.shared import shared

CODE_BITS = 8
COUNT_BITS = 13
"""Of the elements of a row: at most 4096."""
SUM_BITS = 21
"""Of the sum of a row's elements less their zero point, with its sign."""
DISTANCE_BITS = 22
"""Of count * element - sum, with its sign."""
FACTOR_BITS = 16
"""Of a reciprocal of a root without its low bits."""
PLACES_BITS = 5
QUOTIENT_BITS = 20
GAIN_BITS = 16
BIAS_BITS = 32
TOTAL_BITS = 37


def gain_layout() -> data.StructLayout:
    """What is kept of a lane's gain, from the lowest address up."""
    return data.StructLayout({"bias": signed(BIAS_BITS), "gain": signed(GAIN_BITS)})


@shared("cfg")
class NormLane(wiring.Component):
    """``d = C * (q - zero_x) - s``, ``n = (d * factor) >> places``,
    ``o = clamp(round_half_even((n * G + B) / 2**shift) + zero, low, high)``.

    Parameters
    ----------
    cfg : Config
        Uses ``gain_blocks``.

    Members
    -------
    code : In(signed(8)), zero_x : In(signed(8))
        With ``stage[0]``.
    elements : In(13), sum : In(signed(21)), factor : In(16), places : In(5)
        C with ``stage[1]``, s with ``stage[2]``, then ``stage[3]`` and ``stage[5]``.
    block : In(range(gain_blocks))
        Entry of G and B, with ``stage[reading]``.
    shift : In(6), zero, low, high : In(signed(8))
        With ``stage[shifting]``, ``stage[rounding]`` and ``stage[clamping]``.
    stage : In(latency)
        Bit i: an element is at the input of stage i; clock enables.
    write : In(1), write_block : In(range(gain_blocks)), write_gain : In(gain_layout())
        Writes an entry.
    o : Out(signed(8))

    Timing
    ------
    One element per cycle, ``latency`` = 12 cycles.
    """

    reading, shifting, rounding, clamping = 4, 9, 10, 11
    latency = 9 + Requantize.latency

    def __init__(self, cfg: Config):
        self.cfg = cfg
        code = signed(CODE_BITS)
        super().__init__({
            "code": In(code),
            "zero_x": In(code),
            "elements": In(COUNT_BITS),
            "sum": In(signed(SUM_BITS)),
            "factor": In(FACTOR_BITS),
            "places": In(PLACES_BITS),
            "block": In(range(cfg.gain_blocks)),
            "shift": In(SHIFT_BITS),
            **{name: In(code) for name in ("zero", "low", "high")},
            "stage": In(self.latency),
            "write": In(1),
            "write_block": In(range(cfg.gain_blocks)),
            "write_gain": In(gain_layout()),
            "o": Out(code),
        })

    def elaborate(self, platform):
        m = Module()
        bits = gain_layout().size
        m.submodules.gains = gains = BankMemory(bits // 8, self.cfg.gain_blocks, bits // 8)
        m.submodules.requantize = requantize = Requantize(TOTAL_BITS, CODE_BITS)
        m.d.comb += [
            gains.write_enable.eq(self.write),
            gains.write_address.eq(self.write_block),
            gains.write_data.eq(self.write_gain.as_value()),
            gains.read_enable.eq(self.stage[self.reading]),
            gains.read_address.eq(self.block),
        ]

        # Stages 0 to 5: the element's distance from the mean, in units of the root.
        element = Signal(signed(CODE_BITS + 1), reset_less=True)
        scaled = Signal(signed(DISTANCE_BITS), reset_less=True)
        distance = Signal(signed(DISTANCE_BITS), reset_less=True)
        quotient = Signal(signed(DISTANCE_BITS + FACTOR_BITS), reset_less=True)
        normal = Signal(signed(QUOTIENT_BITS), reset_less=True)
        with m.If(self.stage[0]):
            m.d.sync += element.eq(self.code - self.zero_x)
        with m.If(self.stage[1]):
            m.d.sync += scaled.eq(element * self.elements)
        with m.If(self.stage[2]):
            m.d.sync += distance.eq(scaled - self.sum)
        parts = partial_products(m, self.stage[3], distance, self.factor, "distance_factor")
        with m.If(self.stage[4]):
            m.d.sync += quotient.eq(parts)
        with m.If(self.stage[5]):
            m.d.sync += normal.eq(quotient >> self.places)

        # Stages 5 to 8: gain and bias.
        read = Signal(gain_layout(), reset_less=True)
        bias = [Signal(signed(BIAS_BITS), name=f"bias_{i}", reset_less=True) for i in range(2)]
        product = Signal(signed(QUOTIENT_BITS + GAIN_BITS), reset_less=True)
        total = Signal(signed(TOTAL_BITS), reset_less=True)
        with m.If(self.stage[5]):
            m.d.sync += read.eq(gains.read_data)
        parts = partial_products(m, self.stage[6], normal, read.gain, "gain_normal")
        with m.If(self.stage[6]):
            m.d.sync += bias[0].eq(read.bias)
        with m.If(self.stage[7]):
            m.d.sync += [product.eq(parts), bias[1].eq(bias[0])]
        with m.If(self.stage[8]):
            m.d.sync += total.eq(product + bias[1])

        # Stages 9 to 11: shift, round, clamp.
        m.d.comb += [
            requantize.product.eq(total),
            requantize.shift.eq(self.shift),
            requantize.zero.eq(self.zero),
            requantize.low.eq(self.low),
            requantize.high.eq(self.high),
            requantize.enable.eq(self.stage[9:]),
            self.o.eq(requantize.o),
        ]
        return m
