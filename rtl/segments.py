"""Back end of the LOAD unit: beats, or fill bytes, become segments in a target memory."""

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config
from rtl.agu import AddressGenerator, connect_nest
from rtl.job import fields
from rtl.memory import write_layout
from rtl.read_master import beat_layout


class SegmentWriter(wiring.Component):
    """Cuts beats at segment ends and writes the pieces.

    Parameters
    ----------
    cfg : Config
    job_shape : data.StructLayout
        ``destination``, ``segment``, ``segment_a`` to ``segment_c`` and ``give`` of a LOAD job; with a codec also
        ``row`` and ``codec``, with attention ``gather``.

    Members
    -------
    job : In(stream of job_shape)
    data : In(stream of beat_layout(bus_bytes))
    done : Out(stream of semaphore mask, always ready)
        One cycle after the last write of the job.
    input, weight, operand, param, ... : Out(stream of write_layout(bus_bytes), always ready)
    moved : Out(1)
        A piece is taken in this cycle.
    nibbles : Out(2)
        With attention only: ``gather.nibbles`` of the open segment's job.
    coded, block_bytes, block_zero : Out(1), Out(24), Out(act_bits)
        With a codec only: the open segment belongs to a job of compressed blocks, their length and their zero.

    Timing
    ------
    One piece per cycle, written one cycle after it is taken.
    """

    def __init__(self, cfg: Config, job_shape: data.StructLayout):
        self.cfg = cfg
        write = stream.Signature(write_layout(cfg.bus_bytes), always_ready=True)
        super().__init__({
            "job": In(stream.Signature(job_shape)),
            "data": In(stream.Signature(beat_layout(cfg.bus_bytes))),
            "done": Out(stream.Signature(unsigned(cfg.control.semaphores), always_ready=True)),
            **{target.name.lower(): Out(write) for target in isa.targets(cfg)},
            "moved": Out(1),
            **({"nibbles": Out(2)} if cfg.attention else {}),
            **({"coded": Out(1), "block_bytes": Out(24), "block_zero": Out(cfg.numbers.act_bits)} if cfg.codec else {}),
        })

    def elaborate(self, platform):
        m = Module()
        bus_bytes = self.cfg.bus_bytes
        m.submodules.segments = segments = AddressGenerator(levels=3, address_bits=isa.STEP_BITS)
        job = self.job.payload
        connect_nest(m, segments.nest.payload, job.destination.address, (job.segment_a, job.segment_b, job.segment_c))
        m.d.comb += [segments.nest.valid.eq(self.job.valid), self.job.ready.eq(segments.nest.ready)]
        coming = Signal(job.shape(), reset_less=True)  # job of the segments the generator shows
        with m.If(self.job.valid & self.job.ready):
            m.d.sync += coming.eq(job)

        # The open segment: what is left of it, and its job's constants.
        open_ = Signal()
        address = Signal(isa.STEP_BITS, reset_less=True)
        left = Signal(24, reset_less=True)
        far = Signal(reset_less=True)  # more is left of it than a piece may have; else ``near`` is all that is left
        near = left[: (2 * bus_bytes).bit_length()]
        final = Signal(reset_less=True)  # last segment of its job
        names = (*(("row", "codec") if self.cfg.codec else ()), *(("gather",) if self.cfg.attention else ()))
        more = {name: job.shape()[name].shape for name in names}
        current = Signal(
            data.StructLayout({
                "target": max(isa.targets(self.cfg)).bit_length(), "fill": 1, "fill_value": self.cfg.numbers.act_bits,
                "give": len(job.give), **more,
            }),
            reset_less=True,
        )

        # The piece: the run of bytes that lies in the beat and in the segment.
        used = Signal(range(bus_bytes))  # bytes of the beat that are written already
        fill = current.fill
        have = Signal(range(bus_bytes + 1))
        count = Signal(range(bus_bytes + 1))
        ends_segment = Signal()
        ends_beat = Signal()
        take = Signal()
        m.d.comb += [
            have.eq(Mux(fill, bus_bytes, self.data.p.count - used)),
            ends_segment.eq(~far & (near <= have)),
            ends_beat.eq(far | (have <= near)),
            count.eq(Mux(ends_segment, near, have)),
            take.eq(open_ & (fill | self.data.valid)),
            self.data.ready.eq(open_ & ~fill & ends_beat),
            self.moved.eq(take),
            segments.o.ready.eq(~open_ | (take & ends_segment)),
        ]
        with m.If(take):
            m.d.sync += [address.eq(address + count), left.eq(left - count), far.eq(left > 2 * bus_bytes)]
            with m.If(ends_segment):
                m.d.sync += open_.eq(0)
            with m.If(~fill):
                m.d.sync += used.eq(Mux(ends_beat, 0, used + count))
        destination = fields(self.cfg, isa.Unit.LOAD, coming, *isa.SEGMENT_REGISTERS)
        with m.If(segments.o.valid & segments.o.ready):
            m.d.sync += [
                open_.eq(1),
                address.eq(segments.o.p.address),
                left.eq(coming.segment.bytes),
                far.eq(coming.segment.bytes > 2 * bus_bytes),
                final.eq(segments.o.p.last.all()),
                *(current[name].eq(destination[name]) for name in ("target", "fill", "fill_value")),
                *(current[name].eq(coming[name]) for name in ("give", *more)),
            ]
        if self.cfg.attention:
            m.d.comb += self.nibbles.eq(current.gather.nibbles)
        if self.cfg.codec:
            m.d.comb += [
                self.coded.eq(open_ & current.codec.coded & ~fill),
                self.block_bytes.eq(current.row.bytes),
                self.block_zero.eq(current.codec.zero),
            ]

        self._elaborate_write(m, take, current, address, used, count)
        last_write = Signal()
        give = Signal(len(job.give), reset_less=True)
        m.d.sync += [
            last_write.eq(take & ends_segment & final),
            give.eq(current.give),
            self.done.valid.eq(last_write),
            self.done.payload.eq(give),
        ]
        return m

    def _elaborate_write(self, m, take, current, address, used, count):
        """Register the piece; all targets see it, one has ``valid``."""
        payload = Signal(write_layout(self.cfg.bus_bytes), reset_less=True)
        fill_beat = current.fill_value.replicate(self.cfg.bus_bytes // self.cfg.act_bytes)
        m.d.sync += [
            payload.address.eq(address),
            payload.data.eq(Mux(current.fill, fill_beat, self.data.p.data.as_value())),
            payload.first.eq(Mux(current.fill, 0, self.data.p.first + used)),
            payload.count.eq(count),
        ]
        for target in isa.targets(self.cfg):
            port = getattr(self, target.name.lower())
            m.d.sync += port.valid.eq(take & (current.target == target))
            m.d.comb += port.payload.eq(payload)
