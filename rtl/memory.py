"""Byte-addressed operand memories: two banks, so that any window of bytes is read or written in a cycle.

Rotators are in front of and behind the banks only as far as windows and runs can begin at different places.
"""

from amaranth import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from dataflows import isa
from rtl.skew import delay


def write_layout(beat_bytes: int) -> data.StructLayout:
    """One write of a run of bytes: ``data[first:first + count]`` goes to ``address`` and the bytes after it."""
    return data.StructLayout({
        "address": unsigned(isa.STEP_BITS),
        "data": data.ArrayLayout(unsigned(8), beat_bytes),
        "first": range(beat_bytes),
        "count": range(beat_bytes + 1),
    })


class BankMemory(wiring.Component):
    """One memory with a read and a write port; the module to replace by an SRAM macro.

    Parameters
    ----------
    word_bytes : int
        Bytes per word.
    depth : int
        Words.
    granule : int
        Bytes per write enable.

    Members
    -------
    read_enable, read_address : In(1), In(address)
    read_data : Out(8 * word_bytes)
        The word, one cycle after ``read_enable``; held while it is low.
    write_enable, write_address, write_data : In(word_bytes // granule), In(address), In(8 * word_bytes)
        A word read while it is being written is undefined.
    """

    latency = 1

    def __init__(self, word_bytes: int, depth: int, granule: int = 1):
        self.word_bytes = word_bytes
        self.depth = depth
        self.granule = granule
        super().__init__({
            "read_enable": In(1),
            "read_address": In(range(depth)),
            "read_data": Out(8 * word_bytes),
            "write_enable": In(word_bytes // granule),
            "write_address": In(range(depth)),
            "write_data": In(8 * word_bytes),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = mem = memory.Memory(shape=unsigned(8 * self.word_bytes), depth=self.depth, init=[])
        write = mem.write_port(granularity=8 * self.granule)
        read = mem.read_port(domain="sync")
        m.d.comb += [
            write.en.eq(self.write_enable),
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
            read.en.eq(self.read_enable),
            read.addr.eq(self.read_address),
            self.read_data.eq(read.data),
        ]
        return m


class OperandBuffer(wiring.Component):
    """Memory in which a run of bytes is written, and a window of bytes read, at any multiple of a granule every cycle.

    Words lie in an even and an odd bank in turn, so a run of up to ``word_bytes`` touches each bank at most once.
    Where neither a write nor a read can cross the border of a word, there is one bank. A byte of a beat always
    goes to the same place of a beat in the memory, so beats are rotated, not words: log2(beat_bytes / granule) stages.
    Words read are shifted in log2(word_bytes / read_granule) stages.

    Parameters
    ----------
    size_bytes : int
        Capacity: a multiple of ``2 * word_bytes``.
    word_bytes : int
        Word of one bank: a power of two, at least ``beat_bytes`` and ``read_bytes``.
    beat_bytes : int
        Bytes of a write: a power of two.
    read_bytes : int
        Bytes of a read.
    granule : int
        Power of two; windows begin at multiples of it. Runs begin and end at multiples of it too, but if it is more
        than ``beat_bytes``, at multiples of that.
    read_granule : int, optional
        Power of two, at least ``granule``; windows begin at multiples of it, if that is more than for runs.

    Members
    -------
    write : In(stream of write_layout(beat_bytes), always ready)
        Bytes outside the run stay. A read two cycles later sees the new bytes.
    read_address : In(stream of 32-bit byte address, always ready)
    read_data : Out(read_bytes x 8)
        The window that starts at ``read_address``, ``latency`` cycles later. Bytes at or beyond ``size_bytes`` are
        undefined.

    Raises
    ------
    ValueError
        If a size is not what it must be.
    """

    latency = 3

    def __init__(
        self, size_bytes: int, word_bytes: int, beat_bytes: int, read_bytes: int, granule: int = 1,
        read_granule: int = 1,
    ):  # fmt: skip
        if word_bytes & (word_bytes - 1) or word_bytes < max(beat_bytes, read_bytes, 2):
            raise ValueError(
                "OperandBuffer word_bytes must be a power of two, at least 2, beat_bytes and read_bytes, "
                f"not {word_bytes!r} with {beat_bytes!r} and {read_bytes!r}"
            )
        if size_bytes <= 0 or size_bytes % (2 * word_bytes):
            raise ValueError(f"OperandBuffer size_bytes must be a multiple of {2 * word_bytes}, not {size_bytes!r}")
        for name, value in (("beat_bytes", beat_bytes), ("granule", granule), ("read_granule", read_granule)):
            if value < 1 or value & (value - 1):
                raise ValueError(f"OperandBuffer {name} must be a power of two, not {value!r}")
        self.size_bytes = size_bytes
        self.word_bytes = word_bytes
        self.beat_bytes = beat_bytes
        self.read_bytes = read_bytes
        self.granule = min(granule, word_bytes)
        self.read_granule = min(max(granule, read_granule), word_bytes)
        super().__init__({
            "write": In(stream.Signature(write_layout(beat_bytes), always_ready=True)),
            "read_address": In(stream.Signature(unsigned(isa.STEP_BITS), always_ready=True)),
            "read_data": Out(data.ArrayLayout(unsigned(8), read_bytes)),
        })

    def elaborate(self, platform):
        m = Module()
        words = self.size_bytes // self.word_bytes
        granule = min(self.granule, self.beat_bytes)
        if self.granule == self.word_bytes:  # so beats do not cross the border of a word either
            m.submodules.words = bank = BankMemory(self.word_bytes, words, granule)
            banks = [bank]
        else:
            m.submodules.even = even = BankMemory(self.word_bytes, words // 2, granule)
            m.submodules.odd = odd = BankMemory(self.word_bytes, words // 2, granule)
            banks = [even, odd]
        self._elaborate_write(m, banks, granule)
        self._elaborate_read(m, banks)
        return m

    def _locate(self, m, name, address, banks):
        """Split a byte address: word in each bank, bank of the first byte, offset in its word."""
        bits = exact_log2(self.word_bytes)
        word = Signal(isa.STEP_BITS - bits, name=f"{name}_word")
        m.d.comb += word.eq(address[bits:])
        if len(banks) == 1:
            return [word], 0, address[:bits]
        even_row = Signal(len(word), name=f"{name}_even_row")
        m.d.comb += even_row.eq((word + 1) >> 1)
        return [even_row, word >> 1], word[0], address[:bits]

    def _elaborate_write(self, m, banks, granule):
        write = self.write.payload
        base = Signal(isa.STEP_BITS)  # where byte 0 of the beat would go
        enable = Signal(self.beat_bytes // granule)
        m.d.comb += base.eq(write.address - write.first)
        scale = exact_log2(granule)
        with m.If(self.write.valid):
            m.d.comb += enable.eq(((Const(1) << (write.count >> scale)) - 1) << (write.first >> scale))
        taken = Signal.like(base, name="taken_base", reset_less=True)
        taken_enable = Signal.like(enable, name="taken_enable")
        taken_data = Signal(8 * self.beat_bytes, reset_less=True)
        m.d.sync += [taken.eq(base), taken_enable.eq(enable), taken_data.eq(write.data.as_value())]
        rows, bank, offset = self._locate(m, "write", taken, banks)
        enables = self._shift_up(m, taken_enable, offset[scale:])
        beat = self._rotate_up(m, taken_data, 8 * granule, offset[scale : exact_log2(self.beat_bytes)])
        half = self.word_bytes // granule
        halves = [enables[:half], enables[half:]]
        for index, (port, row) in enumerate(zip(banks, rows, strict=True)):
            m.d.comb += [
                port.write_address.eq(row),
                port.write_data.eq(beat.replicate(self.word_bytes // self.beat_bytes)),
                port.write_enable.eq(Mux(bank, halves[1 - index], halves[index]) if len(banks) > 1 else enables),
            ]

    def _shift_up(self, m, value, offset):
        """Move ``value`` up by ``offset`` bits, from one word into two."""
        for i in range(len(offset)):
            stage = Signal(len(value) + (1 << i), name=f"write_enable_{i}")
            m.d.comb += stage.eq(Mux(offset[i], value << (1 << i), value))
            value = stage
        return value

    def _rotate_up(self, m, value, unit, offset):
        """Rotate ``value`` up by ``offset`` elements of ``unit`` bits."""
        for i in range(len(offset)):
            stage = Signal(len(value), name=f"write_data_{i}")
            m.d.comb += stage.eq(Mux(offset[i], value.rotate_left(unit << i), value))
            value = stage
        return value

    def _elaborate_read(self, m, banks):
        rows, bank, offset = self._locate(m, "read", self.read_address.payload, banks)
        for port, row in zip(banks, rows, strict=True):
            m.d.comb += [port.read_address.eq(row), port.read_enable.eq(self.read_address.valid)]
        words = [Signal(8 * self.word_bytes, name=f"word_{i}", reset_less=True) for i in range(len(banks))]
        m.d.sync += [word.eq(port.read_data) for word, port in zip(words, banks, strict=True)]
        if len(banks) > 1:
            read_bank = delay(m, bank, 2, "read_bank")
            value = Signal(8 * (self.read_bytes + self.word_bytes - self.read_granule), name="read_words")
            m.d.comb += value.eq(Mux(read_bank, Cat(*reversed(words)), Cat(*words)))
            value = self._shift_down(m, value, offset)
        else:
            value = words[0]
        m.d.sync += self.read_data.eq(value)

    def _shift_down(self, m, value, offset):
        """Move the two words read down to the first byte of the window."""
        places = offset[exact_log2(self.read_granule) :]
        if not len(places):
            return value
        read_offset = delay(m, places, 2, "read_offset")
        for i in reversed(range(len(places))):  # large steps first: what cannot be read any more is dropped early
            amount = 8 * self.read_granule << i
            stage = Signal(len(value) - amount, name=f"read_data_{i}")
            m.d.comb += stage.eq(Mux(read_offset[i], value >> amount, value))
            value = stage
        return value
