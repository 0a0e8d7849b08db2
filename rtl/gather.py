"""Rows chosen by a list: the list memory of LOAD, and the starts of the rows that a gathered job reads."""

from amaranth import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import INDEX_BYTES, Config
from rtl import axi
from rtl.job import register_layout
from rtl.limbs import partial_products
from rtl.memory import OperandBuffer, write_layout
from rtl.queue import Queue
from rtl.skew import delay

INDEX_BITS = 8 * INDEX_BYTES


def gather_layout(cfg: Config) -> data.StructLayout:
    """What is kept of a gathered job: registers of LOAD, and ``base``, the DRAM address that indices are added to."""
    registers = {r.name: register_layout(r) for r in isa.units(cfg)[isa.Unit.LOAD]}
    kept = {name: registers[name] for name in ("row", "row_a", "row_b", "row_c", "gather")}
    return data.StructLayout({"base": unsigned(axi.ADDRESS_BITS), **kept})


class Gather(wiring.Component):
    """Walks ``row_c`` of LOAD jobs by a list of indices.

    Iteration i of ``row_c`` begins at ``base + index[gather.first + i] * row_c.step``, modulo 2^40; jobs with
    ``gather.positioned`` have ``position + i`` in place of the index. The list is read ahead, one index per cycle.
    With ``attention.values`` lists may begin with their length, which is read before the job is taken.

    Parameters
    ----------
    cfg : Config
        Uses ``attention.indices``, ``attention.values`` and ``bus``.

    Members
    -------
    write : In(stream of write_layout(bus_bytes), always ready)
        Pieces of lists, at even addresses: index n lies at byte address 2 * n. An index may be read two cycles later.
    position : In(16)
        Tokens before those of the run; constant while it lasts.
    job : In(stream of gather_layout(cfg))
        Taken if no other one is open.
    peek : In(1)
        With values: ``job`` shows one with ``gather.counted``, valid or not, that may be taken as soon as its length is
        known.
    length, known : Out(16), Out(1)
        With values: the length, ``peek_latency`` cycles after ``peek`` and as long as it lasts.
    start : Out(stream of 40-bit address)
        First address of each iteration of ``row_c``.
    kept : Out(gather_layout(cfg))
        The open job.
    idle : Out(1)
        No job is open: the starts of the last one have all been taken in an earlier cycle.

    Timing
    ------
    The first start ``latency`` cycles after its job, then one per cycle, however they are taken: the queue holds what
    is on its way when the sink stalls. A job is taken in the cycle after the last start of the one before, or later.
    """

    queue_starts = 16
    """At least the cycles from a start taken to the one that is read in its place, so that the rate is one."""
    latency = 1 + OperandBuffer.latency + 3 + Queue.latency
    peek_latency = OperandBuffer.latency + 1

    def __init__(self, cfg: Config):
        self.cfg = cfg
        layout = gather_layout(cfg)
        super().__init__({
            "write": In(stream.Signature(write_layout(cfg.bus_bytes), always_ready=True)),
            "position": In(INDEX_BITS),
            "job": In(stream.Signature(layout)),
            "start": Out(stream.Signature(unsigned(axi.ADDRESS_BITS))),
            "kept": Out(layout),
            "idle": Out(1),
            **({"peek": In(1), "length": Out(INDEX_BITS), "known": Out(1)} if cfg.values else {}),
        })

    def elaborate(self, platform):
        m = Module()
        beat = self.cfg.bus_bytes
        size = -(-self.cfg.attention.indices * INDEX_BYTES // (2 * beat)) * 2 * beat
        m.submodules.list = indices = OperandBuffer(size, beat, beat, INDEX_BYTES, granule=INDEX_BYTES)
        m.submodules.queue = queue = Queue(unsigned(axi.ADDRESS_BITS), self.queue_starts)
        wiring.connect(m, wiring.flipped(self.write), indices.write)

        opened = Signal()
        unread = Signal(isa.COUNT_BITS)  # indices of the open job that are yet to be read
        unsent = Signal(isa.COUNT_BITS, reset_less=True)  # its starts that are yet to be taken
        place = Signal(INDEX_BITS, reset_less=True)
        credit = Signal(range(self.queue_starts + 1), init=self.queue_starts)
        read, sent = Signal(), Signal()
        m.d.comb += [
            self.idle.eq(~opened),
            self.job.ready.eq(~opened),
            read.eq((unread != 0) & (credit != 0)),
            sent.eq(self.start.valid & self.start.ready),
            indices.read_address.valid.eq(read),
            indices.read_address.payload.eq(place * INDEX_BYTES),
        ]
        m.d.sync += credit.eq(credit - read + sent)
        with m.If(read):
            m.d.sync += [unread.eq(unread - 1), place.eq(place + 1)]
        with m.If(sent):
            m.d.sync += [unsent.eq(unsent - 1), opened.eq(unsent != 1)]
        with m.If(self.job.valid & self.job.ready):
            job = self.job.payload
            m.d.sync += [
                self.kept.eq(job), opened.eq(1), unread.eq(job.row_c.count), unsent.eq(job.row_c.count),
                place.eq(Mux(job.gather.positioned, self.position, self._first(job))),
            ]  # fmt: skip
        if self.cfg.values:
            peeked = Signal(self.peek_latency)
            m.d.sync += [peeked.eq(Mux(self.peek, Cat(1, peeked), 0)), self.length.eq(indices.read_data.as_value())]
            m.d.comb += self.known.eq(self.peek & peeked[-1])
            with m.If(self.peek):
                m.d.comb += [
                    indices.read_address.valid.eq(1),
                    indices.read_address.payload.eq(self.job.p.gather.first * INDEX_BYTES),
                ]

        # Index, products, offset, start: a register behind each of the first three.
        index = Signal(INDEX_BITS, reset_less=True)
        passed = place  # what was read, for jobs that read no list
        for i in range(OperandBuffer.latency):
            later = Signal(INDEX_BITS, name=f"place_{i + 1}", reset_less=True)
            m.d.sync += later.eq(passed)
            passed = later
        offset = Signal(signed(axi.ADDRESS_BITS), reset_less=True)
        m.d.sync += [
            index.eq(Mux(self.kept.gather.positioned, passed, indices.read_data.as_value())),
            offset.eq(partial_products(m, 1, index, self.kept.row_c.step, "product")),
        ]
        m.d.comb += [
            queue.i.payload.eq(self.kept.base + offset),
            queue.i.valid.eq(delay(m, read, OperandBuffer.latency + 3, "read_line", reset_less=False)),
        ]
        wiring.connect(m, queue.o, wiring.flipped(self.start))
        return m

    def _first(self, job):
        """Index of the first element of a job's list."""
        return job.gather.first + job.gather.counted if self.cfg.values else job.gather.first
