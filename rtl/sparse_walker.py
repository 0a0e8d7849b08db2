"""Walks compressed columns: for each activation all entries of its column, one per cycle and none in between."""

from amaranth import Cat, Module, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from dataflows import isa
from dataflows.config import Config
from rtl.skew import delay
from rtl.sparse_memory import POINTER_BITS, BeatMemory, PointerMemory
from rtl.sparse_queue import activation_layout

BASE_BITS = 24
"""Of addresses and counts in the registers of a SPARSE job."""


def entry_layout(cfg: Config) -> data.StructLayout:
    """An entry on its way to the sums: zeros before it, its code, and what it is multiplied by."""
    return data.StructLayout({
        "run": unsigned(cfg.sparse.run_bits),
        "code": unsigned(cfg.sparse.code_bits),
        "first": 1,  # of its column
        "column": unsigned(isa.COUNT_BITS),
        "value": signed(cfg.numbers.act_bits + 1),
    })


class ColumnWalker(wiring.Component):
    """Pointer memory, entry memory, and what goes through the columns that come.

    Three stages. *Pointers*: an activation is taken and the pointer pair of its column read. *Walk*: one entry is read
    per cycle; a column without entries takes one cycle too. *Entry*: it is chosen out of its beat. A column is in its
    pointer stage while the one before is walked.

    Parameters
    ----------
    cfg : Config
        Uses ``sparse``, ``bus``, ``numbers`` and ``entry_bytes``.

    Members
    -------
    write_entries, write_pointers : In(1)
        Write ``write_data``, a beat, to beat ``write_beat`` of a memory.
    write_beat : In(24), write_data : In(bus bits)
    pointers, word, entries : In(24)
        Of the job, as in its registers; constant while anything is ``moving``.
    i : In(stream of activation_layout)
    walking : Out(1)
        An entry is read in this cycle.
    valid : Out(1), o : Out(entry_layout)
        The entry, ``latency`` cycles after it was read.
    moving : Out(1)
        A column is in the first two stages.
    bad : Out(1), bad_column : Out(16)
        In this cycle stands a column, in the walk stage, that ends before it begins or behind the job's entries. It is
        not walked and takes one cycle.

    Timing
    ------
    An activation taken in cycle t is walked from cycle t + ``start`` on, or from the cycle after the last one of the
    column before it; for max(1, entries) cycles. ``i.ready`` is a function of registers: the pointer stage is empty or
    moves on.
    """

    start = 2
    latency = BeatMemory.latency + 1

    def __init__(self, cfg: Config):
        self.cfg = cfg
        super().__init__({
            "write_entries": In(1),
            "write_pointers": In(1),
            "write_beat": In(BASE_BITS),
            "write_data": In(cfg.bus.data_bits),
            "pointers": In(BASE_BITS),
            "word": In(BASE_BITS),
            "entries": In(BASE_BITS),
            "i": In(stream.Signature(activation_layout(cfg))),
            "walking": Out(1),
            "valid": Out(1),
            "o": Out(entry_layout(cfg)),
            "moving": Out(1),
            "bad": Out(1),
            "bad_column": Out(isa.COUNT_BITS),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.cfg
        beat_bits, entry_bits = cfg.bus.data_bits, 8 * cfg.entry_bytes
        beats = cfg.sparse.weight_bytes // cfg.bus_bytes
        m.submodules.pointer_memory = pointers = PointerMemory(cfg)
        m.submodules.entry_memory = entries = BeatMemory(entry_bits, beat_bits, beat_bits, beats)
        for memory, enable in ((pointers, self.write_pointers), (entries, self.write_entries)):
            m.d.comb += [
                memory.write.eq(enable),
                memory.write_beat.eq(self.write_beat),
                memory.write_data.eq(self.write_data),
            ]

        fetched = Signal()  # an activation is in the pointer stage
        waiting = Signal(activation_layout(cfg), reset_less=True)
        walked = Signal()  # one is in the walk stage
        last = Signal(reset_less=True)
        free, take, load = Signal(), Signal(), Signal()
        m.d.comb += [
            free.eq(~walked | last),
            self.i.ready.eq(~fetched | free),
            take.eq(self.i.valid & self.i.ready),
            load.eq(fetched & free),
            pointers.read.eq(take),
            pointers.base.eq(self.pointers),
            pointers.column.eq(self.i.payload.column),
            self.moving.eq(fetched | walked),
        ]
        with m.If(self.i.ready):
            m.d.sync += fetched.eq(self.i.valid)
        with m.If(take):
            m.d.sync += waiting.eq(self.i.payload)
        self._walk(m, entries, pointers, waiting, walked, last, free, load)
        return m

    def _walk(self, m, entries, pointers, waiting, walked, last, free, load):
        """The walk stage and the one behind it."""
        low = exact_log2(self.cfg.bus_bytes // self.cfg.entry_bytes)
        length = Signal(signed(POINTER_BITS + 1))
        wrong = Signal()
        address = Signal(len(entries.beat) + low, reset_less=True)
        left = Signal(POINTER_BITS, reset_less=True)
        first = Signal(reset_less=True)
        now = Signal.like(waiting, name="now", reset_less=True)
        base = self.word if len(entries.beat) else 0  # a memory of a single beat has no address
        m.d.comb += [
            length.eq(pointers.behind - pointers.first),
            wrong.eq((length < 0) | (pointers.behind > self.entries)),
        ]
        with m.If(free):
            m.d.sync += [walked.eq(load), self.walking.eq(load & (length != 0) & ~wrong)]
            m.d.sync += self.bad.eq(load & wrong)
        with m.If(load):
            m.d.sync += [
                now.eq(waiting),
                address.eq(Cat(pointers.first[:low], pointers.first[low:] + base)),
                left.eq(length),
                last.eq((length[1:] == 0) | wrong),
                first.eq(1),
            ]
        with m.Elif(~free):
            m.d.sync += [address.eq(address + 1), left.eq(left - 1), last.eq(left == 2), first.eq(0)]
        m.d.comb += [
            self.bad_column.eq(now.column),
            entries.read.eq(self.walking & (first | (address[:low] == 0))),  # else the beat is there
            entries.beat.eq(address[low:]),
        ]

        behind = Signal()  # an entry's beat is there
        index = Signal(low, reset_less=True)
        m.d.comb += entries.index.eq(index)
        m.d.sync += [behind.eq(self.walking), self.valid.eq(behind)]
        with m.If(self.walking):
            m.d.sync += index.eq(address)
        run_bits, code_bits = self.cfg.sparse.run_bits, self.cfg.sparse.code_bits
        run, code = Signal(run_bits, reset_less=True), Signal(code_bits, reset_less=True)
        with m.If(behind):
            m.d.sync += [run.eq(entries.o[:run_bits]), code.eq(entries.o[run_bits:][:code_bits])]
        m.d.comb += Value.cast(self.o).eq(Cat(run, code, delay(m, Cat(first, Value.cast(now)), self.latency, "along")))
