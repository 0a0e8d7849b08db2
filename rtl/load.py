"""LOAD unit: rows of DRAM, or fill bytes, become segments in an on-chip memory."""

from amaranth import Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config
from rtl import axi
from rtl.agu import AddressGenerator, connect_nest
from rtl.block_sizes import coded_row_layout
from rtl.decompress import Decompressor
from rtl.gather import INDEX_BITS, Gather
from rtl.halves import HalfExpander
from rtl.job import engine_ports, job_layout
from rtl.memory import write_layout
from rtl.queue import Queue
from rtl.read_master import beat_layout
from rtl.segments import SegmentWriter
from rtl.select import entry_layout

JOBS_AHEAD = 4
"""Jobs whose rows may be requested before the first of them is written."""


class LoadEngine(wiring.Component):
    """Executes LOAD jobs.

    The front issues the rows of a job to the read master and runs up to ``JOBS_AHEAD`` jobs ahead of the back, which
    writes what returns. Each cycle writes the largest run of bytes that lies in one beat and in one segment.
    A fill job asks for nothing; the back makes its bytes. The rows of a job hold as many bytes as its segments.
    Where the configuration has a codec, rows may be compressed blocks. With ``[attention]`` LOAD holds the memory of
    lists (target INDEX), and gathered jobs take the starts of ``row_c`` from there (:class:`rtl.gather.Gather`). As the
    front runs ahead of the writes, it takes a gathered job when all jobs before it that write lists are done; lists
    that later jobs write do not disturb it, as all its rows are asked for before anything behind it is written.

    Parameters
    ----------
    cfg : Config

    Members
    -------
    job, done, busy, stalled : engine_ports()
        A job is done when a read started by its token sees the last byte.
    regions : In(array of 40-bit addresses)
        Base address of each region.
    position : In(16)
        With attention: tokens before those of the run.
    request : Out(stream of row_layout(), or of coded_row_layout() where there is a codec)
        Rows to read.
    data : In(stream of beat_layout(bus_bytes))
        Their beats, in order.
    input, weight, operand, param, ... : Out(stream of write_layout(bus_bytes), always ready)
        One write port per target; not for INDEX, which stays here.

    Timing
    ------
    One cycle from a job to its first request, one from a beat to its write; one write per cycle, and no gap between
    segments, rows or jobs. A gathered job is taken in the cycle after the last list before it was done, or later;
    its start i is there ``Gather.latency + i`` cycles after it was taken, the request one cycle after that, or when the
    requests before it are taken. The next job is taken behind the cycle in which its last start was. A job by a list
    with a length is taken ``Gather.peek_latency`` cycles later.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        write = stream.Signature(write_layout(cfg.bus_bytes), always_ready=True)
        super().__init__({
            **engine_ports(cfg, isa.Unit.LOAD),
            "regions": In(data.ArrayLayout(axi.ADDRESS_BITS, len(isa.Region))),
            "request": Out(stream.Signature(coded_row_layout() if cfg.codec else axi.row_layout())),
            "data": In(stream.Signature(beat_layout(cfg.bus_bytes))),
            **({"position": In(INDEX_BITS)} if cfg.attention else {}),
            **{name: Out(write) for name in self._target_ports()},
            **({"list": In(stream.Signature(entry_layout()))} if cfg.pruning else {}),
        })

    def _target_ports(self) -> list[str]:
        return [target.name.lower() for target in isa.targets(self.cfg) if target != isa.Target.INDEX]

    def elaborate(self, platform):
        m = Module()
        layout = job_layout(self.cfg, isa.Unit.LOAD)
        kept = ("destination", "segment", "segment_a", "segment_b", "segment_c", "give")
        kept += ("row", "codec") if self.cfg.codec else ()
        kept += ("gather",) if self.cfg.attention else ()
        m.submodules.jobs = jobs = Queue(data.StructLayout({name: layout[name].shape for name in kept}), JOBS_AHEAD)
        m.submodules.writer = writer = SegmentWriter(self.cfg, jobs.o.payload.shape())
        m.submodules.rows = rows = AddressGenerator(levels=3, address_bits=axi.ADDRESS_BITS)
        wiring.connect(m, jobs.o, writer.job)
        self._elaborate_data(m, writer)
        for name in ("done", *self._target_ports()):
            wiring.connect(m, getattr(writer, name), wiring.flipped(getattr(self, name)))

        job = self.job.payload
        base = Signal(axi.ADDRESS_BITS)
        row_bytes = Signal(axi.ROW_BYTES_BITS, reset_less=True)
        open_jobs = Signal(range(JOBS_AHEAD + 8))  # the queue, and what the writer holds
        m.d.comb += [getattr(jobs.i.payload, name).eq(getattr(job, name)) for name in kept]
        if self.cfg.attention:
            self._elaborate_gather(m, jobs, writer, rows, base, row_bytes, open_jobs)
        else:
            self._elaborate_rows(m, jobs, rows, base, row_bytes)
        m.d.comb += [
            self.request.valid.eq(rows.o.valid),
            self.request.p.address.eq(rows.o.p.address),
            self.request.p.bytes.eq(row_bytes),
            rows.o.ready.eq(self.request.ready),
        ]
        if self.cfg.codec:
            with m.If(self.request.valid & self.request.ready):
                m.d.sync += self.request.p.block.eq(self.request.p.block + 1)
            with m.If(rows.nest.valid & rows.nest.ready):
                m.d.sync += [self.request.p.block.eq(job.codec.block), self.request.p.coded.eq(job.codec.coded)]

        m.d.sync += open_jobs.eq(open_jobs + (self.job.valid & self.job.ready) - self.done.valid)
        m.d.comb += [self.busy.eq(open_jobs != 0), self.stalled.eq(self.busy & ~writer.moved)]
        return m

    def _elaborate_rows(self, m, jobs, rows, base, row_bytes):
        """A nest of rows per job."""
        job = self.job.payload
        fill = job.destination.fill
        m.d.comb += [
            jobs.i.valid.eq(self.job.valid & (fill | rows.nest.ready)),
            rows.nest.valid.eq(self.job.valid & ~fill & jobs.i.ready),
            self.job.ready.eq(jobs.i.ready & (fill | rows.nest.ready)),
        ]
        m.d.comb += base.eq(region_base(self.regions, job.source.region) + job.source.address)
        connect_nest(m, rows.nest.payload, base, (job.row_a, job.row_b, job.row_c))
        with m.If(rows.nest.valid & rows.nest.ready):
            m.d.sync += row_bytes.eq(job.row.bytes)

    def _elaborate_gather(self, m, jobs, writer, rows, base, row_bytes, open_jobs):
        """Rows of jobs with a list and without: a nest per iteration of ``row_c``, or one."""
        m.submodules.gather = gather = Gather(self.cfg)
        self._elaborate_lists(m, writer.index, gather.write)
        job = self.job.payload
        fill = job.destination.fill
        before = Signal.like(open_jobs, name="before")  # jobs not done up to the last one that writes a list
        taken, free = Signal(), Signal()
        indexed = job.gather.indexed & ~fill
        m.d.comb += [
            base.eq(region_base(self.regions, job.source.region) + job.source.address),
            free.eq(fill | Mux(indexed, gather.idle & (before == 0), gather.idle & rows.nest.ready)),
            taken.eq(self.job.valid & jobs.i.ready & free),
            self.job.ready.eq(jobs.i.ready & free),
            jobs.i.valid.eq(self.job.valid & free),
            gather.position.eq(self.position),
            gather.job.valid.eq(taken & indexed),
            gather.job.p.base.eq(base),
            *(gather.job.p[name].eq(job[name]) for name in ("row", "row_a", "row_b", "row_c", "gather")),
            gather.start.ready.eq(rows.nest.ready),
            rows.nest.valid.eq(gather.start.valid | (taken & ~fill & ~indexed)),
        ]
        if self.cfg.values:
            self._elaborate_length(m, jobs, gather, indexed, before, free)
        with m.If(taken & (job.destination.target == isa.Target.INDEX)):
            m.d.sync += before.eq(open_jobs + 1 - self.done.valid)
        with m.Elif(self.done.valid & (before != 0)):
            m.d.sync += before.eq(before - 1)

        kept, nest = gather.kept, rows.nest.payload
        m.d.comb += nest.base.eq(Mux(gather.idle, base, gather.start.payload))
        for level, name in zip(nest.level, ("row_a", "row_b", "row_c"), strict=True):
            m.d.comb += [
                level.count.eq(Mux(gather.idle, job[name].count, kept[name].count if name != "row_c" else 1)),
                level.step.eq(Mux(gather.idle, job[name].step, kept[name].step)),
            ]
        with m.If(rows.nest.valid & rows.nest.ready):
            m.d.sync += row_bytes.eq(Mux(gather.idle, job.row.bytes, kept.row.bytes))

    def _elaborate_length(self, m, jobs, gather, indexed, before, free):
        """Jobs by a list with a length wait for it; it limits their rows and segments."""
        job = self.job.payload
        with m.If(indexed & job.gather.counted):
            m.d.comb += [
                gather.peek.eq(self.job.valid & gather.idle & (before == 0)),
                free.eq(gather.known),
            ]
            for given, level in ((gather.job.p.row_c, job.row_c), (jobs.i.p.segment_c, job.segment_c)):
                m.d.comb += given.count.eq(Mux(gather.length < level.count, gather.length, level.count))

    def _elaborate_lists(self, m, pieces, write):
        """Writes of lists: what LOAD jobs bring, and between that entries of the selector, where there is one."""
        m.d.comb += [write.valid.eq(pieces.valid), write.payload.eq(pieces.payload)]
        if not self.cfg.pruning:
            return
        entry = self.list.payload
        m.d.comb += self.list.ready.eq(~pieces.valid)
        with m.If(~pieces.valid):
            m.d.comb += [
                write.valid.eq(self.list.valid),
                write.p.address.eq(entry.index << 1),
                write.p.data.as_value().eq(entry.value),
                write.p.first.eq(0),
                write.p.count.eq(INDEX_BITS // 8),
            ]

    def _elaborate_data(self, m, writer):
        """Beats to the back, through what takes them apart where there is such a thing."""
        if self.cfg.attention:
            m.submodules.halves = halves = HalfExpander(self.cfg)
            wiring.connect(m, wiring.flipped(self.data), halves.i)
            wiring.connect(m, halves.o, writer.data)
            m.d.comb += halves.nibbles.eq(writer.nibbles)
            return
        if self.cfg.codec is None:
            wiring.connect(m, wiring.flipped(self.data), writer.data)
            return
        m.submodules.decompressor = decompressor = Decompressor(self.cfg)
        wiring.connect(m, wiring.flipped(self.data), decompressor.i)
        wiring.connect(m, decompressor.o, writer.data)
        m.d.comb += [
            decompressor.coded.eq(writer.coded),
            decompressor.length.eq(writer.block_bytes),
            decompressor.zero.eq(writer.block_zero),
        ]


def region_base(regions, region):
    """Base address of a region; numbers that name no region give 0."""
    base = Const(0, axi.ADDRESS_BITS)
    for number in reversed(isa.Region):
        base = Mux(region == number, regions[number], base)
    return base
