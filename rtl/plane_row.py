"""A row of PEs that each keep the sum of one output pixel, and the history that its neighbours take inputs from."""

from amaranth import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from rtl.shared import shared


class PlaneHistory(wiring.Component):
    """Wrapper around one memory with a write and a read port; the module to replace by a macro.

    One for the PEs of a row, as these use it in step: each has ``bits / PEs`` of a word.

    Parameters
    ----------
    bits, depth : int
        Width of a word; words.

    Members
    -------
    write_enable, write_address, write_data : In(1), In(address), In(bits)
    read_address, read_data : In(address), Out(bits)
        The word in the same cycle, as it was before a write of that cycle.
    """

    def __init__(self, bits: int, depth: int):
        self.bits = bits
        self.depth = depth
        super().__init__({
            "write_enable": In(1),
            "write_address": In(range(depth)),
            "write_data": In(bits),
            "read_address": In(range(depth)),
            "read_data": Out(bits),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = mem = memory.Memory(shape=unsigned(self.bits), depth=self.depth, init=[])
        write, read = mem.write_port(), mem.read_port(domain="comb")
        m.d.comb += [
            write.en.eq(self.write_enable),
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
            read.addr.eq(self.read_address),
            self.read_data.eq(read.data),
        ]
        return m


@shared("act_bits", "weight_bits", "acc_bits")
class PlanePE(wiring.Component):
    """One multiplier, one adder, the sum of one pixel and its drain register.

    Parameters
    ----------
    act_bits, weight_bits, acc_bits : int

    Members
    -------
    input, weight : In(signed)
        Operands of a step.
    add, first, last : In(1)
        Of the product of the cycle before: it counts; it begins a sum; it ends one, which goes to the drain register.
    shift : In(1)
        The drain register takes ``drain_i`` unless a sum ends.
    drain_i, drain_o : In, Out(signed)
    """

    def __init__(self, act_bits: int, weight_bits: int, acc_bits: int):
        self.act_bits = act_bits
        self.weight_bits = weight_bits
        self.acc_bits = acc_bits
        super().__init__({
            "input": In(signed(act_bits)),
            "weight": In(signed(weight_bits)),
            "add": In(1),
            "first": In(1),
            "last": In(1),
            "shift": In(1),
            "drain_i": In(signed(acc_bits)),
            "drain_o": Out(signed(acc_bits)),
        })

    def elaborate(self, platform):
        m = Module()
        product = Signal(signed(self.act_bits + self.weight_bits), reset_less=True)
        partial = Signal(signed(self.acc_bits), reset_less=True)
        total = Signal(signed(self.acc_bits))
        drain = Signal(signed(self.acc_bits), name="drain_o", reset_less=True)
        m.d.comb += [total.eq(Mux(self.first, 0, partial) + product), self.drain_o.eq(drain)]
        m.d.sync += product.eq(self.input * self.weight)
        with m.If(self.add):
            m.d.sync += partial.eq(total)
        with m.If(self.last):
            m.d.sync += drain.eq(total)
        with m.Elif(self.shift):
            m.d.sync += drain.eq(self.drain_i)
        return m


@shared("cols", "bits", "depth", "twice")
class PlaneRow(wiring.Component):
    """Operands, history and PEs of a row.

    Parameters
    ----------
    cols : int
    bits : (int, int, int)
        Widths of an activation, a weight and a sum.
    depth : int
        Words of the history.
    twice : bool
        North and west neighbours ask for words of different steps at once (the last row): the history exists twice.

    Members
    -------
    go, all, east : In(1)
        A step; all inputs are new; inputs come from the east neighbours. Else they come from the south.
    fresh, south : In(cols x act)
        New inputs; inputs of the south neighbours (of the last row: new ones too).
    corner : In(act)
        New input of the last column, where the others come from the east.
    write_at, read_at, east_at : In(address)
        Words of the history: where this step is kept, what goes to the north neighbours (and east ones unless
        ``twice``), what goes to the west neighbours if ``twice``.
    history : Out(cols x act)
        What the PEs used in step ``read_at``.
    weight, add, first, last, shift, drain_i, drain_o
        As in :class:`PlanePE`.

    Timing
    ------
    An operand is at the PEs one cycle after its step, its product one cycle later; then ``add`` is due.
    """

    def __init__(self, cols: int, bits: tuple[int, int, int], depth: int, twice: bool):
        self.cols = cols
        self.bits = bits
        self.depth = depth
        self.twice = twice
        act, weight, acc = bits
        super().__init__({
            "go": In(1),
            "all": In(1),
            "east": In(1),
            "fresh": In(cols * act),
            "south": In(cols * act),
            "corner": In(act),
            "write_at": In(range(depth)),
            "read_at": In(range(depth)),
            "east_at": In(range(depth)),
            "history": Out(cols * act),
            "weight": In(signed(weight)),
            "add": In(1),
            "first": In(1),
            "last": In(1),
            "shift": In(1),
            "drain_i": In(signed(acc)).array(cols),
            "drain_o": Out(signed(acc)).array(cols),
        })

    def elaborate(self, platform):
        m = Module()
        act = self.bits[0]
        width = act * self.cols
        taken = Signal(width)  # inputs of this step
        operands = Signal(width, reset_less=True)
        m.submodules.history = history = PlaneHistory(width, self.depth)
        histories, behind = [(history, self.read_at)], history
        if self.twice:
            m.submodules.own_history = behind = PlaneHistory(width, self.depth)
            histories.append((behind, self.east_at))
        for store, address in histories:
            m.d.comb += [
                store.write_enable.eq(self.go),
                store.write_address.eq(self.write_at),
                store.write_data.eq(taken),
                store.read_address.eq(address),
            ]
        m.d.comb += self.history.eq(history.read_data)
        with m.If(self.all):
            m.d.comb += taken.eq(self.fresh)
        with m.Elif(self.east):
            m.d.comb += taken.eq(Cat(behind.read_data[act:], self.corner))
        with m.Else():
            m.d.comb += taken.eq(self.south)
        with m.If(self.go):
            m.d.sync += operands.eq(taken)
        for col in range(self.cols):
            m.submodules[f"pe_{col}"] = pe = PlanePE(*self.bits)
            m.d.comb += [
                pe.input.eq(operands.word_select(col, act).as_signed()),
                pe.weight.eq(self.weight),
                pe.add.eq(self.add),
                pe.first.eq(self.first),
                pe.last.eq(self.last),
                pe.shift.eq(self.shift),
                pe.drain_i.eq(self.drain_i[col]),
                self.drain_o[col].eq(pe.drain_o),
            ]
        return m
