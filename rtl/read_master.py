"""AXI4 read master: rows of two clients become bursts, and come back in order as streams of beats."""

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows.config import Config
from rtl import axi
from rtl.queue import Queue
from rtl.relay import Relay


def beat_layout(bus_bytes: int) -> data.StructLayout:
    """A beat of a row: the valid bytes are ``data[first:first + count]``; ``last`` marks the end of the row."""
    return data.StructLayout({
        "data": data.ArrayLayout(unsigned(8), bus_bytes),
        "first": range(bus_bytes),
        "count": range(bus_bytes + 1),
        "last": 1,
    })


def whole_beat_layout(bus_bytes: int) -> data.StructLayout:
    """A beat of which all bytes are taken."""
    return data.StructLayout({"data": data.ArrayLayout(unsigned(8), bus_bytes)})


def has_room(count, limit: int, more, less):
    """Whether ``count + more - less`` is below ``limit``; ``count`` is at most that, and then nothing is added."""
    return (count < limit - 1) | less | ((count == limit - 1) & ~more)


class ReadMaster(wiring.Component):
    """Reads rows for the command fetcher and for the LOAD unit.

    Bursts of ``command`` go first; its sink must have room for what it asked for, because everything returns in order.

    Parameters
    ----------
    cfg : Config
        Uses ``bus`` and ``bus_bytes``.

    Members
    -------
    command, load : In(stream of row_layout())
        Rows to read.
    command_data : Out(stream of whole_beat_layout(bus_bytes))
    load_data : Out(stream of beat_layout(bus_bytes))
    error : Out(stream of 40-bit address, always ready)
        One transfer per beat with an error response, a cycle later: the address of its burst. The beat is passed on
        all the same.
    drain : In(1)
        While high: no new burst begins, and data that returns is thrown away.
    idle : Out(1)
        No burst is in flight.
    beats : Out(1)
        A beat has arrived in this cycle.
    axi : Out(read_members())

    Timing
    ------
    Two cycles from a row to ``arvalid``, one from a beat on the bus to the beat on the stream, one burst and one beat
    per cycle. At most ``cfg.bus.reads_in_flight`` bursts are in flight.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        row = stream.Signature(axi.row_layout())
        super().__init__({
            "command": In(row),
            "load": In(row),
            "command_data": Out(stream.Signature(whole_beat_layout(cfg.bus_bytes))),
            "load_data": Out(stream.Signature(beat_layout(cfg.bus_bytes))),
            "error": Out(stream.Signature(unsigned(axi.ADDRESS_BITS), always_ready=True)),
            "drain": In(1),
            "idle": Out(1),
            "beats": Out(1),
            "axi": Out(wiring.Signature(axi.read_members(cfg.bus.data_bits))),
        })

    def elaborate(self, platform):
        m = Module()
        limit = self.cfg.bus.reads_in_flight
        burst_layout = axi.burst_layout(self.cfg.bus_bytes)
        tag_layout = data.StructLayout({"burst": burst_layout, "for_load": 1})
        m.submodules.tags = tags = Queue(tag_layout, limit + 2)  # never full
        in_flight = Signal(range(limit + 1))
        issue = Signal()
        retire = Signal()
        room = Signal(init=1)  # in_flight < limit
        m.d.sync += [in_flight.eq(in_flight + issue - retire), room.eq(has_room(in_flight, limit, issue, retire))]
        m.d.comb += self.idle.eq(in_flight == 0)

        self._elaborate_issue(m, tags.i, issue, room)
        self._elaborate_return(m, tags.o, retire)
        return m

    def _elaborate_issue(self, m, tag, issue, room):
        """Choose a burst and present its address; remember it in the queue of tags."""
        bus = self.cfg.bus
        m.submodules.command_bursts = command = axi.BurstSplitter(self.cfg.bus_bytes, bus.max_read_burst)
        m.submodules.load_bursts = load = axi.BurstSplitter(self.cfg.bus_bytes, bus.max_read_burst)
        wiring.connect(m, wiring.flipped(self.command), command.i)
        wiring.connect(m, wiring.flipped(self.load), load.i)

        a = self.axi
        go = Signal()
        m.d.comb += [
            go.eq(room & ~self.drain & (~a.arvalid | a.arready)),
            tag.payload.for_load.eq(~command.o.valid),
            tag.payload.burst.eq(Mux(command.o.valid, command.o.payload.as_value(), load.o.payload.as_value())),
            tag.valid.eq(issue),
            issue.eq(go & (command.o.valid | load.o.valid)),
            command.o.ready.eq(go),
            load.o.ready.eq(go & ~command.o.valid),
            a.arsize.eq((self.cfg.bus_bytes - 1).bit_length()),
            a.arburst.eq(axi.INCREMENTING),
            a.arcache.eq(axi.MODIFIABLE_BUFFERABLE),
            a.arprot.eq(0),
        ]
        with m.If(a.arready):
            m.d.sync += a.arvalid.eq(0)
        with m.If(issue):
            m.d.sync += [
                a.arvalid.eq(1),
                a.araddr.eq(tag.payload.burst.address),
                a.arlen.eq(tag.payload.burst.beats - 1),
            ]

    def _elaborate_return(self, m, tag, retire):
        """Hand each beat that returns to the client of the oldest burst."""
        a = self.axi
        layout = data.StructLayout({"beat": beat_layout(self.cfg.bus_bytes), "for_load": 1})
        m.submodules.beats = beats = Relay(layout)
        burst = tag.payload.burst
        command, load = self.command_data, self.load_data
        taken = Signal()
        begun = Signal()  # the first beat of the burst has passed
        first = Signal(len(burst.first))
        end = Signal(len(burst.tail))
        m.d.comb += [
            a.rready.eq(tag.valid & (self.drain | beats.i.ready)),
            taken.eq(a.rvalid & a.rready),
            retire.eq(taken & a.rlast),
            tag.ready.eq(retire),
            first.eq(Mux(begun, 0, burst.first)),
            end.eq(Mux(a.rlast, burst.tail, self.cfg.bus_bytes)),
            self.beats.eq(taken),
            beats.i.valid.eq(taken & ~self.drain),
            beats.i.p.for_load.eq(tag.payload.for_load),
            beats.i.p.beat.data.eq(a.rdata),
            beats.i.p.beat.first.eq(first),
            beats.i.p.beat.count.eq(end - first),
            beats.i.p.beat.last.eq(a.rlast & burst.last_of_row),
            command.valid.eq(beats.o.valid & ~beats.o.p.for_load),
            command.p.data.eq(beats.o.p.beat.data),
            load.valid.eq(beats.o.valid & beats.o.p.for_load),
            load.payload.eq(beats.o.p.beat),
            beats.o.ready.eq(Mux(beats.o.p.for_load, load.ready, command.ready)),
        ]
        with m.If(taken):
            m.d.sync += begun.eq(~a.rlast)
        m.d.sync += [self.error.valid.eq(taken & (a.rresp != 0)), self.error.payload.eq(burst.address)]
