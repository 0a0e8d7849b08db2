"""The PE of the row-stationary array: a one-dimensional convolution between three local stores."""

from dataclasses import dataclass

from amaranth import Module, Mux, Signal, signed, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from dataflows.config import Config
from rtl.shared import shared

INDEX_BITS = 16
"""Width of an input row's number."""


def place_in(depth: int) -> range:
    """Shape of an address of a store; one bit even if there is one word."""
    return range(max(2, depth))


@dataclass(frozen=True)
class RowSizes:
    """What decides the hardware of a PE.

    Attributes
    ----------
    act_bits, weight_bits, acc_bits : int
        Widths of the operands and of a sum.
    inputs, weights, sums : int
        Words of the local stores. The input store has room for three windows: one in use, two that arrive.
    gating : bool
        Multiplications with a zero input are left out.
    """

    act_bits: int
    weight_bits: int
    acc_bits: int
    inputs: int
    weights: int
    sums: int
    gating: bool

    @classmethod
    def of(cls, cfg: Config) -> "RowSizes":
        """The sizes a configuration asks for."""
        numbers, stores = cfg.numbers, cfg.stores
        return cls(
            numbers.act_bits, numbers.weight_bits, numbers.acc_bits,
            3 * stores.input, stores.weight, stores.output, cfg.array.zero_gating,
        )  # fmt: skip


