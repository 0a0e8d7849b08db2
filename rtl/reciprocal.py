"""Reciprocals with 24 significant bits, two bits per cycle."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

INVERSE_BITS = 24
DIGIT_BITS = 2


def highest(m, value, name: str) -> tuple[Signal, Signal]:
    """Index of the highest set bit (0 where there is none), and ones below that bit."""
    below = Signal(len(value), name=f"{name}_below")
    index = Signal(range(max(2, len(value))), name=f"{name}_index")
    m.d.comb += below.eq(Cat(value[place + 1 :].any() for place in range(len(value))))
    only = value & ~below
    m.d.comb += index.eq(
        Cat(Cat(only[p] for p in range(len(value)) if p >> bit & 1).any() for bit in range(len(index)))
    )
    return index, below


class Reciprocal(wiring.Component):
    """``inverse = floor((2**(b + 23) - 1) / x)``, where ``b`` is the bit length of ``x``: 2**23 to 2**24 - 1.

    The dividend is all ones, so a long division begins with the remainder ``2**(b-1) - 1``, which is below ``x``, and
    brings down two more ones with each digit of the quotient.

    Parameters
    ----------
    bits : int
        Width of ``x``, at least 2.

    Members
    -------
    i : In(stream of bits)
        ``x``; for 0 the result is of no meaning.
    o : Out(stream of {inverse: 24, top: range(bits)}, always ready)
        ``top`` is ``b - 1``, and 0 where ``x`` is 0.

    Timing
    ------
    The result is there ``latency`` = 13 cycles after ``x`` is taken, for one cycle; the next ``x`` is taken
    ``interval`` = 12 cycles after it at the earliest.
    """

    interval = INVERSE_BITS // DIGIT_BITS
    latency = interval + 1

    def __init__(self, bits: int):
        if bits < 2:
            raise ValueError(f"Reciprocal bits must be at least 2, not {bits!r}")
        self.bits = bits
        result = data.StructLayout({"inverse": INVERSE_BITS, "top": range(bits)})
        super().__init__({
            "i": In(stream.Signature(bits)),
            "o": Out(stream.Signature(result, always_ready=True)),
        })

    def elaborate(self, platform):
        m = Module()
        bits = self.bits
        x = Signal(bits, reset_less=True)
        triple = Signal(bits + 2, reset_less=True)
        rest = Signal(bits, reset_less=True)  # below x
        steps = Signal(self.interval)  # one bit on its way through the digits
        take, last = Signal(), Signal()
        m.d.comb += [
            last.eq(steps[-1]),
            self.i.ready.eq(~steps.any() | last),
            take.eq(self.i.valid & self.i.ready),
        ]
        m.d.sync += [steps.eq(Cat(take, steps)), self.o.valid.eq(last)]

        # A digit: the remainder with two more ones, less as often x as it goes.
        lowered = Signal(bits + DIGIT_BITS)
        m.d.comb += lowered.eq(Cat(Const(3, DIGIT_BITS), rest))
        less = [Signal(bits + 3, name=f"less_{n}") for n in range(1, 4)]
        m.d.comb += [value.eq(lowered - times) for value, times in zip(less, (x, x << 1, triple), strict=True)]
        fits = [~value[-1] for value in less]
        with m.If(steps.any()):
            m.d.sync += [
                rest.eq(Mux(fits[1], Mux(fits[2], less[2], less[1]), Mux(fits[0], less[0], lowered))),
                self.o.p.inverse.eq(Cat(Mux(fits[1], fits[2], fits[0]), fits[1], self.o.p.inverse)),
            ]
        given = self.i.payload
        index, below = highest(m, given, "given")
        top = Signal(range(bits), reset_less=True)  # of the x that is worked on
        with m.If(take):
            m.d.sync += [x.eq(given), triple.eq(given + (given << 1)), rest.eq(below), top.eq(index)]
        with m.If(last):
            m.d.sync += self.o.p.top.eq(top)
        return m
