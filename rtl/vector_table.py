"""Activation tables behind the lanes of the vector unit."""

from amaranth import Cat, Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from dataflows.config import TABLE_ENTRIES, Config
from rtl.memory import write_layout
from rtl.shared import shared
from rtl.sparse_memory import BeatMemory

SLOT_BITS = 4


def table_beats(cfg: Config) -> int:
    """Beats that all tables take."""
    return cfg.attention.tables * TABLE_ENTRIES // cfg.bus_bytes


@shared("cfg")
class LaneTable(wiring.Component):
    """All tables, for the codes of one lane; codes of jobs without a table pass.

    Parameters
    ----------
    cfg : Config
        Uses ``attention.tables`` and ``bus``; elements have 8 bits.

    Members
    -------
    write, write_beat, write_data : In(1), In(range(table_beats(cfg))), In(bus bits)
    i : In(signed(8)), look : In(1), slot : In(4)
        A code, whether it is looked up, and the number of the table; with ``stage[0]``.
    looked : In(1)
        ``look`` of the cycle before; with ``stage[1]``.
    stage : In(latency)
        Bit n: a code is at the input of stage n; clock enables.
    o : Out(signed(8))

    Timing
    ------
    One code per cycle, ``latency`` = 2 cycles.
    """

    latency = 1 + BeatMemory.latency

    def __init__(self, cfg: Config):
        self.cfg = cfg
        element = signed(cfg.numbers.act_bits)
        super().__init__({
            "write": In(1),
            "write_beat": In(range(table_beats(cfg))),
            "write_data": In(cfg.bus.data_bits),
            "i": In(element),
            "look": In(1),
            "slot": In(SLOT_BITS),
            "looked": In(1),
            "stage": In(self.latency),
            "o": Out(element),
        })

    def elaborate(self, platform):
        m = Module()
        bits, bus = self.cfg.numbers.act_bits, self.cfg.bus.data_bits
        m.submodules.memory = memory = BeatMemory(bits, bus, bus, table_beats(self.cfg))
        code = Signal(bits, reset_less=True)
        low = len(memory.index)
        m.d.comb += [
            memory.write.eq(self.write),
            memory.write_beat.eq(self.write_beat),
            memory.write_data.eq(self.write_data),
            memory.read.eq(self.stage[0] & self.look),
            memory.beat.eq(Cat(self.i[low:], self.slot)),
            memory.index.eq(code),
        ]
        with m.If(self.stage[0]):
            m.d.sync += code.eq(self.i)
        found = Signal(bits, name="o", reset_less=True)
        m.d.comb += self.o.eq(found)
        with m.If(self.stage[1]):
            with m.If(self.looked):
                m.d.sync += found.eq(memory.o)
            with m.Else():
                m.d.sync += found.eq(code)
        return m


class Tables(wiring.Component):
    """Tables of all lanes, and the way of their contents from LOAD.

    Parameters
    ----------
    cfg : Config
        Uses ``lanes``, ``attention.tables`` and ``bus``.

    Members
    -------
    write : In(stream of write_layout(bus_bytes), always ready)
        Whole beats at multiples of a beat: entry ``code & 255`` of table ``t`` is at ``256 * t + (code & 255)``. They
        are written a cycle later; what lies behind the last table is dropped.
    i, o : In, Out(lanes x signed(8))
    look, slot, looked, stage
        Of all lanes, see :class:`LaneTable`.

    Timing
    ------
    That of :class:`LaneTable`.
    """

    latency = LaneTable.latency

    def __init__(self, cfg: Config):
        self.cfg = cfg
        codes = data.ArrayLayout(signed(cfg.numbers.act_bits), cfg.lanes)
        super().__init__({
            "write": In(stream.Signature(write_layout(cfg.bus_bytes), always_ready=True)),
            "i": In(codes),
            "look": In(1),
            "slot": In(SLOT_BITS),
            "looked": In(1),
            "stage": In(self.latency),
            "o": Out(codes),
        })

    def elaborate(self, platform):
        m = Module()
        write = Signal()
        beat = Signal(range(table_beats(self.cfg)), reset_less=True)
        raw = Signal(self.cfg.bus.data_bits, reset_less=True)
        place = self.write.p.address[exact_log2(self.cfg.bus_bytes) :]
        m.d.sync += write.eq(self.write.valid & (place < table_beats(self.cfg)))
        with m.If(self.write.valid):
            m.d.sync += [beat.eq(place), raw.eq(self.write.p.data.as_value())]
        for i in range(self.cfg.lanes):
            m.submodules[f"lane_{i}"] = lane = LaneTable(self.cfg)
            m.d.comb += [
                lane.write.eq(write),
                lane.write_beat.eq(beat),
                lane.write_data.eq(raw),
                lane.i.eq(self.i[i]),
                *(getattr(lane, name).eq(getattr(self, name)) for name in ("look", "slot", "looked", "stage")),
                self.o[i].eq(lane.o),
            ]
        return m
