"""STORE unit: words of the vector unit become rows of DRAM."""

from amaranth import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config
from rtl import axi
from rtl.agu import AddressGenerator, connect_nest
from rtl.block_sizes import size_layout
from rtl.compress import Compressor
from rtl.job import engine_ports
from rtl.limbs import partial_products
from rtl.load import region_base
from rtl.pack import Narrower, Packer, word_layout
from rtl.queue import Queue
from rtl.word_source import WordSource
from rtl.write_master import WriteMaster

OPEN_JOBS = 32
"""Jobs that may be open at a time, from the first row to the last response (mark record included)."""


class StoreEngine(wiring.Component):
    """Executes STORE jobs.

    A job takes exactly the bytes of its rows from ``i``; a word may straddle beats, bursts and pages, not rows. The
    response of a marked job's last burst makes a record of 16 bytes in the mark table: the cycle it came in, and the
    job's tag.

    Parameters
    ----------
    cfg : Config

    Members
    -------
    job, done, busy, stalled : engine_ports()
        A job is done two cycles after its last write response; ``busy`` stays high until its record is written too.
    regions : In(array of 40-bit addresses)
        Base address of each region.
    mark_base : In(40)
        Address of the mark table, a multiple of 16.
    cycle : In(64)
        Cycle counter, of the cycle before.
    clear : In(1)
        Program start: the next record is the first.
    marks : Out(16)
        Records written since ``clear``.
    i : In(stream of word_layout(vector_word_bytes))
    rows : In(the same)
        With attention only: words of the row engine, for jobs with ``mode.rows``.
    position : In(16)
        With attention only: tokens before those of the run. Jobs with ``mode.pitch`` begin as many pitches further on.
    size : Out(stream of size_layout(), always ready)
        With a codec only: words of each compressed block, before its job is done.
    error, drain, idle, beats, axi
        As in WriteMaster. While ``drain`` is high, ``i`` (and ``rows``) is taken and thrown away.

    Timing
    ------
    One word, one beat and one burst per cycle, no gap between rows or jobs; up to two words are taken ahead of their
    beats. Words wider than the bus are taken in
    pieces of one beat, one per cycle. With attention words are taken from the cycle after that on in which their row
    goes to the splitter of bursts (:class:`~rtl.word_source.WordSource`), and a job with ``mode.pitch`` two cycles
    after it is offered, or later.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        super().__init__({
            **engine_ports(cfg, isa.Unit.STORE),
            "regions": In(data.ArrayLayout(axi.ADDRESS_BITS, len(isa.Region))),
            "mark_base": In(axi.ADDRESS_BITS),
            "cycle": In(64),
            "clear": In(1),
            "marks": Out(16),
            "i": In(stream.Signature(word_layout(cfg.vector_word_bytes))),
            **(self._of_attention(cfg) if cfg.attention else {}),
            "error": Out(stream.Signature(unsigned(axi.ADDRESS_BITS), always_ready=True)),
            "drain": In(1),
            "idle": Out(1),
            "beats": Out(1),
            "axi": Out(wiring.Signature(axi.write_members(cfg.bus.data_bits))),
            **({"size": Out(stream.Signature(size_layout(), always_ready=True))} if cfg.codec else {}),
        })

    @staticmethod
    def _of_attention(cfg: Config) -> dict:
        return {"rows": In(stream.Signature(word_layout(cfg.vector_word_bytes))), "position": In(16)}

    def elaborate(self, platform):
        m = Module()
        bus_bytes = self.cfg.bus_bytes
        m.submodules.bursts = bursts = axi.BurstSplitter(bus_bytes, self.cfg.bus.max_write_burst)
        m.submodules.narrower = narrower = Narrower(self.cfg.vector_word_bytes, bus_bytes)
        compressor = None
        if self.cfg.codec:
            m.submodules.compressor = compressor = Compressor(self.cfg, narrower.piece_bytes)
        words = narrower if compressor is None else compressor
        word_bytes = narrower.piece_bytes if compressor is None else compressor.word_bytes
        m.submodules.packer = packer = Packer(word_bytes, bus_bytes, self.cfg.bus.max_write_burst)
        m.submodules.master = master = WriteMaster(self.cfg)
        wiring.connect(m, bursts.o, packer.burst)
        wiring.connect(m, words.o, packer.i)
        wiring.connect(m, packer.o, master.i)
        wiring.connect(m, master.axi, wiring.flipped(self.axi))
        wiring.connect(m, master.error, wiring.flipped(self.error))
        source = self._elaborate_source(m, narrower.i)
        m.d.comb += [
            master.drain.eq(self.drain),
            self.idle.eq(master.idle),
            self.beats.eq(master.beats),
        ]
        closed = Signal()
        if compressor is None:
            jobs = self._elaborate_front(m, bursts.i, closed, source)
        else:
            wiring.connect(m, narrower.o, compressor.i)
            wiring.connect(m, compressor.request, bursts.i)
            wiring.connect(m, compressor.size, wiring.flipped(self.size))
            jobs = self._elaborate_front(m, compressor.row, closed)
        self._elaborate_end(m, jobs, master.response, packer.record, closed)
        moved = (self.i.valid & self.i.ready) | self.beats
        if source is not None:
            moved |= self.rows.valid & self.rows.ready
        m.d.comb += self.stalled.eq(self.busy & ~moved)
        return m

    def _elaborate_source(self, m, words):
        """Words of the unit that the job says; returns what chooses, None where there is one unit only."""
        if self.cfg.attention is None:
            m.d.comb += [
                words.payload.eq(self.i.payload),
                words.valid.eq(self.i.valid & ~self.drain),
                self.i.ready.eq(words.ready | self.drain),
            ]
            return None
        m.submodules.source = source = WordSource(self.cfg)
        wiring.connect(m, wiring.flipped(self.i), source.vector)
        wiring.connect(m, wiring.flipped(self.rows), source.rows)
        wiring.connect(m, source.o, words)
        m.d.comb += source.drain.eq(self.drain)
        return source

    def _elaborate_front(self, m, row, closed, source=None):
        """Rows of the jobs; returns the queue of what is due when they are done."""
        m.submodules.rows = rows = AddressGenerator(levels=3, address_bits=axi.ADDRESS_BITS)
        due = data.StructLayout({"give": self.cfg.control.semaphores, "tag": 16, "mark": 1})
        m.submodules.jobs = jobs = Queue(due, OPEN_JOBS)
        job = self.job.payload
        accept = Signal()
        open_jobs = Signal(range(OPEN_JOBS + 1))
        base = Signal(axi.ADDRESS_BITS)
        room = Signal()
        offset, placed = self._elaborate_position(m, accept) if self.cfg.attention else (0, 1)
        m.d.comb += [
            room.eq((open_jobs != OPEN_JOBS) & jobs.i.ready & placed),
            self.job.ready.eq(rows.nest.ready & room),
            rows.nest.valid.eq(self.job.valid & room),
            accept.eq(self.job.valid & self.job.ready),
            jobs.i.valid.eq(accept),
            base.eq(region_base(self.regions, job.target.region) + job.target.address + offset),
            self.busy.eq(open_jobs != 0),
        ]
        m.d.comb += [getattr(jobs.i.p, name).eq(getattr(job, name)) for name in ("give", "tag", "mark")]
        m.d.sync += open_jobs.eq(open_jobs + accept - closed)
        connect_nest(m, rows.nest.payload, base, (job.row_a, job.row_b, job.row_c))
        row_bytes = Signal(axi.ROW_BYTES_BITS, reset_less=True)
        with m.If(accept):
            m.d.sync += row_bytes.eq(job.row.bytes)
        m.d.comb += [
            row.valid.eq(rows.o.valid),
            row.p.address.eq(rows.o.p.address),
            row.p.bytes.eq(row_bytes),
            row.p.last.eq(rows.o.p.last.all()),
            rows.o.ready.eq(row.ready),
        ]
        if source is not None:
            from_rows = Signal(reset_less=True)
            with m.If(accept):
                m.d.sync += from_rows.eq(job.mode.rows)
            m.d.comb += [
                source.row.valid.eq(row.valid & row.ready),
                source.row.p.bytes.eq(row_bytes),
                source.row.p.rows.eq(from_rows),
            ]
        if self.cfg.codec:
            with m.If(row.valid & row.ready):
                m.d.sync += row.p.block.eq(row.p.block + 1)
            with m.If(accept):
                m.d.sync += [getattr(row.p, name).eq(job.codec[name]) for name in ("coded", "block", "zero")]
        return jobs.o

    def _elaborate_position(self, m, accept):
        """What the position adds to the address of the job that is offered, and whether that is known yet."""
        pitch = self.job.payload.mode.pitch
        offset = Signal(axi.ADDRESS_BITS, reset_less=True)
        known = Signal(2)  # the product, then the sum of its parts, are of the job that is offered
        m.d.sync += [
            offset.eq(partial_products(m, 1, self.position, pitch, "offset")),
            known.eq(Mux(self.job.valid & ~accept, Cat(1, known[0]), 0)),
        ]
        return Mux(pitch == 0, 0, offset), (pitch == 0) | known[1]

    def _elaborate_end(self, m, job, response, record, closed):
        """Tokens of the jobs that end, and their records."""
        ended = Signal()
        written = Signal()
        m.d.comb += [
            ended.eq(response.valid & response.p.last_of_job),
            written.eq(response.valid & response.p.record),
            job.ready.eq(ended),
            closed.eq(written | (ended & ~job.p.mark)),
        ]
        m.d.sync += [self.done.valid.eq(ended), self.done.payload.eq(job.p.give)]

        # At most OPEN_JOBS records wait, because their jobs are still open.
        layout = data.StructLayout({"cycle": 64, "tag": 16})
        m.submodules.records = records = Queue(layout, OPEN_JOBS)
        number = Signal(16)  # of the next record
        m.d.comb += [
            records.i.valid.eq(ended & job.p.mark),
            records.i.p.cycle.eq(self.cycle),
            records.i.p.tag.eq(job.p.tag),
            record.valid.eq(records.o.valid),
            record.p.address.eq(self.mark_base + number * isa.MARK_BYTES),
            record.p.cycle.eq(records.o.p.cycle),
            record.p.tag.eq(records.o.p.tag),
            records.o.ready.eq(record.ready),
        ]
        with m.If(record.valid & record.ready):
            m.d.sync += number.eq(number + 1)
        with m.If(written):
            m.d.sync += self.marks.eq(self.marks + 1)
        with m.If(self.clear):
            m.d.sync += [number.eq(0), self.marks.eq(0)]
