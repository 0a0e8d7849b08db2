"""One lane of the vector unit: parameters, reduction, bias, requantization, sum with an addend."""

from math import gcd

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from dataflows.config import Config
from rtl.limbs import partial_products
from rtl.param_write import write_parts
from rtl.requantize import SHIFT_BITS, Requantize
from rtl.shared import shared
from rtl.window_lane import SUM_BITS

MULTIPLIER_BITS = 24
WIDE_BITS = 16
"""Elements of rows that are not codes."""


def parameter_layout(cfg: Config) -> data.StructLayout:
    """One lane's parameters, from the lowest address upwards; what follows up to ``param_lane_bytes`` is not kept."""
    return data.StructLayout({
        "bias": signed(cfg.numbers.acc_bits),
        "multiplier": MULTIPLIER_BITS,
        "shift": SHIFT_BITS,
        "unused": 8 - SHIFT_BITS,
    })


class ParameterMemory(wiring.Component):
    """Parameters of one lane, one per entry; a wrapper that an SRAM macro can replace.

    Members
    -------
    write : In(write_parts(cfg)); write_entry; write_data : In(8 * param_lane_bytes)
        Bit i of ``write`` writes what comes with beat i.
    read : In(1); read_entry
        Read enable and address.
    o : Out(parameter_layout)
        What was read, one cycle later; holds its value while nothing is read.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        entry = range(cfg.param_entries)
        super().__init__({
            "write": In(write_parts(cfg)),
            "write_entry": In(entry),
            "write_data": In(8 * cfg.param_lane_bytes),
            "read": In(1),
            "read_entry": In(entry),
            "o": Out(parameter_layout(cfg)),
        })

    def elaborate(self, platform):
        m = Module()
        bits = parameter_layout(self.cfg).size
        m.submodules.memory = memory = Memory(shape=bits, depth=self.cfg.param_entries, init=[])
        beat = 8 * self.cfg.bus_bytes
        unit = bits if bits <= beat else gcd(bits, beat)  # what one beat writes is whole units
        write, read = memory.write_port(granularity=unit), memory.read_port()
        enables = Cat(self.write[i * unit // beat] for i in range(bits // unit))
        m.d.comb += [
            write.en.eq(enables),
            write.addr.eq(self.write_entry),
            write.data.eq(self.write_data),
            read.en.eq(self.read),
            read.addr.eq(self.read_entry),
            self.o.eq(read.data),
        ]
        return m


@shared("cfg")
class VectorLane(wiring.Component):
    """One accumulator or run of operand elements to one output element.

    ``q = clamp(round_half_even((x + bias) * M / 2**S) + zero, low, high)``, then
    ``o = clamp(round_half_even(((q - zero_a) * multiplier_a + (b - zero_b) * multiplier_b) / 2**sum_shift)
    + sum_zero, sum_low, sum_high)``. Without an addend the second line is made the identity by its constants.

    Parameters
    ----------
    cfg : Config
        Uses ``param_entries``, ``param_lane_bytes``, ``bus_bytes`` and ``numbers``.

    Members
    -------
    acc : In(signed(acc_bits)), operand : In(signed(act_bits))
        The two sources; ``operand`` is also the addend b (the last one taken counts).
    take : In(1)
        Take from the sources in this cycle.
    from_operand, first, add_taps, max_taps : In(1)
        x is ``acc``; or with ``from_operand`` the ``first`` operand, or its sum or maximum with the operands after it.
    word : In(1)
        This take completes x (and b).
    from_window : In(1), window : In(signed(20))
        x is ``window``; only where the configuration has windows.
    entry : In(range(param_entries))
        Parameter entry of the word, with ``word``.
    stage : In(latency)
        Bit i: a word is at the input of stage i; clock enables of the pipeline. Bit 0 is ``word``.
    zero : In(signed(act_bits))
        With ``stage[rounding]``.
    low, high : In(signed(act_bits))
        With ``stage[clamping]``.
    zero_a, zero_b : In(signed(act_bits))
        With ``stage[adding]``.
    multiplier_a, multiplier_b : In(24)
        With ``stage[scaling]``.
    sum_shift : In(6)
        With ``stage[sum_shifting]``.
    sum_zero : In(signed(act_bits))
        With ``stage[sum_rounding]``.
    sum_low, sum_high : In(signed(act_bits))
        With ``stage[sum_clamping]``.
    write, write_entry, write_data
        Writes one parameter, see :class:`ParameterMemory`.
    o : Out(signed(act_bits))

    Only where the configuration has products:

    offset_a, offset_b : In(signed(act_bits)), product : In(1)
        These are taken off the ``first`` operand and off the one that is taken last, with ``take``; x is their product,
        with ``stage[multiplying]``. Without a product ``offset_a`` is 0.

    Only where the configuration has attention:

    by_row : In(1), row_multiplier : In(24), row_shift : In(6)
        These are multiplier and shift of the word, and its bias is 0; with ``stage[biasing]``.
    widen : In(1), wide : Out(signed(16))
        The first line without ``zero``, ``low`` and ``high``, saturated; ``widen`` with ``stage[rounding]``.

    Timing
    ------
    One operand or accumulator per cycle; ``o`` is valid :attr:`latency` = 14 cycles after ``word``, ``wide``
    :attr:`widening` = 7 cycles. Nothing stalls.
    """

    latency = 8 + 2 * Requantize.latency
    multiplying, biasing = 1, 2
    rounding, clamping, adding, scaling, sum_shifting, sum_rounding, sum_clamping = 6, 7, 8, 9, 11, 12, 13
    """Stages that read job-wide constants."""
    widening = rounding + 1

    def __init__(self, cfg: Config):
        self.cfg = cfg
        element = signed(cfg.numbers.act_bits)
        super().__init__({
            "acc": In(signed(cfg.numbers.acc_bits)),
            "operand": In(element),
            "take": In(1),
            "from_operand": In(1),
            "first": In(1),
            "add_taps": In(1),
            "max_taps": In(1),
            "entry": In(range(cfg.param_entries)),
            "stage": In(self.latency),
            **{name: In(element) for name in ("zero", "low", "high", "zero_a", "zero_b")},
            "multiplier_a": In(MULTIPLIER_BITS),
            "multiplier_b": In(MULTIPLIER_BITS),
            "sum_shift": In(SHIFT_BITS),
            **{name: In(element) for name in ("sum_zero", "sum_low", "sum_high")},
            "write": In(write_parts(cfg)),
            "write_entry": In(range(cfg.param_entries)),
            "write_data": In(8 * cfg.param_lane_bytes),
            "o": Out(element),
            **({"from_window": In(1), "window": In(signed(SUM_BITS))} if cfg.vector else {}),
            **({"offset_a": In(element), "offset_b": In(element), "product": In(1)} if cfg.products else {}),
            **(self._of_rows() if cfg.attention else {}),
        })

    @staticmethod
    def _of_rows() -> dict:
        """Members about rows."""
        row = {"by_row": In(1), "row_multiplier": In(MULTIPLIER_BITS), "row_shift": In(SHIFT_BITS)}
        return {**row, "widen": In(1), "wide": Out(signed(WIDE_BITS))}

    def elaborate(self, platform):
        m = Module()
        bits, acc_bits = self.cfg.numbers.act_bits, self.cfg.numbers.acc_bits
        product_bits = acc_bits + MULTIPLIER_BITS
        addend_bits = bits + 1 + MULTIPLIER_BITS
        m.submodules.parameters = parameters = ParameterMemory(self.cfg)
        wide_bits = WIDE_BITS if self.cfg.attention else 0
        m.submodules.requantize = requantize = Requantize(product_bits, bits, wide_bits)
        m.submodules.requantize_sum = requantize_sum = Requantize(addend_bits + 1, bits)

        # Stage 0: reduce, and read the parameters of the completed word.
        x = Signal(signed(acc_bits), reset_less=True)
        addend = [Signal(signed(bits), name=f"addend_{i}", reset_less=True) for i in range(self.adding)]
        first = self.operand - self.offset_a if self.cfg.products else self.operand
        with m.If(self.take):
            m.d.sync += addend[0].eq(self.operand)
            with m.If(~self.from_operand):
                m.d.sync += x.eq(self.acc)
            with m.Elif(self.first | (self.max_taps & (self.operand > x[:bits].as_signed()))):
                m.d.sync += x.eq(first)
            with m.Elif(self.add_taps):
                m.d.sync += x.eq(x + self.operand)
        if self.cfg.vector:
            with m.If(self.from_window):
                m.d.sync += x.eq(self.window)
        m.d.comb += [
            parameters.write.eq(self.write),
            parameters.write_entry.eq(self.write_entry),
            parameters.write_data.eq(self.write_data),
            parameters.read.eq(self.stage[0]),
            parameters.read_entry.eq(self.entry),
        ]

        # The addend waits until the requantized value is there.
        for i in range(1, self.adding):
            with m.If(self.stage[i]):
                m.d.sync += addend[i].eq(addend[i - 1])

        # Stages 1 and 2: parameters out of their memory, bias; stages 3 and 4: multiplier; stages 5 to 7: shift, round,
        # clamp.
        complete = Signal.like(x, reset_less=True)
        bias = Signal(signed(acc_bits), reset_less=True)
        biased = Signal(signed(acc_bits), reset_less=True)
        multiplier = [Signal(MULTIPLIER_BITS, name=f"multiplier_{i}", reset_less=True) for i in range(2)]
        shift = [Signal(SHIFT_BITS, name=f"shift_{i}", reset_less=True) for i in range(4)]
        product = Signal(signed(product_bits), reset_less=True)
        reduced = x
        if self.cfg.products:
            second = Signal(signed(bits + 1), reset_less=True)
            with m.If(self.take):
                m.d.sync += second.eq(self.operand - self.offset_b)
            reduced = Mux(self.product, x[: bits + 1].as_signed() * second, x)
        with m.If(self.stage[self.multiplying]):
            m.d.sync += [
                complete.eq(reduced),
                bias.eq(parameters.o.bias),
                multiplier[0].eq(parameters.o.multiplier),
                shift[0].eq(parameters.o.shift),
            ]
        factor, offset, places = multiplier[0], bias, shift[0]
        if self.cfg.attention:
            factor, places = Mux(self.by_row, self.row_multiplier, factor), Mux(self.by_row, self.row_shift, places)
            offset = Mux(self.by_row, 0, bias)
            m.d.comb += [requantize.widen.eq(self.widen), self.wide.eq(requantize.wide)]
        for i in range(1, 4):
            with m.If(self.stage[i + 1]):
                m.d.sync += shift[i].eq(places if i == 1 else shift[i - 1])
        with m.If(self.stage[self.biasing]):
            m.d.sync += [biased.eq(complete + offset), multiplier[1].eq(factor)]
        parts = partial_products(m, self.stage[3], biased, multiplier[1], "product")
        with m.If(self.stage[4]):
            m.d.sync += product.eq(parts)
        m.d.comb += [
            requantize.product.eq(product),
            requantize.shift.eq(shift[3]),
            requantize.zero.eq(self.zero),
            requantize.low.eq(self.low),
            requantize.high.eq(self.high),
            requantize.enable.eq(self.stage[5:8]),
        ]

        # Stages 8 to 10: terms of the sum, their products, the sum; stages 11 to 13: shift, round, clamp.
        term_a = Signal(signed(bits + 1), reset_less=True)
        term_b = Signal(signed(bits + 1), reset_less=True)
        total = Signal(signed(addend_bits + 1), reset_less=True)
        with m.If(self.stage[self.adding]):
            m.d.sync += [term_a.eq(requantize.o - self.zero_a), term_b.eq(addend[-1] - self.zero_b)]
        parts_a = partial_products(m, self.stage[self.scaling], term_a, self.multiplier_a, "product_a")
        parts_b = partial_products(m, self.stage[self.scaling], term_b, self.multiplier_b, "product_b")
        with m.If(self.stage[10]):
            m.d.sync += total.eq(parts_a + parts_b)
        m.d.comb += [
            requantize_sum.product.eq(total),
            requantize_sum.shift.eq(self.sum_shift),
            requantize_sum.zero.eq(self.sum_zero),
            requantize_sum.low.eq(self.sum_low),
            requantize_sum.high.eq(self.sum_high),
            requantize_sum.enable.eq(self.stage[11:14]),
            self.o.eq(requantize_sum.o),
        ]
        return m
