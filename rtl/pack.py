"""Packing of a stream of words into bus beats that are aligned to each row's DRAM address."""

from amaranth import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa
from rtl import axi
from rtl.relay import Relay


def word_layout(size: int) -> data.StructLayout:
    """A word of at most ``size`` bytes: ``data[:count]`` is valid, ``count`` at least 1."""
    return data.StructLayout({"data": data.ArrayLayout(unsigned(8), size), "count": range(size + 1)})


def record_layout() -> data.StructLayout:
    """One record of the mark table: where it goes (a multiple of 16), cycle counter, tag."""
    return data.StructLayout({"address": unsigned(axi.ADDRESS_BITS), "cycle": unsigned(64), "tag": unsigned(64)})


def write_beat_layout(bus_bytes: int) -> data.StructLayout:
    """A beat to write. Where ``last`` is set, ``burst`` describes the burst that the beat closes."""
    return data.StructLayout({
        "data": data.ArrayLayout(unsigned(8), bus_bytes),
        "strobe": bus_bytes,
        "last": 1,
        "burst": data.StructLayout({
            "address": unsigned(axi.ADDRESS_BITS), "beats": range(257), "last_of_job": 1, "record": 1,
        }),
    })


class Narrower(wiring.Component):
    """Cuts words of ``word_bytes`` bytes into pieces of at most ``piece_bytes``; passes words that are not wider.

    Members
    -------
    i : In(stream of word_layout(word_bytes))
    o : Out(stream of word_layout(min(word_bytes, piece_bytes)))

    Timing
    ------
    Combinational; one piece per cycle.
    """

    def __init__(self, word_bytes: int, piece_bytes: int):
        self.word_bytes = word_bytes
        self.piece_bytes = min(word_bytes, piece_bytes)
        super().__init__({
            "i": In(stream.Signature(word_layout(word_bytes))),
            "o": Out(stream.Signature(word_layout(self.piece_bytes))),
        })

    def elaborate(self, platform):
        m = Module()
        if self.word_bytes == self.piece_bytes:
            wiring.connect(m, wiring.flipped(self.i), wiring.flipped(self.o))
            return m
        size = self.piece_bytes
        pieces = -(-self.word_bytes // size)
        number = Signal(range(pieces))
        left = Signal(range(self.word_bytes + 1))
        word = self.i.p.data.as_value()
        with m.Switch(number):
            for n in range(pieces):
                with m.Case(n):
                    m.d.comb += [
                        self.o.p.data.eq(word[8 * n * size : 8 * (n + 1) * size]),
                        left.eq(self.i.p.count - n * size),
                    ]
        final = Signal()
        m.d.comb += [
            final.eq(left <= size),
            self.o.p.count.eq(Mux(final, left, size)),
            self.o.valid.eq(self.i.valid),
            self.i.ready.eq(self.o.ready & final),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += number.eq(Mux(final, 0, number + 1))
        return m


class Packer(wiring.Component):
    """Fills the beats of the given bursts with the bytes of the given words.

    Words may straddle beats and bursts, never rows. Records of the mark table slip in between bursts.

    Parameters
    ----------
    word_bytes : int
        Bytes of a word, at most ``bus_bytes``.
    bus_bytes : int
        Bytes of a beat.
    max_beats : int
        Beats per burst: a record that needs more beats is written as several bursts.

    Members
    -------
    i : In(stream of word_layout(word_bytes))
    burst : In(stream of burst_layout(bus_bytes))
    record : In(stream of record_layout())
    o : Out(stream of write_beat_layout(bus_bytes))

    Timing
    ------
    One word or one beat per cycle, whichever there are more of. Words and bursts come through relays: a beat leaves two
    cycles after its last byte, and two words and two bursts may be inside.
    """

    def __init__(self, word_bytes: int, bus_bytes: int, max_beats: int):
        self.word_bytes = word_bytes
        self.bus_bytes = bus_bytes
        self.max_beats = max_beats
        super().__init__({
            "i": In(stream.Signature(word_layout(word_bytes))),
            "burst": In(stream.Signature(axi.burst_layout(bus_bytes))),
            "record": In(stream.Signature(record_layout())),
            "o": Out(stream.Signature(write_beat_layout(bus_bytes))),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.words = words = Relay(self.i.payload.shape())
        layout = data.StructLayout({"burst": self.burst.payload.shape(), "single": 1})
        m.submodules.bursts = bursts = Relay(layout)
        wiring.connect(m, wiring.flipped(self.i), words.i)
        m.d.comb += [
            bursts.i.valid.eq(self.burst.valid),
            bursts.i.p.burst.eq(self.burst.payload),
            bursts.i.p.single.eq(self.burst.p.beats == 1),
            self.burst.ready.eq(bursts.i.ready),
        ]
        room = Signal()
        m.d.comb += room.eq(~self.o.valid | self.o.ready)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        fresh = Signal(init=1)  # no beat of the burst has left
        border = Signal()
        m.d.comb += border.eq(self.record.valid & fresh)
        with m.If(border):
            self._elaborate_record(m, room)
        with m.Else():
            self._elaborate_data(m, room, fresh, words.o, bursts.o)
        return m

    def _elaborate_data(self, m, room, fresh, words, bursts):
        size = self.bus_bytes
        burst = bursts.payload.burst
        word = words.payload
        row_start = Signal(init=1)  # no byte of the row has been taken
        filled = Signal(range(size), reset_less=True)  # where the next byte goes, once the row has begun
        held = Signal(8 * (size - 1), reset_less=True)  # bytes of the open beat below that

        rest = Signal(range(257), reset_less=True)  # beats of the burst from the open one on, but for its first
        final = Signal(reset_less=True)  # the open beat is the last one, if it is not the first
        beats = Signal(range(257))
        last_beat = Signal()
        start = Signal(range(size))
        end = Signal(range(size + 1))
        flush = Signal()  # the beat, the last one of its row, has all its bytes already
        total = Signal(range(size + self.word_bytes + 1))
        complete = Signal()
        step = Signal()
        m.d.comb += [
            beats.eq(Mux(fresh, burst.beats, rest)),
            last_beat.eq(Mux(fresh, bursts.payload.single, final)),
            start.eq(Mux(row_start, burst.first, filled)),
            end.eq(Mux(last_beat, burst.tail, size)),
            flush.eq(~row_start & (filled >= end)),
            total.eq(start + word.count),
            complete.eq(flush | (total >= end)),
            step.eq(bursts.valid & (flush | words.valid) & room),
            words.ready.eq(bursts.valid & ~flush & room),
            bursts.ready.eq(step & complete & last_beat),
        ]
        window = word.data.as_value()
        for i in range(len(start)):
            stage = Signal(len(window) + (8 << i), name=f"window_{i}")
            m.d.comb += stage.eq(Mux(start[i], window << (8 << i), window))
            window = stage
        beat = Signal(8 * size)
        kept = [Mux(j < start, held.word_select(j, 8), window.word_select(j, 8)) for j in range(size - 1)]
        m.d.comb += beat.eq(Cat(*kept, window.word_select(size - 1, 8)))
        with m.If(step):
            m.d.sync += [row_start.eq(0), filled.eq(total), held.eq(Mux(complete, window >> (8 * size), beat))]
            with m.If(complete):
                m.d.sync += [
                    fresh.eq(last_beat),
                    rest.eq(beats - 1),
                    final.eq(beats == 2),
                    row_start.eq(last_beat & burst.last_of_row),
                ]
                self._send(m, beat, last_beat, burst.address, burst.beats, burst.last_of_job, record=0)
                skip = Mux(fresh, burst.first, 0)
                m.d.sync += self.o.p.strobe.eq(((1 << end) - 1) & ~((1 << skip) - 1))

    def _elaborate_record(self, m, room):
        record = self.record.payload
        size = self.bus_bytes
        bytes_ = Cat(record.cycle, record.tag)
        beats = max(1, isa.MARK_BYTES // size)
        number = Signal(range(max(2, beats)))
        final = number == beats - 1
        if beats > 1:
            beat, strobe = bytes_.word_select(number, 8 * size), (1 << size) - 1
        else:
            places = size // isa.MARK_BYTES
            place = record.address[4 : (size - 1).bit_length()]
            beat = bytes_.replicate(places)
            strobe = Cat((place == n).replicate(isa.MARK_BYTES) for n in range(places)) if places > 1 else ~0
        address = Signal(axi.ADDRESS_BITS)
        m.d.comb += [address.eq(record.address & ~(size - 1)), self.record.ready.eq(room & final)]
        last = final
        if beats > self.max_beats:
            beats, last = 1, 1
            m.d.comb += address.eq(record.address + number * size)
        with m.If(room):
            self._send(m, beat, last, address, beats, last_of_job=0, record=final)
            m.d.sync += [self.o.p.strobe.eq(strobe), number.eq(Mux(final, 0, number + 1))]

    def _send(self, m, beat, last, address, beats, last_of_job, record):
        out = self.o.payload
        m.d.sync += [
            self.o.valid.eq(1),
            out.data.eq(beat),
            out.last.eq(last),
            out.burst.address.eq(address),
            out.burst.beats.eq(beats),
            out.burst.last_of_job.eq(last_of_job),
            out.burst.record.eq(record),
        ]
