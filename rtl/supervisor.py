"""Run control: start, done, errors, watchdog, and the way back through a drained bus."""

from amaranth import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows.config import Config
from dataflows.isa import Error
from rtl.axi import ADDRESS_BITS
from rtl.command import ERROR


class Supervisor(wiring.Component):
    """Decides whether the accelerator runs.

    An error or a soft reset drains the bus first. After an error everything stands still, with the first error
    latched, until a soft reset; the soft reset resets all units once the bus is idle.

    Parameters
    ----------
    cfg : Config

    Members
    -------
    start, soft_reset, clear_done : In(1)
        Requests of the host. ``start`` is ignored while busy and in the error state.
    finished : In(1)
        Pulse: the program has ended.
    command_error : In(stream of ERROR, always ready)
    sparse_error : In(stream of ERROR, always ready), only where the configuration has the sparse engine
    read_error, write_error : In(stream of the burst's address, always ready)
    progress : In(1)
        Something moved: a bus handshake, a job taken or done.
    held_up : In(32)
        What waits for what; becomes ERROR_INFO of a timeout.
    bus_idle : In(1)
        Nothing is in flight on the AXI master.
    begin : Out(1)
        Pulse: a run starts.
    running : Out(1)
    drain : Out(1)
        The bus masters begin nothing new and throw away what arrives.
    reset : Out(1)
        Reset all units.
    status : Out(4)
        busy, done, error, soft reset in progress.
    error : Out(ERROR)
    """

    quiet_cycles = 4  # idle cycles before the bus counts as drained: covers what is between a unit and its master

    def __init__(self, cfg: Config):
        self.cfg = cfg
        address = stream.Signature(unsigned(ADDRESS_BITS), always_ready=True)
        super().__init__({
            "start": In(1),
            "soft_reset": In(1),
            "clear_done": In(1),
            "finished": In(1),
            "command_error": In(stream.Signature(ERROR, always_ready=True)),
            **({"sparse_error": In(stream.Signature(ERROR, always_ready=True))} if cfg.sparse else {}),
            "read_error": In(address),
            "write_error": In(address),
            "progress": In(1),
            "held_up": In(32),
            "bus_idle": In(1),
            "begin": Out(1),
            "running": Out(1),
            "drain": Out(1),
            "reset": Out(1),
            "status": Out(4),
            "error": Out(ERROR),
        })

    def elaborate(self, platform):
        m = Module()
        done = Signal()
        resetting = Signal()
        failed = Signal()
        busy = Signal()
        quiet = Signal(range(self.quiet_cycles + 1))
        idle_for = Signal(range(self.cfg.control.watchdog_cycles + 1))
        m.d.comb += [
            failed.eq(self.error.code != Error.NONE),
            self.status.eq(Cat(busy, done, failed, resetting)),
        ]
        m.d.sync += idle_for.eq(Mux(self.progress | ~self.running, 0, idle_for + 1))
        m.d.sync += quiet.eq(Mux(self.drain & self.bus_idle, quiet + (quiet != self.quiet_cycles), 0))
        with m.If(self.clear_done):
            m.d.sync += done.eq(0)

        any_error = self._latch_error(m, idle_for == self.cfg.control.watchdog_cycles)
        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.soft_reset):
                    m.d.sync += resetting.eq(1)
                    m.next = "DRAIN"
                with m.Elif(self.start):
                    m.d.comb += self.begin.eq(1)
                    m.d.sync += done.eq(0)
                    m.next = "RUN"
            with m.State("RUN"):
                m.d.comb += [busy.eq(1), self.running.eq(1)]
                with m.If(self.soft_reset):
                    m.d.sync += resetting.eq(1)
                    m.next = "DRAIN"
                with m.Elif(any_error):
                    m.next = "DRAIN"
                with m.Elif(self.finished):
                    m.d.sync += done.eq(1)
                    m.next = "IDLE"
            with m.State("DRAIN"):
                m.d.comb += [busy.eq(1), self.drain.eq(1)]
                with m.If(self.soft_reset):
                    m.d.sync += resetting.eq(1)
                with m.If(quiet == self.quiet_cycles):
                    with m.If(resetting | self.soft_reset):
                        m.next = "RESET"
                    with m.Else():
                        m.next = "FAILED"
            with m.State("FAILED"):
                m.d.comb += self.drain.eq(1)
                with m.If(self.soft_reset):
                    m.d.sync += resetting.eq(1)
                    m.next = "RESET"
            with m.State("RESET"):
                m.d.comb += [busy.eq(1), self.drain.eq(1), self.reset.eq(1)]
                m.d.sync += [done.eq(0), resetting.eq(0), self.error.eq(0)]
                m.next = "IDLE"
        return m

    def _latch_error(self, m, timeout):
        """Latch the error of this cycle, if there is one (the first of several), and say so."""
        found = Signal(ERROR)
        with m.If(self.command_error.valid):
            m.d.comb += found.eq(self.command_error.payload)
        with m.Elif(self.read_error.valid):
            m.d.comb += [found.code.eq(Error.READ_RESPONSE), found.info.eq(self.read_error.payload)]
        with m.Elif(self.write_error.valid):
            m.d.comb += [found.code.eq(Error.WRITE_RESPONSE), found.info.eq(self.write_error.payload)]
        if self.cfg.sparse:
            with m.Elif(self.sparse_error.valid):
                m.d.comb += found.eq(self.sparse_error.payload)
        with m.Elif(timeout):
            m.d.comb += [found.code.eq(Error.TIMEOUT), found.info.eq(self.held_up)]
        any_error = Signal()
        m.d.comb += any_error.eq(found.code != Error.NONE)
        with m.If(self.running & any_error & ~self.soft_reset):
            m.d.sync += self.error.eq(found)
        return any_error
