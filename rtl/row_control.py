"""What the PEs of one row do, cycle by cycle."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl.row_pe import RowSizes, place_in
from rtl.shared import shared

COUNT_BITS = 8
"""Width of filters, taps and fresh words of a step."""


def step_layout(sizes: RowSizes) -> data.StructLayout:
    """One step: where its window and its filter words begin; whether it ends its pass, and its job."""
    return data.StructLayout({
        "window": place_in(sizes.inputs), "weights": place_in(sizes.weights), "ends_pass": 1, "ends_job": 1,
    })


def following(place, depth: int):
    """The place behind ``place`` in a circular store."""
    return Mux(place == depth - 1, 0, place + 1)


@shared("sizes")
class RowControl(wiring.Component):
    """Walks through the steps that come down from the row above, and passes them on.

    A step takes taps x filters cycles, filters innermost: filter words lie one behind the other, window words too, and
    each serves all filters.

    Parameters
    ----------
    sizes : RowSizes

    Members
    -------
    last_filter, last_tap : In(8)
        Filters and taps, less one. Constant while a step is in the row.
    boundary : In(1)
        The row below belongs to the next unit: it starts ``filters`` cycles later, so that its sums follow.
    go_i, step_i : In(1), In(step_layout)
        A step begins in the next cycle. Never while another goes on beyond this cycle.
    go_o, step_o : Out
        The same for the row below.
    run : Out(1)
        Stage 0 of a multiplication (see :class:`~rtl.row_pe.RowPE`).
    fetch, window_place, weight_place : Out
    multiply, keep, close, first, filter, emit : Out
        Stages 1, 2 and 3.
    done : Out(1)
        Last cycle of a step.

    Timing
    ------
    ``go_o`` comes one cycle after ``go_i``, or ``1 + filters``.
    """

    def __init__(self, sizes: RowSizes):
        self.sizes = sizes
        flags = ("run", "fetch", "multiply", "keep", "close", "first", "emit", "done")
        super().__init__({
            "last_filter": In(COUNT_BITS),
            "last_tap": In(COUNT_BITS),
            "boundary": In(1),
            "go_i": In(1),
            "step_i": In(step_layout(sizes)),
            "go_o": Out(1),
            "step_o": Out(step_layout(sizes)),
            **{name: Out(1) for name in flags},
            "window_place": Out(place_in(sizes.inputs)),
            "weight_place": Out(place_in(sizes.weights)),
            "filter": Out(place_in(sizes.sums)),
        })

    def elaborate(self, platform):
        m = Module()
        run = Signal()
        step = Signal(self.step_i.shape(), reset_less=True)
        count = Signal(COUNT_BITS, reset_less=True)
        tap = Signal(COUNT_BITS, reset_less=True)
        window = Signal(place_in(self.sizes.inputs), reset_less=True)
        weight = Signal(place_in(self.sizes.weights), reset_less=True)
        filters_done, taps_done = Signal(), Signal()
        m.d.comb += [
            filters_done.eq(count == self.last_filter),
            taps_done.eq(tap == self.last_tap),
            self.done.eq(run & filters_done & taps_done),
            self.run.eq(run),
            self.fetch.eq(run & (count == 0)),
            self.go_o.eq(self.fetch & (tap == self.boundary)),
            self.step_o.eq(step),
            self.window_place.eq(window),
            self.weight_place.eq(weight),
        ]
        with m.If(run):
            m.d.sync += [count.eq(count + 1), weight.eq(following(weight, self.sizes.weights))]
            with m.If(filters_done):
                m.d.sync += [count.eq(0), tap.eq(tap + 1), window.eq(following(window, self.sizes.inputs))]
            with m.If(self.done):
                m.d.sync += run.eq(0)
        with m.If(self.go_i):
            m.d.sync += [run.eq(1), count.eq(0), tap.eq(0), step.eq(self.step_i)]
            m.d.sync += [window.eq(self.step_i.window), weight.eq(self.step_i.weights)]
        self._stages(m, run, count, tap == 0, taps_done)
        return m

    def _stages(self, m, run, count, first, last):
        """Flags of the later stages."""
        ran = Signal()
        keep, close, emit = Signal(), Signal(), Signal()
        first_1, first_2, last_1 = (Signal(name=name, reset_less=True) for name in ("first_1", "first_2", "last_1"))
        filter_1, filter_2 = (Signal.like(self.filter, name=f"filter_{stage}", reset_less=True) for stage in (1, 2))
        m.d.sync += [
            ran.eq(run), first_1.eq(first), last_1.eq(last), filter_1.eq(count),
            keep.eq(ran & ~last_1), close.eq(ran & last_1), first_2.eq(first_1), filter_2.eq(filter_1),
            emit.eq(close),
        ]  # fmt: skip
        m.d.comb += [
            self.multiply.eq(ran), self.keep.eq(keep), self.close.eq(close), self.first.eq(first_2),
            self.filter.eq(filter_2), self.emit.eq(emit),
        ]  # fmt: skip
