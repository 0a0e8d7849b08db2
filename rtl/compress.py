"""Compressed blocks on the way to DRAM: words of elements become compressed words, and rows of the length they have."""

from amaranth import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config
from rtl import axi
from rtl.block_sizes import WORD_BYTES, size_layout
from rtl.pack import word_layout
from rtl.queue import Queue
from rtl.run_length import Encoder

CHUNK_BYTES = 256
"""Compressed bytes that are collected before they are written, unless a write burst is shorter or a beat longer."""


def store_row_layout(cfg: Config) -> data.StructLayout:
    """A row of a STORE job; where ``coded`` is set it becomes the compressed block of size table entry ``block``."""
    return data.StructLayout({
        "address": unsigned(axi.ADDRESS_BITS), "bytes": unsigned(axi.ROW_BYTES_BITS), "last": 1,
        "coded": 1, "block": isa.BLOCK_BITS, "zero": cfg.numbers.act_bits,
    })


class Compressor(wiring.Component):
    """Passes rows and their words on as they are, or compressed, in their order.

    How long a compressed block is turns out when it ends. So its words are collected in a queue, and each chunk of them
    becomes a row of its own as soon as it is complete.

    Parameters
    ----------
    cfg : Config
        With a codec.
    piece_bytes : int
        Bytes of a word that comes in.

    Members
    -------
    row : In(stream of store_row_layout(cfg))
    i : In(stream of word_layout(piece_bytes))
    request : Out(stream of row_layout())
        ``last`` is that of the row, with its last chunk.
    o : Out(stream of word_layout(word_bytes))
        Exactly the bytes of the requests.
    size : Out(stream of size_layout(), always ready)
        The words of a block, when the last one has been made.

    Attributes
    ----------
    word_bytes : int
        ``piece_bytes``, or those of a compressed word if these are more.

    Timing
    ------
    Rows that are not coded pass at a word per cycle, two cycles later, without a gap; coded ones at the encoder's
    rate, with five cycles between blocks.
    """

    def __init__(self, cfg: Config, piece_bytes: int):
        self.cfg = cfg
        self.piece_bytes = piece_bytes
        self.word_bytes = max(piece_bytes, WORD_BYTES)
        longest = cfg.bus.max_write_burst * cfg.bus_bytes
        self.chunk_words = min(longest, max(CHUNK_BYTES, cfg.bus_bytes)) // WORD_BYTES
        super().__init__({
            "row": In(stream.Signature(store_row_layout(cfg))),
            "i": In(stream.Signature(word_layout(piece_bytes))),
            "request": Out(stream.Signature(axi.row_layout())),
            "o": Out(stream.Signature(word_layout(self.word_bytes))),
            "size": Out(stream.Signature(size_layout(), always_ready=True)),
        })

    def elaborate(self, platform):
        m = Module()
        size = self.cfg.act_bytes
        m.submodules.encoder = encoder = Encoder(self.cfg.codec_format, self.piece_bytes // size)
        m.submodules.words = words = Queue(word_layout(self.word_bytes), 2 * self.chunk_words)
        wiring.connect(m, words.o, wiring.flipped(self.o))

        # The open row.
        open_ = Signal()
        row = Signal(self.row.payload.shape(), reset_less=True)
        left = Signal(axi.ROW_BYTES_BITS, reset_less=True)  # bytes to come in
        dense = Signal()
        final = Signal()  # the word at ``i`` is the last of the row
        taken = Signal()
        request = self.request.payload
        free = Signal()  # a request can be made
        m.d.comb += [
            dense.eq(open_ & ~row.coded),
            final.eq(left == self.i.p.count),
            free.eq(~self.request.valid | self.request.ready),
            encoder.i.valid.eq(open_ & row.coded & (left != 0) & self.i.valid),
            encoder.i.p.data.eq(self.i.p.data.as_value()),
            encoder.i.p.count.eq(self.i.p.count // size),
            encoder.i.p.last.eq(final),
            encoder.zero.eq(row.zero),
            self.i.ready.eq(Mux(dense, words.i.ready, open_ & (left != 0) & encoder.i.ready)),
            taken.eq(self.i.valid & self.i.ready),
        ]
        with m.If(taken):
            m.d.sync += left.eq(left - self.i.p.count)
        with m.If(self.request.ready):
            m.d.sync += self.request.valid.eq(0)

        ended = self._elaborate_words(m, encoder, words.i, row, dense, free)
        m.d.comb += self.row.ready.eq((~open_ | (dense & taken & final)) & free)
        with m.If(ended | (dense & taken & final)):
            m.d.sync += open_.eq(0)
        with m.If(self.row.valid & self.row.ready):
            new = self.row.payload
            m.d.sync += [open_.eq(1), row.eq(new), left.eq(new.bytes)]
            with m.If(~new.coded):
                m.d.sync += [
                    self.request.valid.eq(1), request.address.eq(new.address), request.bytes.eq(new.bytes),
                    request.last.eq(new.last),
                ]
        return m

    def _elaborate_words(self, m, encoder, queue, row, dense, free):
        """Words into the queue, chunks into requests; returns the end of a compressed block."""
        number = Signal(range(self.chunk_words))  # words of the open chunk
        total = Signal(isa.BLOCK_BITS)  # words of the block
        complete = Signal()
        moved = Signal()
        ended = Signal()
        request, word = self.request.payload, encoder.o.payload
        m.d.comb += [
            complete.eq(word.last | (number == self.chunk_words - 1)),
            moved.eq(encoder.o.valid & encoder.o.ready),
            ended.eq(moved & word.last),
            encoder.o.ready.eq(queue.ready & (free | ~complete)),
            queue.valid.eq(Mux(dense, self.i.valid, encoder.o.valid & (free | ~complete))),
            queue.p.count.eq(Mux(dense, self.i.p.count, WORD_BYTES)),
            queue.p.data.eq(Mux(dense, self.i.p.data.as_value(), Cat(word.bits))),
            self.size.valid.eq(ended),
            self.size.p.block.eq(row.block),
            self.size.p.words.eq(total + 1),
        ]
        with m.If(moved):
            m.d.sync += [number.eq(Mux(complete, 0, number + 1)), total.eq(Mux(word.last, 0, total + 1))]
            with m.If(complete):
                m.d.sync += [
                    self.request.valid.eq(1),
                    request.address.eq(row.address),
                    request.bytes.eq((number + 1) * WORD_BYTES),
                    request.last.eq(row.last & word.last),
                    row.address.eq(row.address + self.chunk_words * WORD_BYTES),
                ]
        return ended
