"""Program fetch: reads command words ahead of their use."""

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows.config import Config
from rtl.axi import row_layout
from rtl.queue import Queue


def beat_layout(cfg: Config) -> data.StructLayout:
    """One beat of program words."""
    return data.StructLayout({"data": data.ArrayLayout(8, cfg.bus_bytes)})


class ProgramFetch(wiring.Component):
    """Reads the words of a program, ahead of their use.

    Parameters
    ----------
    cfg : Config

    Members
    -------
    start : In(1)
        Begin at ``base``; only while nothing is outstanding (``empty``).
    base, words : In(40), In(32)
        Program address, aligned to the bus, and length in 64-bit words; stable while running.
    flush : In(1)
        Stop requesting, throw away what arrives.
    empty : Out(1)
        Nothing requested or held.
    request : Out(stream of {address: bytes, bytes})
        Never asks for more than the queue has room for.
    data : In(stream of {data: one beat})
        Always ready.
    o : Out(stream of 64 bits)

    Timing
    ------
    One word per cycle as long as the bus delivers them; at least 128 words can be on their way. Words leave from a
    register, one cycle after the memory that holds the beats.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        self.depth = max(16, 128 * 8 // cfg.bus_bytes)
        super().__init__({
            "start": In(1),
            "base": In(40),
            "words": In(32),
            "flush": In(1),
            "empty": Out(1),
            "request": Out(stream.Signature(row_layout())),
            "data": In(stream.Signature(beat_layout(cfg))),
            "o": Out(stream.Signature(unsigned(64))),
        })

    def elaborate(self, platform):
        m = Module()
        beat_bytes = self.cfg.bus_bytes
        beat_words = beat_bytes // 8
        chunk = self.depth // 4  # beats per request: four of them on their way
        m.submodules.beats = beats = Queue(unsigned(8 * beat_bytes), self.depth)
        m.d.comb += [
            beats.i.payload.eq(self.data.payload.data),
            beats.i.valid.eq(self.data.valid),
            self.data.ready.eq(beats.i.ready),
        ]

        address = Signal(40, reset_less=True)
        wanted = Signal(32)  # beats not yet requested
        room = Signal(range(self.depth + 1), init=self.depth)  # beats neither requested nor held
        size = Signal(range(chunk + 1))
        asked = Signal()
        popped = Signal()
        m.d.comb += [
            size.eq(Mux(wanted < chunk, wanted, chunk)),
            asked.eq((wanted != 0) & (room >= chunk) & ~self.flush & (~self.request.valid | self.request.ready)),
            popped.eq(beats.o.valid & beats.o.ready),
            self.empty.eq((room == self.depth) & (wanted == 0)),
        ]
        freed = Signal()  # popped, in the cycle before
        m.d.sync += [freed.eq(popped), room.eq(room - Mux(asked, size, 0) + freed)]
        with m.If(self.request.ready):
            m.d.sync += self.request.valid.eq(0)
        with m.If(asked):
            m.d.sync += [
                address.eq(address + chunk * beat_bytes),
                wanted.eq(wanted - size),
                self.request.valid.eq(1),
                self.request.payload.address.eq(address),
                self.request.payload.bytes.eq(size * beat_bytes),
            ]
        with m.If(self.flush):
            m.d.sync += wanted.eq(0)
        with m.If(self.start):
            rounded_up = self.words + (beat_words - 1)
            m.d.sync += [address.eq(self.base), wanted.eq(rounded_up >> (beat_words.bit_length() - 1))]

        held = Signal(8 * beat_bytes, reset_less=True)
        left = Signal(range(beat_words + 1))
        m.d.comb += [
            self.o.payload.eq(held[:64]),
            self.o.valid.eq(left != 0),
            beats.o.ready.eq((left == 0) | ((left == 1) & self.o.ready) | self.flush),
        ]
        with m.If(popped):
            m.d.sync += [held.eq(beats.o.payload), left.eq(beat_words)]
        with m.Elif(self.o.valid & self.o.ready):
            m.d.sync += [held.eq(held >> 64), left.eq(left - 1)]
        with m.If(self.flush):
            m.d.sync += left.eq(0)
        return m
