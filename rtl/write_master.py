"""AXI4 write master: complete bursts go out, their responses come back in order."""

from amaranth import Module, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows.config import Config
from rtl import axi
from rtl.pack import write_beat_layout
from rtl.queue import Queue
from rtl.read_master import has_room


def response_layout() -> data.StructLayout:
    """What a write response ends: nothing, a job, or a record of the mark table."""
    return data.StructLayout({"last_of_job": 1, "record": 1})


class WriteMaster(wiring.Component):
    """Writes bursts whose data is complete.

    The address of a burst goes out when all its beats are in the queue, so a burst that has begun always ends.

    Parameters
    ----------
    cfg : Config
        Uses ``bus`` and ``bus_bytes``.

    Members
    -------
    i : In(stream of write_beat_layout(bus_bytes))
    response : Out(stream of response_layout(), always ready)
        One transfer per burst, in the cycle after its response on the bus.
    error : Out(stream of 40-bit address, always ready)
        One transfer per error response, a cycle later: the address of its burst.
    drain : In(1)
        While high no new burst begins; those that have begun end.
    idle : Out(1)
        No burst is in flight.
    beats : Out(1)
        A beat leaves in this cycle.
    axi : Out(write_members())

    Timing
    ------
    Three cycles from the last beat of a burst to ``awvalid`` and ``wvalid``; one burst and one beat per cycle.
    At most ``cfg.bus.writes_in_flight`` bursts are in flight.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        super().__init__({
            "i": In(stream.Signature(write_beat_layout(cfg.bus_bytes))),
            "response": Out(stream.Signature(response_layout(), always_ready=True)),
            "error": Out(stream.Signature(unsigned(axi.ADDRESS_BITS), always_ready=True)),
            "drain": In(1),
            "idle": Out(1),
            "beats": Out(1),
            "axi": Out(wiring.Signature(axi.write_members(cfg.bus.data_bits))),
        })

    def elaborate(self, platform):
        m = Module()
        bus = self.cfg.bus
        layout = self.i.payload.shape()
        burst_layout = layout["burst"].shape
        beat_layout = data.StructLayout({name: layout[name].shape for name in ("data", "strobe", "last")})
        depth = 2 * bus.max_write_burst + 2
        m.submodules.data = queue = Queue(beat_layout, depth)
        m.submodules.bursts = bursts = Queue(burst_layout, depth)
        m.submodules.tags = tags = Queue(burst_layout, bus.writes_in_flight + 2)  # never full

        # In.
        m.d.comb += [
            self.i.ready.eq(queue.i.ready & bursts.i.ready),
            queue.i.valid.eq(self.i.valid & bursts.i.ready),
            bursts.i.valid.eq(self.i.valid & self.i.p.last & queue.i.ready),
            bursts.i.payload.eq(self.i.p.burst),
        ]
        m.d.comb += [getattr(queue.i.p, name).eq(getattr(self.i.p, name)) for name in ("data", "strobe", "last")]

        # Addresses.
        a = self.axi
        in_flight = Signal(range(bus.writes_in_flight + 1))
        granted = Signal(range(bus.writes_in_flight + 1))  # bursts whose beats may leave
        room = Signal(init=1)  # in_flight < writes_in_flight
        issue = Signal()
        go = Signal()
        m.d.comb += [
            go.eq(room & ~self.drain & (~a.awvalid | a.awready)),
            issue.eq(go & bursts.o.valid),
            bursts.o.ready.eq(go),
            tags.i.valid.eq(issue),
            tags.i.payload.eq(bursts.o.payload),
            a.awsize.eq((self.cfg.bus_bytes - 1).bit_length()),
            a.awburst.eq(axi.INCREMENTING),
            a.awcache.eq(axi.MODIFIABLE_BUFFERABLE),
            a.awprot.eq(0),
        ]
        with m.If(a.awready):
            m.d.sync += a.awvalid.eq(0)
        with m.If(issue):
            m.d.sync += [
                a.awvalid.eq(1),
                a.awaddr.eq(bursts.o.p.address),
                a.awlen.eq(bursts.o.p.beats - 1),
            ]

        # Beats.
        m.d.comb += [
            a.wdata.eq(queue.o.p.data),
            a.wstrb.eq(queue.o.p.strobe),
            a.wlast.eq(queue.o.p.last),
            a.wvalid.eq(queue.o.valid & (granted != 0)),
            queue.o.ready.eq(a.wready & (granted != 0)),
            self.beats.eq(a.wvalid & a.wready),
        ]
        m.d.sync += granted.eq(granted + issue - (self.beats & a.wlast))

        # Responses.
        retire = Signal()
        m.d.comb += [
            a.bready.eq(tags.o.valid),
            retire.eq(a.bvalid & a.bready),
            tags.o.ready.eq(retire),
            self.idle.eq(in_flight == 0),
        ]
        m.d.sync += [
            self.response.valid.eq(retire),
            self.response.p.last_of_job.eq(tags.o.p.last_of_job),
            self.response.p.record.eq(tags.o.p.record),
            self.error.valid.eq(retire & (a.bresp != 0)),
            self.error.payload.eq(tags.o.p.address),
        ]
        m.d.sync += [
            in_flight.eq(in_flight + issue - retire),
            room.eq(has_room(in_flight, bus.writes_in_flight, issue, retire)),
        ]
        return m
