"""Loop-nest address generator: one address per cycle, no gap between jobs."""

from amaranth import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa


def nest_layout(levels: int, address_bits: int) -> data.StructLayout:
    """Parameters of one run: first address, and per level (innermost first) count and step."""
    level = data.StructLayout({"count": unsigned(isa.COUNT_BITS), "step": signed(isa.STEP_BITS)})
    return data.StructLayout({"base": unsigned(address_bits), "level": data.ArrayLayout(level, levels)})


def connect_nest(m: Module, nest, base, registers) -> None:
    """Drive a nest payload from a base address and level registers of a job (innermost first)."""
    m.d.comb += nest.base.eq(base)
    for level, register in zip(nest.level, registers, strict=True):
        m.d.comb += [level.count.eq(register.count), level.step.eq(register.step)]


class AddressGenerator(wiring.Component):
    """Visits an affine loop nest.

    The address starts at ``base``; when level ``l`` advances (all inner levels being at their end),
    ``step[l]`` is added and the inner levels start over. Counts are at least 1.

    Parameters
    ----------
    levels : int
        Loop levels.
    address_bits : int
        Width of the address; arithmetic is modulo its range.

    Members
    -------
    nest : In(stream of nest_layout)
        One transfer per run.
    o : Out(stream of {address, first, last})
        ``first[l]`` and ``last[l]`` say whether level l is in its first and in its last iteration;
        the run ends with the transfer in which all ``last`` bits are set.

    Timing
    ------
    One address per cycle; the first one cycle after the nest; the next nest is taken
    together with the last address, so runs follow each other without a gap.
    """

    def __init__(self, levels: int, address_bits: int):
        self.levels = levels
        self.address_bits = address_bits
        super().__init__({
            "nest": In(stream.Signature(nest_layout(levels, address_bits))),
            "o": Out(stream.Signature(data.StructLayout({
                "address": unsigned(address_bits), "first": levels, "last": levels,
            }))),
        })

    def elaborate(self, platform):
        m = Module()
        count = [Signal(isa.COUNT_BITS, name=f"count_{i}", reset_less=True) for i in range(self.levels)]
        left = [Signal(isa.COUNT_BITS, name=f"left_{i}", reset_less=True) for i in range(self.levels)]
        step = [
            Signal(signed(min(isa.STEP_BITS, self.address_bits)), name=f"step_{i}", reset_less=True)
            for i in range(self.levels)
        ]
        out = self.o.payload
        single = Signal(self.levels, reset_less=True)  # levels of one iteration
        last = Signal(self.levels, reset_less=True)  # left is 1
        done = Signal()
        m.d.comb += [out.last.eq(last), done.eq(last.all()), self.nest.ready.eq(~self.o.valid | (self.o.ready & done))]

        with m.If(self.o.valid & self.o.ready):
            chosen = step[-1]  # step of the innermost level that is not at its end
            for i in reversed(range(self.levels - 1)):
                chosen = Mux(last[i], chosen, step[i])
            m.d.sync += [out.address.eq(out.address + chosen), self.o.valid.eq(~done)]
            for i in range(self.levels):
                with m.If(last[:i].all() if i else 1):
                    m.d.sync += [
                        left[i].eq(Mux(last[i], count[i], left[i] - 1)),
                        last[i].eq(Mux(last[i], single[i], left[i] == 2)),
                        out.first[i].eq(last[i]),
                    ]
        with m.If(self.nest.valid & self.nest.ready):
            nest = self.nest.payload
            m.d.sync += [self.o.valid.eq(1), out.address.eq(nest.base), out.first.eq(~0)]
            for i in range(self.levels):
                level = nest.level[i]
                m.d.sync += [count[i].eq(level.count), left[i].eq(level.count), step[i].eq(level.step)]
                m.d.sync += [single[i].eq(level.count == 1), last[i].eq(level.count == 1)]
        return m
