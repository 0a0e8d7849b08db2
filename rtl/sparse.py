"""SPARSE engine: a vector times a matrix of compressed columns that lie in the PEs."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config
from rtl.command import ERROR
from rtl.drain import sum_stream
from rtl.job import engine_ports
from rtl.leading_non_zero import LeadingNonZero
from rtl.memory import write_layout
from rtl.pop_count import PopCount
from rtl.sparse_broadcast import SparseBroadcast, word_stream
from rtl.sparse_drain import SparseDrain
from rtl.sparse_pe import SparsePE
from rtl.sparse_write import SparseWrite


class SparseEngine(wiring.Component):
    """Broadcast, PEs, drain, and the order of jobs.

    One job runs, one waits, and of the one before sums may still be leaving: they do so from the other bank. A job
    that drains ends when its sums are complete and those of the drain before have left; the next one then begins in
    the bank that is free. A job that does not drain is continued by the next one in the same bank.

    Parameters
    ----------
    cfg : Config
        Must have ``sparse``.

    Members
    -------
    job, done, busy, stalled
        See :func:`~rtl.job.engine_ports`. Done when the last sum is complete: entries, pointers and codebook may be
        written then. Sums leave afterwards, into the job that ACC has opened for them; ``busy`` until they have.
    entries, pointers, codebook : In(stream of write_layout(bus_bytes), always ready)
        Writes of LOAD, whole beats.
    i : In(word_stream)
        Activations: ceil(count / input_elements) words per job.
    open : In(1)
        ACC has opened one more job of this source: one per job that drains, of as many words.
    o : Out(sum_stream)
        See :class:`~rtl.sparse_drain.SparseDrain`.
    walked : Out(range(pes + 1))
        PEs that walked an entry, one cycle ago.
    full : Out(1)
        A full queue keeps an activation from all PEs in this cycle.
    error : Out(stream of ERROR, always ready)
        A PE has found an error; the lowest one of those that do. Valid until a reset.

    Timing
    ------
    A job taken in cycle t begins in cycle t + 1 or, if another one runs, in the one in which that ends. Its first word
    comes from cycle t + 2 on, or from the second one after the last word of the job before has come; its first
    activation is in the queues two cycles after the word, and three cycles after it has begun at the earliest
    (:class:`~rtl.sparse_broadcast.SparseBroadcast`, :class:`~rtl.sparse_pe.SparsePE`).

    A job ends in the cycle in which the broadcast has ended and all PEs are idle, ``SparsePE.latency`` cycles after the
    last entry of the slowest one; if it drains, not before the sums of the drain before it have been read. Its tokens
    are given one cycle later. In that cycle the first sums are read, if ACC has opened a job, and leave two cycles
    later. The next job can be taken one cycle after this one began. ``tests/rtl/sparse_engine_bench.py`` is this law as
    a program.

    Source
    ------
    Han et al., EIE: Efficient Inference Engine on Compressed Deep Neural Network, ISCA 2016. Deviations: sums stay in
    wide accumulators and leave through the vector unit of the accelerator; activations come from its input buffer.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        write = stream.Signature(write_layout(cfg.bus_bytes), always_ready=True)
        super().__init__(engine_ports(cfg, isa.Unit.SPARSE) | {
            "entries": In(write),
            "pointers": In(write),
            "codebook": In(write),
            "i": In(word_stream(cfg)),
            "open": In(1),
            "o": Out(sum_stream(cfg)),
            "walked": Out(range(cfg.sparse.pes + 1)),
            "full": Out(1),
            "error": Out(stream.Signature(ERROR, always_ready=True)),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.cfg
        m.submodules.broadcast = broadcast = SparseBroadcast(cfg)
        m.submodules.drain = drain = SparseDrain(cfg)
        pes = [SparsePE(cfg) for _ in range(cfg.sparse.pes)]
        for number, pe in enumerate(pes):
            m.submodules[f"pe_{number}"] = pe
        wiring.connect(m, wiring.flipped(self.i), broadcast.i)
        wiring.connect(m, drain.o, wiring.flipped(self.o))
        self._write(m, pes)
        sent = self._broadcast(m, broadcast, pes)
        running, waiting = self._jobs(m, broadcast, drain, pes)
        self._drain(m, drain, pes)
        self._report_error(m, pes)
        m.submodules.count = count = PopCount(cfg.sparse.pes)
        walked = Signal(cfg.sparse.pes)
        m.d.comb += [
            walked.eq(Cat(pe.walked for pe in pes)),
            count.i.eq(walked),
            self.walked.eq(count.o),
            self.busy.eq(running | waiting | drain.busy),
            self.stalled.eq(self.busy & ~(walked.any() | sent | drain.read.any())),
        ]
        return m

    def _write(self, m, pes):
        """Writes of LOAD to the memories of all PEs."""
        m.submodules.write = write = SparseWrite(self.cfg)
        for name in ("entries", "pointers", "codebook"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(write, name))
        for number, pe in enumerate(pes):
            m.d.comb += [
                pe.write_entries.eq(write.to_entries[number]),
                pe.write_pointers.eq(write.to_pointers[number]),
                pe.write_codebook.eq(write.to_codebook),
                pe.write_beat.eq(write.beat),
                pe.write_data.eq(write.data),
            ]

    def _broadcast(self, m, broadcast, pes):
        """An activation goes to all PEs in the same cycle; returns when."""
        room, sent = Signal(), Signal()
        m.d.comb += [
            room.eq(Cat(pe.i.ready for pe in pes).all()),
            sent.eq(broadcast.o.valid & room),
            broadcast.o.ready.eq(room),
            self.full.eq(broadcast.o.valid & ~room),
        ]
        for pe in pes:
            m.d.comb += [pe.i.valid.eq(sent), pe.i.payload.eq(broadcast.o.payload)]
        return sent

    def _jobs(self, m, broadcast, drain, pes):
        """The job that runs and the one that waits; returns whether there is one of either."""
        cfg = self.cfg
        waiting = Signal(self.job.payload.shape(), reset_less=True)
        full, told, running = Signal(), Signal(), Signal()
        start, end, quiet = Signal(), Signal(), Signal()
        drains, give = Signal.like(waiting.mode.drain, reset_less=True), Signal.like(waiting.give, reset_less=True)
        bank = Signal()
        m.d.comb += [
            self.job.ready.eq(~full),
            broadcast.vector.valid.eq(full & ~told),
            broadcast.vector.p.count.eq(waiting.columns.count),
            broadcast.vector.p.zero.eq(waiting.mode.zero),
            quiet.eq(broadcast.end & Cat(pe.idle for pe in pes).all()),
            end.eq(running & quiet & ~((drains != 0) & drain.busy)),
            start.eq(full & ~pes[0].clearing & (~running | end)),
            broadcast.begin.eq(start),
            drain.begin.eq(end & (drains != 0)),
            drain.words.eq(drains),
            drain.open.eq(self.open),
        ]
        with m.If(self.job.valid & self.job.ready):
            m.d.sync += [full.eq(1), waiting.eq(self.job.payload)]
        with m.If(start):
            m.d.sync += [full.eq(0), told.eq(0), running.eq(1), drains.eq(waiting.mode.drain), give.eq(waiting.give)]
        with m.Else():
            with m.If(broadcast.vector.valid & broadcast.vector.ready):
                m.d.sync += told.eq(1)
            with m.If(end):
                m.d.sync += running.eq(0)
        with m.If(drain.begin):
            m.d.sync += bank.eq(~bank)
        m.d.sync += [self.done.valid.eq(end), self.done.payload.eq(give)]

        held = {
            name: Signal(getattr(pes[0], name).shape(), name=f"job_{name}", reset_less=True)
            for name in ("pointers", "word", "entries", "codebook")
        }
        fewer, more = (Signal.like(pes[0].rows, name=name, reset_less=True) for name in ("rows_fewer", "rows_more"))
        has_more = Signal(cfg.sparse.pes, reset_less=True)
        with m.If(start):
            m.d.sync += [
                held["pointers"].eq(waiting.columns.pointers),
                held["word"].eq(waiting.weights.word),
                held["entries"].eq(waiting.weights.entries),
                held["codebook"].eq(waiting.mode.codebook),
                fewer.eq(self._limited(waiting.rows.full)),
                more.eq(self._limited(waiting.rows.full + 1)),
                has_more.eq(Cat(waiting.rows.extra > number for number in range(cfg.sparse.pes))),
            ]
        for number, pe in enumerate(pes):
            m.d.comb += [getattr(pe, name).eq(value) for name, value in held.items()]
            m.d.comb += [pe.rows.eq(Mux(has_more[number], more, fewer)), pe.bank.eq(bank)]
        return running, full

    def _limited(self, rows):
        """Rows of a PE, no more than it has sums."""
        most = self.cfg.sparse.accumulators
        return Mux(rows > most, most, rows)

    def _drain(self, m, drain, pes):
        """Sums of the bank that is not added to."""
        for number, pe in enumerate(pes):
            m.d.comb += [
                pe.drain.eq(drain.read[number // self.cfg.lanes]),
                pe.drain_place.eq(drain.place),
                drain.i[number].eq(pe.drained),
            ]

    def _report_error(self, m, pes):
        """The lowest PE that has found something, one cycle later."""
        m.submodules.first_wrong = first = LeadingNonZero(len(pes))
        found = Signal(pes[0].error.shape())
        m.d.comb += first.mask.eq(Cat(pe.error.run | pe.error.pointer for pe in pes))
        with m.Switch(first.index):
            for number, pe in enumerate(pes):
                with m.Case(number):
                    m.d.comb += found.eq(pe.error)
        m.d.sync += self.error.valid.eq(first.found)
        with m.If(first.found & ~self.error.valid):
            m.d.sync += [
                self.error.p.code.eq(Mux(found.run, isa.Error.SPARSE_RUN, isa.Error.SPARSE_POINTER)),
                self.error.p.unit.eq(isa.Unit.SPARSE),
                self.error.p.info.eq(Cat(found.column, first.index)),
            ]
