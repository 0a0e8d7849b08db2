"""ACC engine and accumulator buffer: adds up the words of the array, one per cycle at any addresses."""

from amaranth import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config
from rtl.agu import AddressGenerator, connect_nest
from rtl.drain import sum_stream
from rtl.job import engine_ports
from rtl.skew import delay, taps

LEVELS = ("word", "block", "pass", "group")
"""Loop levels of an ACC job, innermost first."""


class AccumulatorBank(wiring.Component):
    """Wrapper around one memory with a read and a write port; the module to replace by an SRAM macro.

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

    latency = 1

    def __init__(self, bits: int, depth: int):
        self.bits = bits
        self.depth = depth
        super().__init__({
            "read_enable": In(1),
            "read_address": In(range(depth)),
            "read_data": Out(bits),
            "write_enable": In(1),
            "write_address": In(range(depth)),
            "write_data": In(bits),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = mem = memory.Memory(shape=unsigned(self.bits), depth=self.depth, init=[])
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


class Accumulator(wiring.Component):
    """Adds the words of the array to the words of a loop nest of addresses.

    A word is written as it is when level ``pass`` is in its first iteration and ``keep`` is clear; else it is added
    to what is there, modulo 2**acc_bits. Two banks: the engine works in one while the vector unit reads the other.
    Words beyond both banks are dropped.

    Parameters
    ----------
    cfg : Config

    Members
    -------
    job, done, busy, stalled
        See :func:`~rtl.job.engine_ports`. Holds the running job and the next one. Done when the last sum can be read
        in the next cycle.
    open : Out(1)
        A job has been taken whose words come from the array.
    open_sparse : Out(1), only where the configuration has the sparse engine
        A job has been taken whose words come from there. While a job of one source is open, none of the other is taken.
    i : In(sum_stream)
        Words of the taken jobs, in order.
    read_address : In(stream of 32-bit word address, always ready)
        Of the vector unit. Ignored in a cycle in which the engine reads the same bank.
    read_data : Out(lanes x signed(acc_bits))
        The word at ``read_address``, ``latency`` cycles later.

    Timing
    ------
    One word per cycle. A read may begin ``write_latency`` cycles after the word came in.
    """

    latency = AccumulatorBank.latency + 1
    write_latency = 4
    done_latency = 3  # it takes longer from the tokens to a read

    def __init__(self, cfg: Config):
        self.cfg = cfg
        super().__init__(engine_ports(cfg, isa.Unit.ACC) | {
            "open": Out(1),
            **({"open_sparse": Out(1)} if cfg.sparse else {}),
            "i": In(sum_stream(cfg)),
            "read_address": In(stream.Signature(unsigned(isa.STEP_BITS), always_ready=True)),
            "read_data": Out(data.ArrayLayout(signed(cfg.numbers.acc_bits), cfg.lanes)),
        })

    def elaborate(self, platform):
        m = Module()
        banks = []
        bits = self.cfg.numbers.acc_bits * self.cfg.lanes
        for name in ("bank_0", "bank_1"):
            m.submodules[name] = bank = AccumulatorBank(bits, self.cfg.acc_bank_words)
            banks.append(bank)
        agu, keep = self._jobs(m)
        place = self._locate(m, "acc", agu.o.payload.address)
        words = self._read(m, banks, place)
        self._add(m, banks, agu, place, words, keep)
        return m

    def _jobs(self, m):
        """The running job is in the address generator, ``keep`` and ``give``; the next one is in ``waiting``."""
        m.submodules.agu = agu = AddressGenerator(len(LEVELS), isa.STEP_BITS)
        waiting = Signal(self.job.payload.shape(), reset_less=True)
        full, start, take = Signal(), Signal(), Signal()
        keep, give = Signal(), Signal.like(waiting.give)
        connect_nest(m, agu.nest.payload, waiting.base.address, [waiting[name] for name in LEVELS])
        m.d.comb += [
            agu.nest.valid.eq(full),
            start.eq(full & agu.nest.ready),
            self.job.ready.eq(~full & self._one_source(m, agu)),
            take.eq(self.job.valid & self.job.ready),
        ]
        with m.If(start):
            m.d.sync += [full.eq(0), keep.eq(waiting.mode.keep), give.eq(waiting.give)]
        with m.If(take):
            m.d.sync += [full.eq(1), waiting.eq(self.job.payload)]
        end = self.i.valid & agu.o.payload.last.all()
        ending = taps(m, end, self.done_latency, "ending", first=1, reset_less=False)
        m.d.comb += [
            agu.o.ready.eq(self.i.valid),
            self.done.valid.eq(ending[-1]),
            self.done.payload.eq(delay(m, give, self.done_latency, "give")),
            self.busy.eq(full | agu.o.valid | Cat(ending).any()),
            self.stalled.eq(agu.o.valid & ~self.i.valid),
        ]
        return agu, keep

    def _one_source(self, m, agu):
        """Tell the source that a job is open for it; returns whether the job offered is of the one that has jobs."""
        take = self.job.valid & self.job.ready
        if self.cfg.sparse is None:
            m.d.comb += self.open.eq(take)
            return 1
        sparse = Signal(reset_less=True)  # source of the last job taken
        offered = self.job.payload.mode.sparse
        with m.If(take):
            m.d.sync += sparse.eq(offered)
        m.d.comb += [self.open.eq(take & ~offered), self.open_sparse.eq(take & offered)]
        return ~agu.o.valid | (sparse == offered)

    def _locate(self, m, name, address):
        """Split a word address: bank, address in the bank, and whether it is in one of both banks."""
        words = self.cfg.acc_bank_words
        place = Signal(data.StructLayout({"bank": 1, "row": range(words), "inside": 1}), name=f"{name}_place")
        m.d.comb += [
            place.bank.eq(address >= words),
            place.row.eq(Mux(place.bank, address - words, address)),
            place.inside.eq(address < 2 * words),
        ]
        return place

    def _read(self, m, banks, place):
        """Read ports; returns the lanes of the word the engine has read."""
        vector = self._locate(m, "vector", self.read_address.payload)
        for index, bank in enumerate(banks):
            mine = Signal(name=f"acc_reads_{index}")
            m.d.comb += [
                mine.eq(self.i.valid & (place.bank == index)),
                bank.read_enable.eq(mine | (self.read_address.valid & (vector.bank == index))),
                bank.read_address.eq(Mux(mine, place.row, vector.row)),
            ]
        vector_bank = Signal(reset_less=True)
        acc_bank = Signal(reset_less=True)
        m.d.sync += [acc_bank.eq(place.bank), vector_bank.eq(vector.bank)]
        words = [data.View(self.read_data.shape(), bank.read_data) for bank in banks]
        lanes = []
        for index, port in enumerate(self.read_data):
            lane = Signal(port.shape(), name=f"vector_{index}", reset_less=True)
            mine = Signal(port.shape(), name=f"stored_{index}", reset_less=True)
            m.d.sync += [
                lane.eq(Mux(vector_bank, words[1][index], words[0][index])),
                mine.eq(Mux(acc_bank, words[1][index], words[0][index])),
            ]
            m.d.comb += port.eq(lane)
            lanes.append(mine)
        return lanes

    def _add(self, m, banks, agu, place, words, keep):
        """Stages "read", "add" and "write". A word that is still on its way to the memory is taken from there."""
        inside, read_valid, add_valid, write_valid = Signal(), Signal(), Signal(), Signal()
        read_old, add_old = Signal(reset_less=True), Signal(reset_less=True)  # add to what is there
        read_place, add_place, write_place, after_place = (
            Signal.like(place, name=f"{stage}_place", reset_less=True) for stage in ("read", "add", "write", "after")
        )
        after_valid = Signal()
        # What the memory does not show yet to a word in stage "add": the sum now in stage "write", or one of the two
        # before it.
        newer = {
            "from_write": (add_valid, add_place), "from_after": (write_valid, write_place),
            "from_late": (after_valid, after_place),
        }
        forward = {name: Signal(name=name, reset_less=True) for name in newer}
        m.d.comb += inside.eq(self.i.valid & place.inside)
        m.d.sync += [
            read_valid.eq(inside),
            read_old.eq(keep | ~agu.o.payload.first[LEVELS.index("pass")]),
            read_place.eq(place),
            add_valid.eq(read_valid),
            add_old.eq(read_old),
            add_place.eq(read_place),
            write_valid.eq(add_valid),
            write_place.eq(add_place),
            after_valid.eq(write_valid),
            after_place.eq(write_place),
            *(forward[name].eq(valid & (at == read_place)) for name, (valid, at) in newer.items()),
        ]
        sums = []
        shape = signed(self.cfg.numbers.acc_bits)
        for index, (new, stored) in enumerate(zip(self.i.payload, words, strict=True)):
            came = Signal(shape, name=f"came_{index}", reset_less=True)
            added = Signal(shape, name=f"new_{index}", reset_less=True)
            old = Signal(shape, name=f"old_{index}")
            total = Signal(shape, name=f"sum_{index}", reset_less=True)
            after = Signal(shape, name=f"after_{index}", reset_less=True)
            late = Signal(shape, name=f"late_{index}", reset_less=True)
            with m.If(~add_old):
                m.d.comb += old.eq(0)
            with m.Elif(forward["from_write"]):
                m.d.comb += old.eq(total)
            with m.Elif(forward["from_after"]):
                m.d.comb += old.eq(after)
            with m.Elif(forward["from_late"]):
                m.d.comb += old.eq(late)
            with m.Else():
                m.d.comb += old.eq(stored)
            m.d.sync += [came.eq(new), added.eq(came), total.eq(added + old), after.eq(total), late.eq(after)]
            sums.append(total)
        for index, bank in enumerate(banks):
            m.d.comb += [
                bank.write_enable.eq(write_valid & (write_place.bank == index)),
                bank.write_address.eq(write_place.row),
                bank.write_data.eq(Cat(sums)),
            ]
