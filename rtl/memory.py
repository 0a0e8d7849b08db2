"""Byte-addressed operand memories: two banks, so that any window of bytes is read or written in a cycle."""

from amaranth import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa


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

    Members
    -------
    read_enable, read_address : In(1), In(address)
    read_data : Out(8 * word_bytes)
        The word, one cycle after ``read_enable``; held while it is low.
    write_enable, write_address, write_data : In(word_bytes), In(address), In(8 * word_bytes)
        One enable per byte. A word read while it is being written is undefined.
    """

    latency = 1

    def __init__(self, word_bytes: int, depth: int):
        self.word_bytes = word_bytes
        self.depth = depth
        super().__init__({
            "read_enable": In(1),
            "read_address": In(range(depth)),
            "read_data": Out(8 * word_bytes),
            "write_enable": In(word_bytes),
            "write_address": In(range(depth)),
            "write_data": In(8 * word_bytes),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = mem = memory.Memory(shape=unsigned(8 * self.word_bytes), depth=self.depth, init=[])
        write = mem.write_port(granularity=8)
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
    """Memory in which a run of bytes at any address is written, and a window at any address read, every cycle.

    Words lie in an even and an odd bank in turn, so a run of up to ``word_bytes`` touches each bank at most once.
    Rotators are log2(word_bytes) stages, each a choice between two constant shifts.

    Parameters
    ----------
    size_bytes : int
        Capacity: a multiple of ``2 * word_bytes``.
    word_bytes : int
        Word of one bank: a power of two, at least ``beat_bytes`` and ``read_bytes``.
    beat_bytes : int
        Bytes of a write.
    read_bytes : int
        Bytes of a read.

    Members
    -------
    write : In(stream of write_layout(beat_bytes), always ready)
        Bytes outside the run stay. A read in the next cycle sees the new bytes.
    read_address : In(stream of 32-bit byte address, always ready)
    read_data : Out(read_bytes x 8)
        The window that starts at ``read_address``, ``latency`` cycles later. Bytes at or beyond ``size_bytes`` are
        undefined.

    Raises
    ------
    ValueError
        If a size is not what it must be.
    """

    latency = 2

    def __init__(self, size_bytes: int, word_bytes: int, beat_bytes: int, read_bytes: int):
        if word_bytes & (word_bytes - 1) or word_bytes < max(beat_bytes, read_bytes, 2):
            raise ValueError(
                "OperandBuffer word_bytes must be a power of two, at least 2, beat_bytes and read_bytes, "
                f"not {word_bytes!r} with {beat_bytes!r} and {read_bytes!r}"
            )
        if size_bytes <= 0 or size_bytes % (2 * word_bytes):
            raise ValueError(f"OperandBuffer size_bytes must be a multiple of {2 * word_bytes}, not {size_bytes!r}")
        self.size_bytes = size_bytes
        self.word_bytes = word_bytes
        self.beat_bytes = beat_bytes
        self.read_bytes = read_bytes
        super().__init__({
            "write": In(stream.Signature(write_layout(beat_bytes), always_ready=True)),
            "read_address": In(stream.Signature(unsigned(isa.STEP_BITS), always_ready=True)),
            "read_data": Out(data.ArrayLayout(unsigned(8), read_bytes)),
        })

    def elaborate(self, platform):
        m = Module()
        depth = self.size_bytes // (2 * self.word_bytes)
        m.submodules.even = even = BankMemory(self.word_bytes, depth)
        m.submodules.odd = odd = BankMemory(self.word_bytes, depth)
        self._elaborate_write(m, even, odd)
        self._elaborate_read(m, even, odd)
        return m

    def _locate(self, m, name, address):
        """Split a byte address: row of the even and the odd bank, bank of the first byte, offset in its word."""
        bits = (self.word_bytes - 1).bit_length()
        word = Signal(isa.STEP_BITS - bits, name=f"{name}_word")
        even_row = Signal(len(word), name=f"{name}_even_row")
        m.d.comb += [word.eq(address[bits:]), even_row.eq((word + 1) >> 1)]
        return even_row, word >> 1, word[0], address[:bits]

    def _elaborate_write(self, m, even, odd):
        write = self.write.payload
        base = Signal(isa.STEP_BITS)  # where byte 0 of the beat would go
        enable = Signal(self.beat_bytes)
        m.d.comb += base.eq(write.address - write.first)
        with m.If(self.write.valid):
            m.d.comb += enable.eq(((Const(1) << write.count) - 1) << write.first)
        even_row, odd_row, bank, offset = self._locate(m, "write", base)
        bytes_ = self._shift_up(m, "write_data", write.data.as_value(), 8, offset)
        enables = self._shift_up(m, "write_enable", enable, 1, offset)
        half = self.word_bytes
        m.d.comb += [
            even.write_address.eq(even_row),
            odd.write_address.eq(odd_row),
            even.write_data.eq(Mux(bank, bytes_[8 * half :], bytes_[: 8 * half])),
            odd.write_data.eq(Mux(bank, bytes_[: 8 * half], bytes_[8 * half :])),
            even.write_enable.eq(Mux(bank, enables[half:], enables[:half])),
            odd.write_enable.eq(Mux(bank, enables[:half], enables[half:])),
        ]

    def _shift_up(self, m, name, value, unit, offset):
        """Move ``value`` up by ``offset`` elements of ``unit`` bits, from one word into two."""
        for i in range(len(offset)):
            amount = unit << i
            stage = Signal(len(value) + amount, name=f"{name}_{i}")
            m.d.comb += stage.eq(Mux(offset[i], value << amount, value))
            value = stage
        return value

    def _elaborate_read(self, m, even, odd):
        address = self.read_address.payload
        even_row, odd_row, bank, offset = self._locate(m, "read", address)
        m.d.comb += [
            even.read_address.eq(even_row),
            odd.read_address.eq(odd_row),
            even.read_enable.eq(self.read_address.valid),
            odd.read_enable.eq(self.read_address.valid),
        ]
        read_bank = Signal(reset_less=True)
        read_offset = Signal(len(offset), reset_less=True)
        m.d.sync += [read_bank.eq(bank), read_offset.eq(offset)]
        kept = self.read_bytes + self.word_bytes - 1
        value = Signal(8 * kept, name="read_words")
        m.d.comb += value.eq(
            Mux(read_bank, Cat(odd.read_data, even.read_data), Cat(even.read_data, odd.read_data))
        )
        for i in reversed(range(len(offset))):  # large steps first: what cannot be read any more is dropped early
            kept -= 1 << i
            stage = Signal(8 * kept, name=f"read_data_{i}")
            m.d.comb += stage.eq(Mux(read_offset[i], value >> (8 << i), value))
            value = stage
        m.d.sync += self.read_data.eq(value)
