"""INPUT and WEIGHT engines: read words of an operand buffer at a loop nest of addresses, stream them to the array."""

from amaranth import Cat, Module, Mux, Shape, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config
from dataflows.vocabulary import Operand
from rtl.agu import AddressGenerator, connect_nest
from rtl.job import engine_ports, geometry_layout
from rtl.operands import PRECISION, word_stream
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
    read_data : In(elements x act_bits or weight_bits; with ``[multiplier]``, bytes of the longest word)
    o : Out(word_stream)
        With ``[multiplier]`` each word says the precision of its job. Where operands can have one bit, those behind
        ``tail`` in the last word of level ``word`` are 1.
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
            isa.Unit.INPUT: (Operand.INPUT, cfg.dataflow.input_nest),
            isa.Unit.WEIGHT: (Operand.WEIGHT, cfg.dataflow.weight_nest),
        }
        if unit not in choice:
            raise ValueError(f"Streamer unit must be INPUT or WEIGHT, not {unit.name}")
        self.cfg = cfg
        self.unit = unit
        self.read_latency = read_latency
        operand, self.nest = choice[unit]
        words = word_stream(cfg, operand)
        layout = words.members["payload"].shape
        word = layout["data"].shape
        self.elements, bits = word.length, Shape.cast(word.elem_shape).width
        self.latency = 1 + read_latency + Queue.latency
        self.has_geometry = unit is isa.Unit.INPUT and bool(isa.geometry(cfg))
        geometry = {"geometry": Out(stream.Signature(geometry_layout(cfg)))} if self.has_geometry else {}
        self.has_sparse = unit is isa.Unit.INPUT and cfg.sparse is not None
        self.has_tail = unit is isa.Unit.INPUT and cfg.operand_bits == (1,)
        sparse = {"sparse": Out(stream.Signature(word))} if self.has_sparse else {}
        super().__init__(engine_ports(cfg, unit) | geometry | sparse | {
            "read_address": Out(stream.Signature(unsigned(isa.STEP_BITS), always_ready=True)),
            "read_data": In(data.ArrayLayout(unsigned(bits), self.elements)),
            "o": Out(words),
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
            word.data.as_value().eq(self.read_data.as_value() | (self._tail(m, last) if self.has_tail else 0)),
            Cat(word.first, word.last, word.begin, word.end).eq(flags),
        ]
        self._hand_out(m, queue.o)
        if self.has_sparse:
            m.d.comb += queue.i.payload.sparse.eq(self._of_job(m, job.mode.sparse, "sparse"))
        if self.cfg.multiplier:
            told = [word[name] for name in PRECISION]
            m.d.comb += Cat(told).eq(self._of_job(m, Cat(job.precision[name] for name in PRECISION), "precision"))

        give = Signal.like(job.give)
        with m.If(self.job.valid & self.job.ready):
            m.d.sync += give.eq(job.give)
        m.d.sync += [self.done.valid.eq(issue & end), self.done.payload.eq(give)]
        m.d.comb += [
            self.busy.eq(agu.o.valid | self.done.valid),
            self.stalled.eq(agu.o.valid & ~agu.o.ready),
        ]
        return m

    def _of_job(self, m, value, name):
        """A part of the job, for the word that comes from the buffer."""
        held = Signal(len(value), name=name, reset_less=True)
        with m.If(self.job.valid & self.job.ready):
            m.d.sync += held.eq(value)
        return delay(m, held, self.read_latency, f"{name}_read")

    def _tail(self, m, last):
        """Bits of the word from the buffer that lie behind the last input that counts."""
        closes = delay(m, last[self.nest.levels.index("word")], self.read_latency, "closes")
        tail = self._of_job(m, self.job.payload.precision.tail, "tail")
        part, behind = Signal(8), Signal(8 * self.elements)
        m.d.comb += part.eq(0xFF << tail[:3])
        for index in range(self.elements):
            beyond = (tail[3:] < index).replicate(8) if index else 0
            rest = Mux(tail[3:] == index, part, beyond)
            m.d.comb += behind.word_select(index, 8).eq(rest & closes.replicate(8))
        return behind

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
