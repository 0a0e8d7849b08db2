"""The size table: STORE notes how long compressed blocks are, LOAD's requests look it up."""

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config
from rtl import axi
from rtl.memory import BankMemory

WORD_BYTES = 8
"""Bytes of a compressed word."""


def size_layout() -> data.StructLayout:
    """One entry to write: its number, and the words of the block."""
    return data.StructLayout({"block": isa.BLOCK_BITS, "words": isa.BLOCK_BITS})


def coded_row_layout() -> data.StructLayout:
    """As ``axi.row_layout``; where ``coded`` is set, the row is the compressed block of entry ``block``."""
    return data.StructLayout({
        "address": unsigned(axi.ADDRESS_BITS), "bytes": unsigned(axi.ROW_BYTES_BITS), "last": 1,
        "coded": 1, "block": isa.BLOCK_BITS,
    })


class BlockSizes(wiring.Component):
    """Replaces the length of coded rows by that of their compressed block.

    Parameters
    ----------
    cfg : Config
        With a codec.

    Members
    -------
    write : In(stream of size_layout, always ready)
    i : In(stream of coded_row_layout)
    o : Out(stream of row_layout)

    Timing
    ------
    One row per cycle, one cycle later. An entry written in a cycle can be looked up from the next one on.
    """

    latency = 1

    def __init__(self, cfg: Config):
        self.cfg = cfg
        super().__init__({
            "write": In(stream.Signature(size_layout(), always_ready=True)),
            "i": In(stream.Signature(coded_row_layout())),
            "o": Out(stream.Signature(axi.row_layout())),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.table = table = BankMemory(isa.BLOCK_BITS // 8, self.cfg.codec.blocks)
        accept = Signal()
        coded = Signal(reset_less=True)
        size = Signal(axi.ROW_BYTES_BITS, reset_less=True)
        row = self.o.payload
        m.d.comb += [
            table.write_enable.eq(self.write.valid.replicate(isa.BLOCK_BITS // 8)),
            table.write_address.eq(self.write.p.block),
            table.write_data.eq(self.write.p.words),
            table.read_enable.eq(accept),
            table.read_address.eq(self.i.p.block),
            self.i.ready.eq(~self.o.valid | self.o.ready),
            accept.eq(self.i.valid & self.i.ready),
            row.bytes.eq(Mux(coded, table.read_data * WORD_BYTES, size)),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(accept):
            m.d.sync += [
                self.o.valid.eq(1), row.address.eq(self.i.p.address), row.last.eq(self.i.p.last),
                coded.eq(self.i.p.coded), size.eq(self.i.p.bytes),
            ]
        return m
