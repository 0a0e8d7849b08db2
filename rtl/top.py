"""The accelerator: all units, their memories, and the buses, with plain port names."""

from functools import reduce
from operator import or_

from amaranth import Cat, ClockDomain, DomainRenamer, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config
from dataflows.isa import Region, Unit
from rtl import axi
from rtl.accumulator import Accumulator
from rtl.arrays import array_of
from rtl.block_sizes import BlockSizes
from rtl.command import CommandUnit
from rtl.counters import Counters
from rtl.decisions import Decisions
from rtl.front_end import FrontEnd
from rtl.host import HostRegisters
from rtl.load import LoadEngine
from rtl.memory import OperandBuffer
from rtl.pruning import PruningRowsEngine
from rtl.queue import Queue
from rtl.read_master import ReadMaster
from rtl.rows import RowsEngine
from rtl.semaphores import Semaphores
from rtl.sparse import SparseEngine
from rtl.store import StoreEngine
from rtl.streamer import Streamer
from rtl.supervisor import Supervisor
from rtl.vector import VectorEngine


def join(m: Module, source, sink) -> None:
    """Connect two streams whose payloads have the same bits, whatever their layouts are called."""
    payload, target = Value.cast(source.payload), Value.cast(sink.payload)
    if len(payload) != len(target):
        raise ValueError(f"streams to join must have payloads of equal width, not {len(payload)} and {len(target)}")
    m.d.comb += [target.eq(payload), sink.valid.eq(source.valid)]
    if isinstance(source.ready, Signal):  # else it is the constant of an always ready stream
        m.d.comb += source.ready.eq(sink.ready)


