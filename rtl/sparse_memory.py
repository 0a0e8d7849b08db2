"""Memories of a sparse PE that are written in whole beats and read by the element."""

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from dataflows import isa
from dataflows.config import Config
from rtl.accumulator import AccumulatorBank

CHUNK_BITS = 64
"""Widest word out of which an element is shifted; of wider words such a chunk is chosen first."""
POINTER_BITS = 8 * isa.POINTER_BYTES


def element(m: Module, word: Value, index: Value, bits: int, name: str) -> Value:
    """Element ``index`` of a word of at least two elements of ``bits`` bits; widths are powers of two."""
    if len(word) <= CHUNK_BITS:
        return word.word_select(index, bits)
    low = exact_log2(CHUNK_BITS // bits)
    chunk = Signal(CHUNK_BITS, name=f"{name}_chunk")
    chunks = [word[first : first + CHUNK_BITS] for first in range(0, len(word), CHUNK_BITS)]
    for bit in index[low:]:
        chunks = [Mux(bit, *reversed(pair)) for pair in zip(chunks[::2], chunks[1::2], strict=True)]
    m.d.comb += chunk.eq(chunks[0])
    return chunk.word_select(index[:low], bits)


class BeatMemory(wiring.Component):
    """Elements of which every beat of the bus brings several; one is read per cycle.

    Parameters
    ----------
    bits : int
        Width of an element, a power of two.
    beat_bits : int
        Width of a beat.
    word_bits : int
        What is kept of each beat, from bit 0 up: a power of two, at least ``2 * bits``.
    beats : int
        Depth.

    Members
    -------
    write, write_beat, write_data : In(1), In(range(beats)), In(beat_bits)
    read : In(1), beat : In(range(beats))
        Fetches a word. A word that is fetched while it is written is undefined.
    index : In(log2(word_bits / bits))
        Element of the word that was fetched last, one cycle after ``read``.
    o : Out(bits)
        The element, in the cycle of ``index``.
    """

    latency = AccumulatorBank.latency

    def __init__(self, bits: int, beat_bits: int, word_bits: int, beats: int):
        self.bits = bits
        self.word_bits = word_bits
        self.beats = beats
        super().__init__({
            "write": In(1),
            "write_beat": In(range(beats)),
            "write_data": In(beat_bits),
            "read": In(1),
            "beat": In(range(beats)),
            "index": In(exact_log2(word_bits // bits)),
            "o": Out(bits),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.bank = bank = AccumulatorBank(self.word_bits, self.beats)
        m.d.comb += [
            bank.write_enable.eq(self.write),
            bank.write_address.eq(self.write_beat),
            bank.write_data.eq(self.write_data),
            bank.read_enable.eq(self.read),
            bank.read_address.eq(self.beat),
            self.o.eq(element(m, bank.read_data, self.index, self.bits, "element")),
        ]
        return m


class PointerMemory(wiring.Component):
    """Column pointers in an even and an odd bank, so that both ends of a column come in one cycle.

    Parameters
    ----------
    cfg : Config
        Uses ``bus`` and ``sparse.pointer_bytes``.

    Members
    -------
    write, write_beat, write_data : In(1), In(range(beats)), In(bus bits)
    read : In(1), base : In(range(beats)), column : In(16)
        Reads pointers ``column`` and ``column + 1`` of those that begin at beat ``base``.
    first, behind : Out(16)
        Both, one cycle after ``read``; held while it is low.
    """

    latency = AccumulatorBank.latency

    def __init__(self, cfg: Config):
        self.beat_bits = cfg.bus.data_bits
        self.beats = cfg.sparse.pointer_bytes // cfg.bus_bytes
        super().__init__({
            "write": In(1),
            "write_beat": In(range(self.beats)),
            "write_data": In(self.beat_bits),
            "read": In(1),
            "base": In(range(self.beats)),
            "column": In(isa.COUNT_BITS),
            "first": Out(POINTER_BITS),
            "behind": Out(POINTER_BITS),
        })

    def elaborate(self, platform):
        m = Module()
        pointers = [self.write_data[POINTER_BITS * n :][:POINTER_BITS] for n in range(self.beat_bits // POINTER_BITS)]
        low = exact_log2(len(pointers) // 2)
        pair = Signal(isa.COUNT_BITS - 1)  # the odd pointer of the two is that of this pair
        m.d.comb += pair.eq(self.column >> 1)
        found = []
        odd = Signal(reset_less=True)
        with m.If(self.read):
            m.d.sync += odd.eq(self.column[0])
        for parity, name in enumerate(("even", "odd")):
            m.submodules[name] = bank = AccumulatorBank(self.beat_bits // 2, self.beats)
            place = Signal(isa.COUNT_BITS, name=f"{name}_place")
            index = Signal(low, name=f"{name}_index", reset_less=True)
            m.d.comb += [
                bank.write_enable.eq(self.write),
                bank.write_address.eq(self.write_beat),
                bank.write_data.eq(Cat(pointers[parity::2])),
                place.eq(pair if parity else pair + self.column[0]),
                bank.read_enable.eq(self.read),
                bank.read_address.eq(self.base + (place >> low)),
            ]
            with m.If(self.read):
                m.d.sync += index.eq(place)
            pointer = Signal(POINTER_BITS, name=f"{name}_pointer")
            m.d.comb += pointer.eq(element(m, bank.read_data, index, POINTER_BITS, name))
            found.append(pointer)
        m.d.comb += [self.first.eq(Mux(odd, found[1], found[0])), self.behind.eq(Mux(odd, found[0], found[1]))]
        return m
