"""Performance counters: what every unit did, and what it waited for."""

from amaranth import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config
from dataflows.isa import Activity


class Counters(wiring.Component):
    """Counts cycles while running.

    A unit is in one state per cycle: STALL if busy and stalled, BUSY if busy, WAIT if it only waits for a semaphore,
    else IDLE (not counted). A semaphore is waited for in a cycle in which a unit in state WAIT lacks it.

    Parameters
    ----------
    cfg : Config

    Members
    -------
    clear, running : In(1)
    busy, stalled, waiting : In(1 bit per unit)
    lacking : In(mask of semaphores per unit)
    read_beat, write_beat : In(1)
    gated : In(range(multipliers + 1))
        Multiplications that PEs do not do in this cycle.
    entries, full : In(range(pes + 1)), In(1); only with a sparse engine
        Entries walked in this cycle; a full queue stops its broadcast.
    cycles, gated_total : Out(64), with a sparse engine entries_total : Out(64)
    <unit>_wait, <unit>_busy, <unit>_stall, read_beats, write_beats, semaphore_<n>_wait, sparse_full : Out(32)
        Named as the host registers.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        units = isa.unit_numbers(cfg)
        counted = (Activity.WAIT, Activity.BUSY, Activity.STALL)
        activities = [f"{unit.name}_{activity.name}".lower() for unit in isa.units(cfg) for activity in counted]
        waits = [f"semaphore_{index}_wait" for index in range(cfg.control.semaphores)]
        self.names = (*activities, *waits, "read_beats", "write_beats", *(["sparse_full"] if cfg.sparse else []))
        sparse = {"entries": In(range(cfg.sparse_multipliers + 1)), "full": In(1), "entries_total": Out(64)}
        super().__init__({
            "clear": In(1),
            "running": In(1),
            "busy": In(units),
            "stalled": In(units),
            "waiting": In(units),
            "lacking": In(data.ArrayLayout(cfg.control.semaphores, units)),
            "read_beat": In(1),
            "write_beat": In(1),
            "gated": In(range(cfg.multipliers + 1)),
            "cycles": Out(64),
            "gated_total": Out(64),
            **(sparse if cfg.sparse else {}),
            **{name: Out(32) for name in self.names},
        })

    def elaborate(self, platform):
        m = Module()
        # What is counted comes from everywhere: it is counted a cycle later. Cycles are read by STORE, and are not.
        counted = Signal()
        m.d.sync += counted.eq(self.running)
        late = {}
        sparse = ("entries", "full") if self.cfg.sparse else ()
        for name in ("busy", "stalled", "waiting", "read_beat", "write_beat", "gated", *sparse):
            late[name] = Signal.like(getattr(self, name), name=f"{name}_late", reset_less=True)
            m.d.sync += late[name].eq(getattr(self, name))
        busy, stalled = late["busy"], late["stalled"]
        waiting = Signal(isa.unit_numbers(self.cfg))
        m.d.comb += waiting.eq(late["waiting"] & ~busy)
        waited_for = Signal(self.cfg.control.semaphores)
        lacking = 0
        for unit in isa.units(self.cfg):
            lacks = Signal(self.cfg.control.semaphores, name=f"{unit.name.lower()}_lacking_late", reset_less=True)
            m.d.sync += lacks.eq(self.lacking[unit])
            lacking |= lacks & waiting[unit].replicate(self.cfg.control.semaphores)
        m.d.comb += waited_for.eq(lacking)

        events = {"read_beats": late["read_beat"], "write_beats": late["write_beat"]}
        for unit in isa.units(self.cfg):
            name = unit.name.lower()
            events[f"{name}_wait"] = waiting[unit]
            events[f"{name}_busy"] = busy[unit] & ~stalled[unit]
            events[f"{name}_stall"] = busy[unit] & stalled[unit]
        for index in range(self.cfg.control.semaphores):
            events[f"semaphore_{index}_wait"] = waited_for[index]

        totals = {"cycles": (self.running, 1), "gated_total": (counted, late["gated"])}
        if self.cfg.sparse:
            totals["entries_total"] = (counted, late["entries"])
            events["sparse_full"] = late["full"]
        totals |= {name: (counted & events[name], 1) for name in self.names}
        with m.If(self.clear):
            m.d.sync += [getattr(self, name).eq(0) for name in totals]
        with m.Else():
            for name, (enable, amount) in totals.items():
                with m.If(enable):
                    m.d.sync += getattr(self, name).eq(getattr(self, name) + amount)
        return m
