"""Multiplier that looks up sums of activations: bits of the weights are addresses."""

from amaranth import Cat, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dataflows.multipliers import law
from rtl.multiplier import Multiplier, add_all, add_shifted
from rtl.shared import shared


@shared("count", "bits")
class SumTable(wiring.Component):
    """All sums that can be made of ``count`` numbers, in registers.

    Members
    -------
    i : In(count * bits)
    is_signed, load : In(1)
        The numbers are signed; take them.
    address : In(count)
        Which of them to add, one bit each.
    o : Out(signed)
        Their sum, as they were taken. A load is seen in the next cycle.
    """

    def __init__(self, count: int, bits: int):
        self.count, self.bits = count, bits
        flags = {"is_signed": In(1), "load": In(1)}
        shape = signed(bits + 1 + (count - 1).bit_length())
        super().__init__({"i": In(count * bits), **flags, "address": In(count), "o": Out(shape)})

    def elaborate(self, platform):
        m = Module()
        numbers = [self.i.word_select(n, self.bits) for n in range(self.count)]
        sums = [0]
        for number in numbers:
            value = Cat(number, number[-1] & self.is_signed).as_signed()
            more = [Signal(self.o.shape(), name=f"sum_{len(sums) + k}") for k in range(len(sums))]
            m.d.comb += [total.eq(value + before) for total, before in zip(more, sums, strict=True)]
            sums += more
        entries = [Signal.like(total, name=f"entry_{k}", reset_less=True) for k, total in enumerate(sums) if k]
        with m.If(self.load):
            m.d.sync += [entry.eq(total) for entry, total in zip(entries, sums[1:], strict=True)]
        with m.Switch(self.address):
            for k, entry in enumerate(entries, start=1):
                with m.Case(k):
                    m.d.comb += self.o.eq(entry)
        return m


@shared("lanes", "group", "bits")
class TableMultiplier(Multiplier):
    """Sums of ``lanes`` products, weights bit by bit: each plane looks up sums of activations.

    The first cycle of a step puts all sums of every ``group`` activations into a table; from then on a plane of weights
    costs a look-up per group instead of ``group`` additions. Activations must be there in the first cycle only.

    Parameters
    ----------
    lanes : int
        Products of a step.
    group : int
        Activations of a table, a divisor of ``lanes``.
    bits : int
        Widest operands.

    Timing
    ------
    Latency 2: table, sum.

    Source
    ------
    Lee et al., UNPU, ISSCC 2018; deviations: one multiplier per table (there several outputs share it), all
    entries stored (there half of them, and a sign), no denser mode for weights of one bit.
    """

    latency = 2

    def __init__(self, lanes: int, group: int = 4, bits: int = 8):
        if lanes % group:
            raise ValueError(f"lanes must be a multiple of {group}, not {lanes}")
        self.lanes, self.group, self.bits = lanes, group, bits
        super().__init__(law("table", lanes, bits=bits))

    def elaborate(self, platform):
        m = Module()
        plane = Signal.like(self.w, name="plane", reset_less=True)
        first, shift, negative = (Signal(name=name, reset_less=True) for name in ("is_first", "is_shift", "negative"))
        m.d.sync += [plane.eq(self.w), first.eq(self.first), shift.eq(self.shift), negative.eq(self.w_signed)]
        sums = []
        for number in range(self.lanes // self.group):
            m.submodules[f"table_{number}"] = table = SumTable(self.group, self.bits)
            m.d.comb += [
                table.i.eq(self.a.word_select(number, self.group * self.bits)),
                table.is_signed.eq(self.a_signed),
                table.load.eq(self.first),
                table.address.eq(plane.word_select(number, self.group)),
            ]
            sums.append(table.o)
        add_shifted(m, self, add_all(m, sums, "sum"), 1, negative, first, shift)
        return m
