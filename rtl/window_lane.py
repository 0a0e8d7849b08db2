"""One lane of the window: two columns of three bytes per block, nine weights, their products' sum or maximum."""

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from dataflows.config import Config
from dataflows.sections import WINDOW_TAPS
from rtl.shared import shared

SIDE = 3
SUM_BITS = 20
"""Of nine products of 16 bits in two steps of three."""


class WindowMemory(wiring.Component):
    """A memory with a read and a write port; a wrapper that an SRAM macro can replace.

    Members
    -------
    read : In(1), read_address, read_data : Out(bits)
        The word, one cycle after ``read``; held while it is low.
    write : In(1), write_address, write_data : In(bits)
        A word read while it is being written is undefined.
    """

    def __init__(self, bits: int, depth: int):
        self.bits = bits
        self.depth = depth
        super().__init__({
            "read": In(1),
            "read_address": In(range(depth)),
            "read_data": Out(bits),
            "write": In(1),
            "write_address": In(range(depth)),
            "write_data": In(bits),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=self.bits, depth=self.depth, init=[])
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            write.en.eq(self.write),
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
            read.en.eq(self.read),
            read.addr.eq(self.read_address),
            self.read_data.eq(read.data),
        ]
        return m


@shared("cfg")
class WindowLane(wiring.Component):
    """Slides a 3x3 window over the bytes of one lane: ``o = sum(weight[i] * byte[i])``, or the largest product.

    Tap ``3 * r + c`` is row r, column c of the window, whose last row and column is the byte that came last.
    Pixels come column by column, each as one byte per block; the window joins bytes of one block.

    Parameters
    ----------
    cfg : Config
        Uses ``param_entries``.

    Members
    -------
    take : In(2)
        Bit i: a byte came i cycles ago.
    byte : In(8), block : In(range(param_entries))
        With ``take[0]``; the block also with ``take[1]``, as ``block_1``.
    again : In(1)
        The byte of the cycle before belongs to the same block; with ``take[1]``.
    rows : In(16)
        Bytes at the same place of the last row and of the row before that; with ``take[1]``.
    rows_next : Out(16)
        The same for the next row.
    emit : In(4)
        Bit i: a byte whose window is wanted came i cycles ago.
    entry : In(range(param_entries))
        Weights, with ``emit[1]``.
    max : In(2)
        The largest product instead of the sum; with ``emit[3]`` and one cycle later.
    write : In(2), write_entry, write_data : In(64)
        Bit 0 writes taps 0 to 7 of an entry, bit 1 tap 8.
    o : Out(signed(20))

    Timing
    ------
    A byte per cycle; ``o`` is valid :attr:`latency` = 4 cycles after its last byte.
    """

    latency = 4

    def __init__(self, cfg: Config):
        self.cfg = cfg
        entry = range(cfg.param_entries)
        super().__init__({
            "take": In(2),
            "byte": In(8),
            "block": In(entry),
            "block_1": In(entry),
            "again": In(1),
            "rows": In(16),
            "rows_next": Out(16),
            "emit": In(4),
            "entry": In(entry),
            "max": In(2),
            "write": In(2),
            "write_entry": In(entry),
            "write_data": In(64),
            "o": Out(signed(SUM_BITS)),
        })

    def elaborate(self, platform):
        m = Module()
        entries = self.cfg.param_entries
        column_bits = 8 * SIDE
        m.submodules.columns = columns = WindowMemory(2 * column_bits, entries)
        m.submodules.weights = weights = WindowMemory(64, entries)
        m.submodules.last_weight = last_weight = WindowMemory(8, entries)

        # One cycle after the byte: its column, and the two columns before it.
        byte = Signal(8, reset_less=True)
        with m.If(self.take[0]):
            m.d.sync += byte.eq(self.byte)
        taken = [Signal(column_bits, name=f"column_{i}", reset_less=True) for i in range(SIDE)]  # oldest first
        column = Signal(column_bits)
        before = Signal(column_bits)  # the column before that
        m.d.comb += [
            columns.read.eq(self.take[0]),
            columns.read_address.eq(self.block),
            column.eq(Cat(self.rows[8:], self.rows[:8], byte)),
            before.eq(Mux(self.again, taken[2], columns.read_data[:column_bits])),
            columns.write.eq(self.take[1]),
            columns.write_address.eq(self.block_1),
            columns.write_data.eq(Cat(column, before)),
            self.rows_next.eq(Cat(byte, self.rows[:8])),
        ]
        with m.If(self.take[1]):
            m.d.sync += [
                taken[0].eq(Mux(self.again, taken[1], columns.read_data[column_bits:])),
                taken[1].eq(before),
                taken[2].eq(column),
            ]
        for memory, write in ((weights, self.write[0]), (last_weight, self.write[1])):
            m.d.comb += [
                memory.read.eq(self.emit[1]),
                memory.read_address.eq(self.entry),
                memory.write.eq(write),
                memory.write_address.eq(self.write_entry),
                memory.write_data.eq(self.write_data),
            ]

        # Products, one register per tap; then a tree of two levels.
        factors = Cat(weights.read_data, last_weight.read_data)
        products = [Signal(signed(16), name=f"product_{i}", reset_less=True) for i in range(WINDOW_TAPS)]
        with m.If(self.emit[2]):
            for i, product in enumerate(products):
                tap = taken[i % SIDE].word_select(i // SIDE, 8).as_signed()
                m.d.sync += product.eq(tap * factors.word_select(i, 8).as_signed())
        partial = [Signal(signed(18), name=f"partial_{i}", reset_less=True) for i in range(SIDE)]
        rows = [_join(*products[SIDE * i : SIDE * (i + 1)], self.max[0]) for i in range(SIDE)]
        with m.If(self.emit[3]):
            m.d.sync += [partial[i].eq(rows[i]) for i in range(SIDE)]
        m.d.comb += self.o.eq(_join(*partial, self.max[1]))
        return m


def _join(a, b, c, maximum):
    """Sum or maximum of three values of one width; the comparisons do not wait for each other."""
    total = a + b + c
    wide = [Cat(v, v[-1].replicate(len(total) - len(v))).as_signed() for v in (a, b, c)]
    return Mux(maximum, Mux(a > b, Mux(a > c, wide[0], wide[2]), Mux(b > c, wide[1], wide[2])), total)
