"""Sums of a sparse PE: products are added to them in one bank while those of the other one leave and are cleared."""

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dataflows.config import Config
from rtl.accumulator import AccumulatorBank


class SparseSums(wiring.Component):
    """Two banks of sums; a product per cycle is added at any place, whatever was added just before.

    Sums are modular. After a reset all are cleared, a place of both banks per cycle.

    Parameters
    ----------
    cfg : Config
        Uses ``sparse.accumulators`` and ``numbers``.

    Members
    -------
    clearing : Out(1)
        Sums are being cleared after a reset; nothing may be added or drained.
    bank : In(1)
        Bank that is added to; the other one is drained. May change when sums of all products can be read.
    add : In(1), place : In(range(accumulators))
        A product comes in the next cycle, for this place.
    product : In(signed(2 * act_bits + 1))
    drain : In(1), drain_place : In(range(accumulators))
        Reads a sum of the other bank and makes it zero.
    drained : Out(signed(acc_bits))
        The sum, one cycle after ``drain``; held until the next one or until ``bank`` has changed.

    Timing
    ------
    A sum can be drained ``latency`` cycles after ``add``, with ``bank`` changed in that cycle. The first product for a
    drained place may come (``add``) two cycles after ``drain``.
    """

    latency = 3

    def __init__(self, cfg: Config):
        self.cfg = cfg
        numbers = cfg.numbers
        place = range(cfg.sparse.accumulators)
        super().__init__({
            "clearing": Out(1, init=1),
            "bank": In(1),
            "add": In(1),
            "place": In(place),
            "product": In(signed(numbers.act_bits + 1 + numbers.weight_bits)),
            "drain": In(1),
            "drain_place": In(place),
            "drained": Out(signed(numbers.acc_bits)),
        })

    def elaborate(self, platform):
        m = Module()
        shape = signed(self.cfg.numbers.acc_bits)
        depth = self.cfg.sparse.accumulators
        banks = []
        for name in ("bank_0", "bank_1"):
            m.submodules[name] = bank = AccumulatorBank(shape.width, depth)
            banks.append(bank)
        sweep = Signal(range(depth))
        with m.If(self.clearing):
            m.d.sync += sweep.eq(sweep + 1)
            with m.If(sweep == depth - 1):
                m.d.sync += self.clearing.eq(0)

        read_bank = Signal(reset_less=True)
        m.d.sync += read_bank.eq(self.bank)
        data = [bank.read_data.as_signed() for bank in banks]
        m.d.comb += self.drained.eq(Mux(read_bank, *data))
        total, write, write_place = self._add(m, Mux(read_bank, *reversed(data)))

        clear, clear_place = Signal(), Signal.like(self.place, reset_less=True)
        m.d.sync += clear.eq(self.drain)
        with m.If(self.drain):
            m.d.sync += clear_place.eq(self.drain_place)
        for index, bank in enumerate(banks):
            mine = self.bank if index else ~self.bank
            written = Signal(name=f"written_{index}")
            m.d.comb += [
                bank.read_enable.eq(Mux(mine, self.add, self.drain)),
                bank.read_address.eq(Mux(mine, self.place, self.drain_place)),
                written.eq(write & mine),
                bank.write_enable.eq(written | (clear & (read_bank != index)) | self.clearing),
                bank.write_address.eq(Mux(self.clearing, sweep, Mux(written, write_place, clear_place))),
                bank.write_data.eq(Mux(written, total, 0)),
            ]
        return m

    def _add(self, m, stored):
        """Stages "add" and "write". A sum that is still on its way to the memory is taken from there."""
        adding, write = Signal(), Signal()
        add_place, write_place = (
            Signal.like(self.place, name=name, reset_less=True) for name in ("add_place", "write_place")
        )
        # What the memory does not show yet to stage "add": the sum now in stage "write", or the one before.
        from_write, from_after = Signal(reset_less=True), Signal(reset_less=True)
        old = Signal(stored.shape())
        total, after = Signal(stored.shape(), reset_less=True), Signal(stored.shape(), reset_less=True)
        m.d.sync += [
            adding.eq(self.add),
            write.eq(adding),
            add_place.eq(self.place),
            write_place.eq(add_place),
            from_write.eq(adding & (add_place == self.place)),
            from_after.eq(write & (write_place == self.place)),
        ]
        with m.If(from_write):
            m.d.comb += old.eq(total)
        with m.Elif(from_after):
            m.d.comb += old.eq(after)
        with m.Else():
            m.d.comb += old.eq(stored)
        with m.If(adding):
            m.d.sync += total.eq(old + self.product)
        with m.If(write):
            m.d.sync += after.eq(total)
        return total, write, write_place
