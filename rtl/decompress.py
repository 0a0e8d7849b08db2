"""Compressed blocks on the way from DRAM: beats become words, words become beats of elements."""

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows.config import Config
from rtl.block_sizes import WORD_BYTES
from rtl.read_master import beat_layout
from rtl.run_length import LENGTH_BITS, Decoder


class Decompressor(wiring.Component):
    """Passes beats on as they are, or decodes them.

    Blocks begin at multiples of ``WORD_BYTES`` in DRAM. What follows the last element in the last word is dropped.

    Parameters
    ----------
    cfg : Config
        With a codec.

    Members
    -------
    coded : In(1)
        The beats at ``i`` belong to blocks. It changes only while nothing is being decoded.
    length : In(24)
        Bytes of each block, uncompressed.
    zero : In(act_bits)
    i, o : In, Out(stream of beat_layout(bus_bytes))

    Timing
    ------
    Combinational where ``coded`` is low. As Decoder where it is high: a cycle per pair, and three cycles without a beat
    between blocks.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        beats = stream.Signature(beat_layout(cfg.bus_bytes))
        super().__init__({
            "coded": In(1), "length": In(LENGTH_BITS), "zero": In(cfg.numbers.act_bits),
            "i": In(beats), "o": Out(beats),
        })

    def elaborate(self, platform):
        m = Module()
        bus_bytes, size = self.cfg.bus_bytes, self.cfg.act_bytes
        m.submodules.decoder = decoder = Decoder(self.cfg.codec_format, bus_bytes // size)
        beat, out, elements = self.i.payload, self.o.payload, decoder.o.payload

        # The words of a beat, one after the other.
        words = bus_bytes // WORD_BYTES
        number = Signal(range(max(2, words)))  # words of the beat that are taken already
        place = Signal(range(max(2, words)))
        final = Signal()
        m.d.comb += [
            place.eq(beat.first // WORD_BYTES + number),
            final.eq((number + 1) * WORD_BYTES >= beat.count),
            decoder.i.valid.eq(self.coded & self.i.valid),
            decoder.length.eq(self.length // size),
            decoder.zero.eq(self.zero),
        ]
        with m.Switch(place):
            for n in range(words):
                with m.Case(n):
                    m.d.comb += decoder.i.payload.eq(beat.data.as_value().word_select(n, 8 * WORD_BYTES))
        with m.If(decoder.i.valid & decoder.i.ready):
            m.d.sync += number.eq(Mux(final, 0, number + 1))

        m.d.comb += [
            self.i.ready.eq(Mux(self.coded, decoder.i.ready & final, self.o.ready)),
            self.o.valid.eq(Mux(self.coded, decoder.o.valid, self.i.valid)),
            decoder.o.ready.eq(self.coded & self.o.ready),
            out.data.eq(Mux(self.coded, elements.data.as_value(), beat.data.as_value())),
            out.first.eq(Mux(self.coded, 0, beat.first)),
            out.count.eq(Mux(self.coded, elements.count * size, beat.count)),
            out.last.eq(Mux(self.coded, elements.last, beat.last)),
        ]
        return m