class FilterStore(wiring.Component):
    """Wrapper around the memory of filter words; the module to replace by an SRAM macro.

    Parameters
    ----------
    bits : int
        Width of a word.
    depth : int
        Words.

    Members
    -------
    read_enable, read_address : In(1), In(address)
    read_data : Out(bits)
        The word, one cycle after ``read_enable``; held while it is low.
    write_enable, write_address, write_data : In(1), In(address), In(bits)
        A word read while it is being written is undefined.
    """

    def __init__(self, bits: int, depth: int):
        self.bits = bits
        self.depth = depth
        super().__init__({
            "read_enable": In(1),
            "read_address": In(place_in(depth)),
            "read_data": Out(bits),
            "write_enable": In(1),
            "write_address": In(place_in(depth)),
            "write_data": In(bits),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = mem = memory.Memory(shape=unsigned(self.bits), depth=max(2, self.depth), init=[])
        write = mem.write_port()
        read = mem.read_port()
        m.d.comb += [
            write.en.eq(self.write_enable),
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
            read.en.eq(self.read_enable),
            read.addr.eq(self.read_address),
            self.read_data.eq(read.data),
        ]
        return m


@shared("sizes")
class RowPE(wiring.Component):
    """Multiplies window words by filter words and keeps the partial sums of the filters.

    All control is the row's (:class:`~rtl.row_control.RowControl`), except which bus words are taken: those whose row
    number is the PE's identifier.

    Parameters
    ----------
    sizes : RowSizes

    Members
    -------
    identify, listen, row_base, col_base : In(1), In(1), In(16), In(16)
        Take a new identifier, ``row_base + col_base``, and whether to listen to the bus at all.
    put, index, word, place : In
        The bus: a word for this PE row, the number of its input row, the word, and where in the input store it belongs.
    load, filter_word, filter_place : In
        A filter word for this PE, and where it belongs.
    used : In(1)
        The column is in use.
    fetch, window_place : In
        Stage 0: a new window word is needed, and where it is.
    read, weight_place : In
        Stage 0: multiply; where the filter word is.
    multiply : In(1)
        ``read``, in stage 1.
    keep, close, first, filter : In
        Stage 2: add the product to the partial sum of ``filter`` (to zero if ``first``), and store it or, if it is
        complete, hand it to stage 3.
    move, arrive, emit : In(1)
        Stage 3: the output register takes the sum of ``sum_i`` (if one arrives) and the completed sum (if there is
        one).
    sum_i, sum_o : In, Out(signed(acc_bits))
    gated : Out(1), only with ``sizes.gating``
        Stage 1: the column is in use and its window word is zero.

    Timing
    ------
    Stage i is i cycles after stage 0; ``sum_o`` shows a sum ``latency`` cycles after stage 0 of its last product. A
    word on the bus in one cycle can be fetched in the next, likewise a filter word.
    """

    latency = 4

    def __init__(self, sizes: RowSizes):
        self.sizes = sizes
        ports = {name: In(1) for name in ("identify", "listen", "put", "load", "used", "fetch", "read", "multiply")}
        ports |= {name: In(1) for name in ("keep", "close", "first", "move", "arrive", "emit")}
        ports |= {name: In(INDEX_BITS) for name in ("row_base", "col_base", "index")}
        super().__init__(ports | {
            "word": In(signed(sizes.act_bits)),
            "place": In(place_in(sizes.inputs)),
            "filter_word": In(signed(sizes.weight_bits)),
            "filter_place": In(place_in(sizes.weights)),
            "window_place": In(place_in(sizes.inputs)),
            "weight_place": In(place_in(sizes.weights)),
            "filter": In(place_in(sizes.sums)),
            "sum_i": In(signed(sizes.acc_bits)),
            "sum_o": Out(signed(sizes.acc_bits)),
            **({"gated": Out(1)} if sizes.gating else {}),
        })

    def elaborate(self, platform):
        m = Module()
        sizes = self.sizes
        word = self._window(m)
        factor = Signal(signed(sizes.act_bits), reset_less=True)
        product = Signal(signed(sizes.act_bits + sizes.weight_bits), reset_less=True)
        useful, counts = self._gate(m, word)
        with m.If(self.fetch & useful):
            m.d.sync += factor.eq(word)

        m.submodules.filters = filters = FilterStore(sizes.weight_bits, sizes.weights)
        m.d.comb += [
            filters.write_enable.eq(self.load),
            filters.write_address.eq(self.filter_place),
            filters.write_data.eq(self.filter_word),
            filters.read_enable.eq(self.read & useful),
            filters.read_address.eq(self.weight_place),
        ]
        with m.If(self.multiply & counts):
            m.d.sync += product.eq(factor * filters.read_data.as_signed())
        present = Signal(reset_less=True)  # the product register holds this step's product
        m.d.sync += present.eq(counts)
        self._add(m, Mux(present, product, 0))
        return m

    def _window(self, m):
        """The input store; returns the word at ``window_place``."""
        identifier = Signal(INDEX_BITS, reset_less=True)
        listens = Signal(reset_less=True)
        with m.If(self.identify):
            m.d.sync += [identifier.eq(self.row_base + self.col_base), listens.eq(self.listen)]
        bits, depth = self.sizes.act_bits, self.sizes.inputs
        m.submodules.inputs = inputs = memory.Memory(shape=signed(bits), depth=depth, init=[])
        write, read = inputs.write_port(), inputs.read_port(domain="comb")
        m.d.comb += [
            write.en.eq(self.put & listens & (self.index == identifier)),
            write.addr.eq(self.place),
            write.data.eq(self.word),
            read.addr.eq(self.window_place),
        ]
        return read.data

    def _gate(self, m, word):
        """Whether a multiplication is worth doing: in stage 0, and in stage 1."""
        if not self.sizes.gating:
            return self.used, self.used
        zero = Signal(reset_less=True)
        now = Signal()
        with m.If(self.fetch):
            m.d.comb += now.eq(word == 0)
            m.d.sync += zero.eq(now)
        with m.Else():
            m.d.comb += now.eq(zero)
        m.d.comb += self.gated.eq(self.used & zero)
        return self.used & ~now, self.used & ~zero

    def _add(self, m, product):
        """Stages 2 and 3."""
        sizes = self.sizes
        m.submodules.sums = sums = memory.Memory(shape=signed(sizes.acc_bits), depth=max(2, sizes.sums), init=[])
        write, read = sums.write_port(), sums.read_port(domain="comb")
        total = Signal(signed(sizes.acc_bits))
        complete = Signal(signed(sizes.acc_bits), reset_less=True)
        output = Signal(signed(sizes.acc_bits), name="sum_o", reset_less=True)
        m.d.comb += [
            read.addr.eq(self.filter),
            total.eq(Mux(self.first, 0, read.data) + product),
            write.en.eq(self.keep),
            write.addr.eq(self.filter),
            write.data.eq(total),
            self.sum_o.eq(output),
        ]
        with m.If(self.close):
            m.d.sync += complete.eq(total)
        with m.If(self.move):
            m.d.sync += output.eq(Mux(self.arrive, self.sum_i, 0) + Mux(self.emit, complete, 0))
