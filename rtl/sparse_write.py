"""Writes of LOAD to the memories of the sparse PEs."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from dataflows.config import Config
from rtl.memory import write_layout


class SparseWrite(wiring.Component):
    """Turns the byte address of a beat into a PE, and the beat's place in that PE's memory.

    PE p's memories begin at ``p * pitch``. What lies behind the end of a PE's memory, or behind the last PE, is
    dropped; codebooks are written to all PEs alike.

    Parameters
    ----------
    cfg : Config
        Must have ``sparse``.

    Members
    -------
    entries, pointers, codebook : In(stream of write_layout(bus_bytes), always ready)
        Whole beats at multiples of a beat; at most one of them has a beat in a cycle.
    to_entries, to_pointers : Out(pes), to_codebook : Out(1)
        PE whose memory is written.
    beat : Out(24), data : Out(bus bits)

    Timing
    ------
    One beat per cycle, one cycle later: early enough for a job that starts by the token of the LOAD job.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        write = stream.Signature(write_layout(cfg.bus_bytes), always_ready=True)
        super().__init__({
            "entries": In(write),
            "pointers": In(write),
            "codebook": In(write),
            "to_entries": Out(cfg.sparse.pes),
            "to_pointers": Out(cfg.sparse.pes),
            "to_codebook": Out(1),
            "beat": Out(24),
            "data": Out(cfg.bus.data_bits),
        })

    def elaborate(self, platform):
        m = Module()
        cfg, sparse = self.cfg, self.cfg.sparse
        beat_bits = exact_log2(cfg.bus_bytes)
        beat, data = self.codebook.p.address[beat_bits:], self.codebook.p.data.as_value()
        for name, pitch, size in (
            ("entries", cfg.sparse_weight_pitch, sparse.weight_bytes),
            ("pointers", cfg.sparse_pointer_pitch, sparse.pointer_bytes),
        ):
            port, enables, bits = getattr(self, name), getattr(self, f"to_{name}"), exact_log2(pitch)
            number, place = port.p.address[bits:], port.p.address[beat_bits:bits]
            inside = Signal(name=f"inside_{name}")
            m.d.comb += inside.eq(port.valid & (place < size // cfg.bus_bytes))
            m.d.sync += enables.eq(Cat(inside & (number == pe) for pe in range(sparse.pes)))
            beat, data = Mux(port.valid, place, beat), Mux(port.valid, port.p.data.as_value(), data)
        books = sparse.codebooks * cfg.codebook_pitch
        m.d.sync += self.to_codebook.eq(self.codebook.valid & (self.codebook.p.address < books))
        with m.If(self.entries.valid | self.pointers.valid | self.codebook.valid):
            m.d.sync += [self.beat.eq(beat), self.data.eq(data)]
        return m
