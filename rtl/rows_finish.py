"""Finishes the rows of norms: from their sums to the reciprocal of the root of their variance."""

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.limbs import partial_products
from rtl.norm_lane import COUNT_BITS, FACTOR_BITS, PLACES_BITS, SUM_BITS
from rtl.reciprocal import Reciprocal, highest
from rtl.rows_collect import SQUARES_BITS, sums_layout
from rtl.sparse_queue import ShortQueue
from rtl.square_root import SquareRoot

ROOT_BITS = 22
VARIANCE_BITS = 43


def norm_layout() -> data.StructLayout:
    """What a row of a norm is emitted with: sum, reciprocal of the root, and how far products are shifted."""
    return data.StructLayout({"sum": signed(SUM_BITS), "factor": FACTOR_BITS, "places": PLACES_BITS})


class RowsFinish(wiring.Component):
    """``D = max(C * squares - s**2 + E, 1)``, its root with 22 bits, the reciprocal of that (numerics, section 9).

    Members
    -------
    i : In(stream of sums_layout)
    o : Out(stream of norm_layout, always ready)
    busy : Out(1)

    Timing
    ------
    A row is taken ``interval`` = 23 cycles after the one before at the earliest, and leaves ``latency`` = 42 cycles
    after it is taken.
    """

    interval = ROOT_BITS + 1
    before_root = 6
    latency = before_root + ROOT_BITS + 1 + Reciprocal.latency

    def __init__(self):
        super().__init__({
            "i": In(stream.Signature(sums_layout())),
            "o": Out(stream.Signature(norm_layout(), always_ready=True)),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.root = root = SquareRoot(ROOT_BITS)
        m.submodules.reciprocal = reciprocal = Reciprocal(ROOT_BITS)
        wait = Signal(range(self.interval))  # cycles until the next row may be taken
        take = Signal()
        stage = Signal(self.before_root)
        m.d.comb += [self.i.ready.eq(wait == 0), take.eq(self.i.valid & self.i.ready)]
        m.d.sync += [
            wait.eq(Mux(take, self.interval - 1, wait - (wait != 0))),
            stage.eq((stage << 1) | take),
        ]

        # Stages 0 to 3: C * squares - s * s + E.
        row = Signal(sums_layout(), reset_less=True)
        magnitude = Signal(SUM_BITS - 1, reset_less=True)
        with m.If(take):
            m.d.sync += row.eq(self.i.payload)
            given = self.i.p.sum
            m.d.sync += magnitude.eq(Mux(self.i.p.centered, Mux(given < 0, -given, given), 0))
            with m.If(~self.i.p.centered):
                m.d.sync += row.sum.eq(0)
        scaled = Signal(COUNT_BITS + SQUARES_BITS, reset_less=True)
        squared = Signal(2 * len(magnitude), reset_less=True)
        spread = Signal(COUNT_BITS + SQUARES_BITS, reset_less=True)
        variance = Signal(VARIANCE_BITS, reset_less=True)
        scaled_parts = partial_products(m, stage[0], row.squares, row.elements, "scaled")
        squared_parts = partial_products(m, stage[0], magnitude, magnitude, "squared")
        m.d.sync += [scaled.eq(scaled_parts), squared.eq(squared_parts), spread.eq(scaled - squared)]
        m.d.sync += variance.eq(spread + row.epsilon)

        # Stage 4: half of the bit length; stage 5: as many places to the left as bring that to its full width.
        least = Signal(2 * ROOT_BITS, reset_less=True)
        pair = Signal(range(ROOT_BITS), reset_less=True)  # number of the highest pair of bits that is not 0: e - 1
        pairs = Signal(ROOT_BITS)
        m.d.comb += pairs.eq(Cat(variance[place : place + 2].any() for place in range(0, VARIANCE_BITS, 2)))
        found, _ = highest(m, pairs, "pair")
        with m.If(stage[4]):
            m.d.sync += [pair.eq(found), least.eq(Cat(variance[0] | ~pairs.any(), variance[1:]))]
        above = Signal(range(ROOT_BITS))
        m.d.comb += [
            above.eq(ROOT_BITS - 1 - pair),
            root.start.eq(stage[5]),
            root.x.eq(least << (above << 1)),
            reciprocal.i.valid.eq(root.done),
            reciprocal.i.payload.eq(root.root),
        ]

        # What else is known of the row waits for the reciprocal.
        m.submodules.known = known = ShortQueue(data.StructLayout({"sum": row.sum.shape(), "places": PLACES_BITS}), 2)
        m.d.comb += [
            known.i.valid.eq(stage[5]),
            known.i.p.sum.eq(row.sum),
            known.i.p.places.eq(pair + 4),
            known.o.ready.eq(reciprocal.o.valid),
            self.o.valid.eq(reciprocal.o.valid),
            self.o.p.sum.eq(known.o.p.sum),
            self.o.p.places.eq(known.o.p.places),
            self.o.p.factor.eq(reciprocal.o.p.inverse[-FACTOR_BITS:]),
            self.busy.eq(stage.any() | known.o.valid),
        ]
        return m
