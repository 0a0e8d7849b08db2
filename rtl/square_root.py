"""Square roots, a bit per cycle."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class SquareRoot(wiring.Component):
    """``root = floor(sqrt(x))``.

    Parameters
    ----------
    bits : int
        Width of the root; ``x`` has twice as many.

    Members
    -------
    start : In(1), x : In(2 * bits)
        Begins a root.
    done : Out(1), root : Out(bits)
        The root is there, for one cycle.

    Timing
    ------
    ``done`` comes ``latency`` = ``bits`` + 1 cycles after ``start``; the next root may be started in that cycle.
    """

    def __init__(self, bits: int):
        self.bits = bits
        self.latency = bits + 1
        super().__init__({"start": In(1), "x": In(2 * bits), "done": Out(1), "root": Out(bits)})

    def elaborate(self, platform):
        m = Module()
        bits = self.bits
        value = Signal(2 * bits, reset_less=True)  # pairs of bits that have not been brought down, at the top
        rest = Signal(bits + 1, reset_less=True)  # at most twice the root
        steps = Signal(bits)
        trial, less = Signal(bits + 3), Signal(bits + 4)
        m.d.comb += [
            trial.eq(Cat(value[-2:], rest)),
            less.eq(trial - Cat(Const(1, 2), self.root)),
        ]
        m.d.sync += [steps.eq(Cat(self.start, steps)), self.done.eq(steps[-1])]
        with m.If(steps.any()):
            m.d.sync += [
                value.eq(value << 2),
                rest.eq(Mux(less[-1], trial, less)),
                self.root.eq(Cat(~less[-1], self.root)),
            ]
        with m.If(self.start):
            m.d.sync += [value.eq(self.x), rest.eq(0), self.root.eq(0)]
        return m
