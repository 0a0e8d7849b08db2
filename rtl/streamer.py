"""INPUT and WEIGHT engines: read words of an operand buffer at a loop nest of addresses, stream them to the array."""

from amaranth import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config
from rtl.agu import AddressGenerator, connect_nest
from rtl.feeder import operand_stream
from rtl.job import engine_ports, geometry_layout
from rtl.queue import Queue
from rtl.skew import delay


class Streamer(wiring.Component):
    """Streams the words of one operand.

    An address is issued when the queue behind the buffer surely has room for its word.

    Parameters
    ----------
    cfg : Config
    unit : isa.Unit
        ``INPUT`` or ``WEIGHT``.
    read_latency : int
        Cycles from ``read_address`` to ``read_data``.

    Members
    -------
    job, done, busy, stalled
        See :func:`~rtl.job.engine_ports`. A job is done when its last word has been read from the buffer.
    read_address : Out(stream of 32-bit byte address, always ready)
    read_data : In(elements x act_bits or weight_bits)
    o : Out(operand_stream)
    sparse : Out(stream of input_elements x act_bits), only of INPUT where the configuration has the sparse engine
        Words of the jobs that say so, instead of ``o``; in the order of the jobs, so either may hold up the other.
    geometry : Out(stream of geometry_layout), only of INPUT where the dataflow has such registers
        What the array must know of a job, in the order of the jobs; there before the job's first word.

    Timing
    ------
    The first word comes ``latency`` cycles after its job is taken; then one per cycle as long as the sink takes them,
    without gaps between jobs either, and without a gap after the sink has paused.

    Raises
    ------
    ValueError
        If ``unit`` streams no operand.
    """

    def __init__(self, cfg: Config, unit: isa.Unit, read_latency: int):
        choice = {
            isa.Unit.INPUT: (cfg.input_elements, cfg.numbers.act_bits, cfg.dataflow.input_nest),
            isa.Unit.WEIGHT: (cfg.weight_elements, cfg.numbers.weight_bits, cfg.dataflow.weight_nest),
        }
        if unit not in choice:
            raise ValueError(f"Streamer unit must be INPUT or WEIGHT, not {unit.name}")
        self.cfg = cfg
        self.unit = unit
        self.read_latency = read_latency
        self.elements, bits, self.nest = choice[unit]
        self.latency = 1 + read_latency + Queue.latency
        self.has_geometry = unit is isa.Unit.INPUT and bool(isa.geometry(cfg))
        geometry = {"geometry": Out(stream.Signature(geometry_layout(cfg)))} if self.has_geometry else {}
        self.has_sparse = unit is isa.Unit.INPUT and cfg.sparse is not None
        word = data.ArrayLayout(signed(bits), self.elements)
        sparse = {"sparse": Out(stream.Signature(word))} if self.has_sparse else {}
        super().__init__(engine_ports(cfg, unit) | geometry | sparse | {
            "read_address": Out(stream.Signature(unsigned(isa.STEP_BITS), always_ready=True)),
            "read_data": In(data.ArrayLayout(unsigned(bits), self.elements)),
            "o": Out(operand_stream(self.elements, bits)),
        })

    def elaborate(self, platform):
        m = Module()
        levels = self.nest.levels
        job = self.job.payload
        m.submodules.agu = agu = AddressGenerator(len(levels), isa.STEP_BITS)
        connect_nest(m, agu.nest.payload, job.base.address, [job[name] for name in levels])
        told = self._geometry(m) if self.has_geometry else 1  # whether the array can be told of another job
        m.d.comb += [agu.nest.valid.eq(self.job.valid & told), self.job.ready.eq(agu.nest.ready & told)]

        # A word takes room from the issue of its address until it leaves the queue. While one word per cycle goes
        # through, that is read_latency + Queue.latency words, and one more because room is counted in a register.
        depth = self.read_latency + Queue.latency + 1
        kind = {"word": self.o.payload.shape()} | ({"sparse": 1} if self.has_sparse else {})
        m.submodules.queue = queue = Queue(data.StructLayout(kind), depth)
        room = Signal(range(depth + 1), init=depth)
        issue, leave = Signal(), Signal()
        m.d.comb += [
            agu.o.ready.eq(room != 0),
            issue.eq(agu.o.valid & agu.o.ready),
            leave.eq(queue.o.valid & queue.o.ready),
            self.read_address.valid.eq(issue),
            self.read_address.payload.eq(agu.o.payload.address),
        ]
        m.d.sync += room.eq(room - issue + leave)

        first, last = agu.o.payload.first, agu.o.payload.last
        inner = self.nest.inner
        begin, end = Signal(), Signal()
        m.d.comb += [begin.eq(first.all()), end.eq(last.all())]
        flags = delay(m, Cat(first[:inner].all(), last[:inner].all(), begin, end), self.read_latency, "flags")
        word = queue.i.payload.word
        m.d.comb += [
            queue.i.valid.eq(delay(m, issue, self.read_latency, "read", reset_less=False)),
            word.data.as_value().eq(self.read_data.as_value()),
            Cat(word.first, word.last, word.begin, word.end).eq(flags),
        ]
        self._hand_out(m, queue.o)
        if self.has_sparse:
            sparse = Signal(reset_less=True)  # of the job whose addresses are issued
            with m.If(self.job.valid & self.job.ready):
                m.d.sync += sparse.eq(job.mode.sparse)
            m.d.comb += queue.i.payload.sparse.eq(delay(m, sparse, self.read_latency, "sparse_read"))

        give = Signal.like(job.give)
        with m.If(self.job.valid & self.job.ready):
            m.d.sync += give.eq(job.give)
        m.d.sync += [self.done.valid.eq(issue & end), self.done.payload.eq(give)]
        m.d.comb += [
            self.busy.eq(agu.o.valid | self.done.valid),
            self.stalled.eq(agu.o.valid & ~agu.o.ready),
        ]
        return m

    def _hand_out(self, m, words):
        """Words to the array, or to the sparse engine."""
        sparse = words.payload.sparse if self.has_sparse else 0
        m.d.comb += [
            self.o.payload.eq(words.payload.word),
            self.o.valid.eq(words.valid & ~sparse if self.has_sparse else words.valid),
            words.ready.eq(Mux(sparse, self.sparse.ready, self.o.ready) if self.has_sparse else self.o.ready),
        ]
        if self.has_sparse:
            m.d.comb += [
                self.sparse.payload.eq(words.payload.word.data),
                self.sparse.valid.eq(words.valid & sparse),
            ]

    def _geometry(self, m):
        """Queue the job's geometry for the array; returns whether there is room."""
        layout = self.geometry.payload.shape()
        m.submodules.geometry_queue = queue = Queue(layout, depth=2)
        m.d.comb += [
            queue.i.valid.eq(self.job.valid & self.job.ready),
            *(queue.i.payload[name].eq(self.job.payload[name].as_value()) for name in layout.members),
        ]
        wiring.connect(m, queue.o, wiring.flipped(self.geometry))
        return queue.i.ready