class Accelerator(wiring.Component):
    """The top module.

    Host registers and run control are reset by ``rst`` only, everything else also by a soft reset.

    Parameters
    ----------
    cfg : Config

    Members
    -------
    clk, rst : In(1)
        Clock, and synchronous reset, active high.
    m_axi_* : AXI4 master, without identifiers
    s_axil_* : AXI4-Lite slave
    irq : Out(1)
        High while enabled and done or error.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        master = {**axi.read_members(cfg.bus.data_bits), **axi.write_members(cfg.bus.data_bits)}
        super().__init__({
            "clk": In(1),
            "rst": In(1),
            **{f"m_axi_{name}": member for name, member in master.items()},
            **{f"s_axil_{name}": member for name, member in axi.lite_members(isa.HOST_ADDRESS_BITS).items()},
            "irq": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.cfg
        m.domains.host = host = ClockDomain("host")
        m.domains.sync = sync = ClockDomain("sync")
        host.clk, host.rst = self.clk, self.rst
        sync.clk, sync.rst = self.clk, Signal(name="unit_rst")

        in_host = DomainRenamer("host")
        m.submodules.host = registers = in_host(HostRegisters(cfg))
        m.submodules.supervisor = supervisor = in_host(Supervisor(cfg))
        m.submodules.counters = counters = in_host(Counters(cfg))
        m.submodules.command = command = CommandUnit(cfg)
        m.submodules.read_master = reads = ReadMaster(cfg)
        engines = self._engines(m, counters)
        load, store = engines[Unit.LOAD], engines[Unit.STORE]

        m.d.comb += sync.rst.eq(self.rst | supervisor.reset)
        self._control(m, registers, supervisor, counters, command)
        self._dispatch(m, command, engines, counters, supervisor)
        self._buses(m, registers.bus, reads, store)

        join(m, command.request, reads.command)
        join(m, reads.command_data, command.data)
        if cfg.codec:
            m.submodules.block_sizes = sizes = BlockSizes(cfg)
            join(m, load.request, sizes.i)
            join(m, sizes.o, reads.load)
            join(m, store.size, sizes.write)
        else:
            join(m, load.request, reads.load)
        join(m, reads.load_data, load.data)
        if cfg.sparse:
            join(m, engines[Unit.SPARSE].error, supervisor.sparse_error)
        join(m, reads.error, supervisor.read_error)
        join(m, store.error, supervisor.write_error)
        drain = Signal()
        m.d.host += drain.eq(supervisor.drain)
        m.d.comb += [
            reads.drain.eq(drain),
            store.drain.eq(drain),
            supervisor.bus_idle.eq(reads.idle & store.idle),
            counters.read_beat.eq(reads.beats),
            counters.write_beat.eq(store.beats),
        ]
        m.d.sync += store.cycle.eq(counters.cycles)  # STORE hears of responses one cycle later, too
        for region in Region:
            low, high = (getattr(registers, f"base_{region.name.lower()}_{half}") for half in ("low", "high"))
            m.d.comb += [load.regions[region].eq(Cat(low, high)), store.regions[region].eq(Cat(low, high))]
        if cfg.attention:
            m.d.comb += [engines[unit].position.eq(registers.position) for unit in (Unit.LOAD, Unit.STORE, Unit.ROWS)]
        m.d.comb += [
            store.mark_base.eq(Cat(registers.mark_low, registers.mark_high)),
            store.clear.eq(supervisor.begin),
            registers.marks.eq(store.marks),
        ]
        return m

    def _engines(self, m, counters):
        """The data path: the engines of all units, the memories and the array between them."""
        cfg = self.cfg
        memory, beat, element = cfg.memory, cfg.bus_bytes, cfg.act_bytes
        m.submodules.input_buffer = inputs = OperandBuffer(
            memory.input_bytes, cfg.input_word_bytes, beat, cfg.input_read_bytes, element, cfg.input_granule
        )
        m.submodules.weight_buffer = weights = OperandBuffer(
            memory.weight_bytes, cfg.weight_word_bytes, beat, cfg.weight_read_bytes,
            1 if cfg.attention else cfg.weight_granule, cfg.weight_granule,  # keys are turned byte by byte
        )
        m.submodules.operand_buffer = operands = OperandBuffer(
            memory.operand_bytes, cfg.operand_word_bytes, cfg.operand_word_bytes, cfg.vector_word_bytes, granule=element
        )
        m.submodules.load = load = LoadEngine(cfg)
        m.submodules.input = input_streamer = Streamer(cfg, Unit.INPUT, OperandBuffer.latency)
        m.submodules.weight = weight_streamer = Streamer(cfg, Unit.WEIGHT, OperandBuffer.latency)
        m.submodules.array = array = array_of(cfg)
        m.submodules.accumulator = accumulator = Accumulator(cfg)
        m.submodules.vector = vector = VectorEngine(cfg, Accumulator.latency, OperandBuffer.latency)
        m.submodules.store = store = StoreEngine(cfg)

        join(m, load.input, inputs.write)
        join(m, load.weight, weights.write)
        self._write_operands(m, load.operand, vector.result, operands.write)
        join(m, load.param, vector.param_write)
        for reader, buffer in ((input_streamer, inputs), (weight_streamer, weights)):
            join(m, reader.read_address, buffer.read_address)
            m.d.comb += Value.cast(reader.read_data).eq(Value.cast(buffer.read_data))
        join(m, vector.operand_address, operands.read_address)
        m.d.comb += Value.cast(vector.operand_data).eq(Value.cast(operands.read_data))
        join(m, input_streamer.o, array.input)
        if input_streamer.has_geometry:
            join(m, input_streamer.geometry, array.geometry)
        join(m, weight_streamer.o, array.weight)
        m.d.comb += array.open.eq(accumulator.open)
        if cfg.array.zero_gating:
            m.d.comb += counters.gated.eq(array.gated)
        sparse = self._sparse(m, counters, load, input_streamer, accumulator, array)
        join(m, vector.acc_address, accumulator.read_address)
        m.d.comb += Value.cast(vector.acc_data).eq(Value.cast(accumulator.read_data))
        join(m, vector.o, store.i)
        rows = self._rows(m, load, vector, store)
        return {
            Unit.LOAD: load,
            Unit.INPUT: input_streamer,
            Unit.WEIGHT: weight_streamer,
            Unit.ACC: accumulator,
            Unit.VECTOR: vector,
            Unit.STORE: store,
            **sparse,
            **rows,
        }

    def _sparse(self, m, counters, load, inputs, accumulator, array):
        """The sparse engine beside the array, if there is one: words of INPUT come to it, its sums go to ACC."""
        if self.cfg.sparse is None:
            join(m, array.o, accumulator.i)
            return {}
        m.submodules.sparse = engine = SparseEngine(self.cfg)
        for name in ("entries", "pointers", "codebook"):
            join(m, getattr(load, name), getattr(engine, name))
        join(m, inputs.sparse, engine.i)
        sums = accumulator.i
        m.d.comb += [
            sums.valid.eq(array.o.valid | engine.o.valid),
            sums.payload.eq(Mux(engine.o.valid, engine.o.payload.as_value(), array.o.payload.as_value())),
            engine.open.eq(accumulator.open_sparse),
            counters.entries.eq(engine.walked),
            counters.full.eq(engine.full),
        ]
        return {Unit.SPARSE: engine}

    def _rows(self, m, load, vector, store):
        """The row engine between VECTOR and STORE, if there is one, and the tables of LOAD."""
        if self.cfg.attention is None:
            return {}
        m.submodules.rows = engine = PruningRowsEngine(self.cfg) if self.cfg.pruning else RowsEngine(self.cfg)
        join(m, load.table, vector.table)
        join(m, load.gain, engine.gain)
        join(m, vector.rows, engine.i)
        join(m, engine.scale, vector.scale)
        join(m, engine.o, store.rows)
        if self.cfg.pruning:
            join(m, engine.list, load.list)
            join(m, vector.results, engine.results)
        if self.cfg.candidates:
            join(m, load.columns, engine.columns)
        return {Unit.ROWS: engine}

    def _decisions(self, m, engines):
        """Decisions of the row engine to all front ends."""
        m.submodules.decisions = decisions = Decisions(self.cfg)
        join(m, engines[Unit.ROWS].decision, decisions.i)
        return decisions

    def _write_operands(self, m, load, result, port):
        """Writes of LOAD, and of the words that VECTOR keeps where LOAD has none in that cycle."""
        m.d.comb += [port.valid.eq(load.valid | result.valid), result.ready.eq(~load.valid)]
        for name in ("address", "first", "count"):
            m.d.comb += port.payload[name].eq(Mux(load.valid, load.payload[name], result.payload[name]))
        data = (Value.cast(source.payload.data) for source in (load, result))
        m.d.comb += Value.cast(port.payload.data).eq(Mux(load.valid, *data))

    def _control(self, m, registers, supervisor, counters, command):
        """Host registers to run control, counters and errors to host registers."""
        control = registers.control
        m.d.comb += [
            supervisor.finished.eq(command.done),
            registers.status.eq(supervisor.status),
            registers.error.eq(Cat(supervisor.error.code, supervisor.error.unit)),
            registers.error_info.eq(supervisor.error.info),
            registers.cycles_low.eq(counters.cycles[:32]),
            registers.cycles_high.eq(counters.cycles[32:]),
            registers.gated_low.eq(counters.gated_total[:32]),
            registers.gated_high.eq(counters.gated_total[32:]),
            *self._sparse_counters(registers, counters),
            self.irq.eq(registers.irq_enable[0] & (supervisor.status[1] | supervisor.status[2])),
            counters.clear.eq(supervisor.begin),
            counters.running.eq(supervisor.running),
            command.base.eq(Cat(registers.base_program_low, registers.base_program_high)),
            command.words.eq(registers.program_words),
        ]
        m.d.host += [
            supervisor.start.eq(control[0]),
            supervisor.soft_reset.eq(control[1]),
            supervisor.clear_done.eq(registers.irq_clear[0]),
        ]
        m.d.sync += command.start.eq(supervisor.begin)
        join(m, command.error, supervisor.command_error)
        m.d.comb += [getattr(registers, name).eq(getattr(counters, name)) for name in counters.names]

    def _sparse_counters(self, registers, counters):
        """Their registers read 0 where there is no sparse engine."""
        if self.cfg.sparse is None:
            return []
        total = counters.entries_total
        return [registers.sparse_entries_low.eq(total[:32]), registers.sparse_entries_high.eq(total[32:])]

    def _dispatch(self, m, command, engines, counters, supervisor):
        """A word queue and a front end per unit, the semaphores between them, and what the units say they do."""
        m.submodules.semaphores = semaphores = Semaphores(self.cfg)
        decisions = self._decisions(m, engines) if self.cfg.attention else None
        idle, moved, held_up = [decisions.empty] if decisions is not None else [], [], 0
        for unit, engine in engines.items():
            name = unit.name.lower()
            queue = m.submodules[f"{name}_queue"] = Queue(64, self.cfg.control.queue_words)
            front = m.submodules[f"{name}_front_end"] = FrontEnd(self.cfg, unit)
            join(m, command.o[unit], queue.i)
            join(m, queue.o, front.words)
            join(m, front.job, engine.job)
            done = engine.done
            m.d.comb += [
                semaphores.look[unit].eq(front.look),
                semaphores.take[unit].eq(front.take),
                front.there.eq(semaphores.there[unit]),
                front.enough.eq(semaphores.enough[unit]),
                semaphores.give[unit].eq(Mux(done.valid, done.payload, front.give if self.cfg.attention else 0)),
                counters.busy[unit].eq(engine.busy),
                counters.stalled[unit].eq(engine.stalled),
                counters.waiting[unit].eq(front.waiting),
                counters.lacking[unit].eq(semaphores.lacking[unit]),
            ]
            if decisions is not None:
                join(m, decisions.o[unit], front.decision)
                m.d.comb += front.done.eq(done.valid)
            idle.append((queue.level == 0) & front.idle & ~engine.busy)
            moved += [engine.job.valid & engine.job.ready, done.valid]
            if unit in (Unit.SPARSE, Unit.ROWS):  # its jobs may be longer than the watchdog waits
                moved.append(engine.busy & ~engine.stalled)
            held_up |= semaphores.lacking[unit] & front.waiting.replicate(self.cfg.control.semaphores)
        m.d.sync += [
            command.idle.eq(Cat(idle).all()),
            supervisor.held_up.eq(held_up | (counters.waiting << 16)),
            supervisor.progress.eq(Cat(moved).any() | self._handshakes()),
        ]

    def _handshakes(self):
        """Whether any AXI channel transfers."""
        channels = ("ar", "r", "aw", "w", "b")
        return reduce(
            or_, (getattr(self, f"m_axi_{c}valid") & getattr(self, f"m_axi_{c}ready") for c in channels)
        )

    def _buses(self, m, lite, reads, store):
        """Connect the flat ports."""
        bits = self.cfg.bus.data_bits
        for prefix, members, port in (
            ("m_axi", axi.read_members(bits), reads.axi),
            ("m_axi", axi.write_members(bits), store.axi),
            ("s_axil", axi.lite_members(isa.HOST_ADDRESS_BITS), lite),
        ):
            for name, member in members.items():
                inner, outer = getattr(port, name), getattr(self, f"{prefix}_{name}")
                m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)
