"""ROWS engine: softmax and norms of rows on their way from VECTOR to STORE."""

from amaranth import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config
from rtl.importance import numerators_layout, reciprocal_layout
from rtl.job import engine_ports
from rtl.memory import BankMemory, write_layout
from rtl.rows_collect import ROWS, RowsCollect, score_word, sums_layout
from rtl.rows_emit import RowsEmit
from rtl.rows_finish import RowsFinish, norm_layout
from rtl.rows_jobs import POSITION_BITS, RowsJobs, found_layout
from rtl.rows_scale import RowsScale, scale_layout
from rtl.softmax_lane import SCORE_BITS
from rtl.sparse_queue import ShortQueue
from rtl.tree import tree_latency
from rtl.vector import output_layout


class RowsEngine(wiring.Component):
    """Executes ROWS jobs; ``docs/numerics.md``, section 9, defines what they compute.

    A row is collected while it is written into a ring of two longest rows: its maximum (softmax), or its sum and its
    sum of squares (norms). A norm is finished, to the reciprocal of a root; then the row is emitted from the ring, word
    by word. The numerators of a softmax are added up on their way out, and the reciprocal of their sum becomes a row
    scale. All of it overlaps from row to row and from job to job.

    Parameters
    ----------
    cfg : Config
        Must have ``attention``.

    Members
    -------
    job, done, busy, stalled
        See :func:`rtl.job.engine_ports`. Done when the last word has left, the last row scale is written, and the
        decision is taken.
    i : In(stream of lanes x signed(16))
        Words of the rows; with ``column`` one element each, in lane 0. Norms read the low 8 bits of an element. Lanes
        behind the tail may hold anything.
    o : Out(stream of output_layout)
        Words of as many bytes: ``data[:count]`` is valid.
    scale : Out(stream of scale_layout, always ready)
        A row scale of the vector unit. That of a row without elements that count has multiplier 0.
    decision : Out(stream of 1 bit)
        Of a job with ``decide``: whether any of its sums is above the largest one that is sure.
    position : In(16)
        Read while a job waits, in the first of its ``PREPARE`` cycles.
    gain : In(stream of write_layout(bus_bytes), always ready)
        See :class:`~rtl.rows_emit.RowsEmit`.
    found : In(2 x range(candidates + 1))
        With ``attention.candidates``: elements that count in rows of jobs with ``values.found``, by slot; read as
        ``position`` is.
    numerators, reciprocals : Out(streams of rtl.importance.numerators_layout, reciprocal_layout, always ready)
        With pruning: rows of jobs that observe, for the importance of tokens.

    Timing
    ------
    Every time is a cycle; what happens in a cycle counts for others from the next one on. Numbers are attributes.

    * A job is taken when fewer than ``JOBS`` are open, and not before the cycle after the one before was *begun*. It is
      begun ``PREPARE`` cycles after it was taken, but not before the last word of the one before is taken.
    * A word, or with ``column`` an element of it, is taken after its job was begun, one per cycle, if fewer than
      ``ring_words`` words are between their (last) take and their read; the first word of a row, if besides fewer than
      ``ROWS`` rows are between the (last) take of their first word and their first read.
    * A row of softmax is *complete* ``collect_latency`` cycles after its last word was taken. A row of a norm is
      *finished* from then on, ``FINISH_INTERVAL`` after the norm's row before at the earliest, and is complete
      ``FINISH_LATENCY`` cycles after that has begun.
    * Words are read in order, one per cycle, if fewer than ``QUEUE_WORDS`` words are between their read and their
      leave; the first word of a row, if that is complete. The first word of a row of softmax is besides not read before
      ``SWITCH_CYCLES`` after the last word of a norm, nor while ``SCALED_ROWS`` rows of softmax are between their first
      read and their division.
    * A word is offered at ``o`` ``SOFTMAX_LATENCY`` or ``NORM_LATENCY`` cycles after its read, in order, one per cycle.
    * A row of softmax is *divided* ``total_latency`` cycles after its last word was read, ``DIVIDE_INTERVAL`` after the
      one before at the earliest; its scale is valid ``DIVIDE_LATENCY`` cycles after that.
    * The decision of a job is offered ``DECISION_LATENCY`` cycles after its last row is divided.
    * A job is done one cycle after its last word has left, its last scale was valid and its decision is taken, in
      order, one per cycle.

    So a row takes as many cycles as it has words; of softmax at least ``DIVIDE_INTERVAL``, of a norm at least
    ``FINISH_INTERVAL``. ``tests/rtl/row_engine_law.py`` is this law as a program.
    """

    JOBS = RowsJobs.depth
    PREPARE = RowsJobs.latency
    ROWS = ROWS
    FINISH_INTERVAL = RowsFinish.interval
    FINISH_LATENCY = RowsFinish.latency + ShortQueue.latency
    SOFTMAX_LATENCY = RowsEmit.softmax_latency
    NORM_LATENCY = RowsEmit.norm_latency
    QUEUE_WORDS = RowsEmit.words
    SWITCH_CYCLES = RowsEmit.norm_latency - RowsEmit.softmax_latency + 1
    SCALED_ROWS = RowsScale.rows
    DIVIDE_INTERVAL = RowsScale.interval
    DIVIDE_LATENCY = RowsScale.latency
    DECISION_LATENCY = RowsScale.decision_latency

    def __init__(self, cfg: Config):
        self.cfg = cfg
        self.ring_words = 2 * cfg.row_blocks
        self.collect_latency = 4 + tree_latency(cfg.lanes) + ShortQueue.latency
        self.total_latency = self.SOFTMAX_LATENCY + tree_latency(cfg.lanes)
        super().__init__(engine_ports(cfg, isa.Unit.ROWS) | {
            "i": In(stream.Signature(score_word(cfg))),
            "o": Out(stream.Signature(output_layout(cfg))),
            "decision": Out(stream.Signature(1)),
            "position": In(POSITION_BITS),
            "scale": Out(stream.Signature(scale_layout(cfg), always_ready=True)),
            "gain": In(stream.Signature(write_layout(cfg.bus_bytes), always_ready=True)),
            **({"found": In(found_layout(cfg))} if cfg.candidates else {}),
            **(self._observed(cfg) if cfg.pruning else {}),
        })

    @staticmethod
    def _observed(cfg: Config) -> dict:
        """Members about the importance of tokens."""
        return {
            "numerators": Out(stream.Signature(numerators_layout(cfg.lanes, cfg.values), always_ready=True)),
            "reciprocals": Out(stream.Signature(reciprocal_layout(values=cfg.values), always_ready=True)),
        }

    def elaborate(self, platform):
        m = Module()
        m.submodules.jobs = jobs = RowsJobs(self.cfg)
        m.submodules.collect = collect = RowsCollect(self.cfg)
        m.submodules.finish = finish = RowsFinish()
        m.submodules.emit = emit = RowsEmit(self.cfg)
        m.submodules.scales = scales = RowsScale(self.cfg)
        wiring.connect(m, wiring.flipped(self.job), jobs.job)
        wiring.connect(m, jobs.collect, collect.job)
        wiring.connect(m, jobs.issue, emit.job)
        wiring.connect(m, jobs.done, wiring.flipped(self.done))
        wiring.connect(m, wiring.flipped(self.i), collect.i)
        wiring.connect(m, wiring.flipped(self.gain), emit.gain)
        wiring.connect(m, emit.o, wiring.flipped(self.o))
        wiring.connect(m, emit.scaled, scales.row)
        wiring.connect(m, emit.total, scales.total)
        wiring.connect(m, scales.o, wiring.flipped(self.scale))
        wiring.connect(m, scales.decision, wiring.flipped(self.decision))
        self._ring(m, collect, emit)
        if self.cfg.pruning:
            wiring.connect(m, emit.observed, wiring.flipped(self.numerators))
            wiring.connect(m, scales.observed, wiring.flipped(self.reciprocals))

        # Rows that are collected, and those that are finished.
        for name, layout, source, sink in (
            ("maxima", SCORE_BITS, collect.maximum, emit.maximum),
            ("sums", sums_layout(), collect.sums, finish.i),
            ("norms", norm_layout(), finish.o, emit.norm),
        ):
            m.submodules[name] = queue = ShortQueue(layout, ROWS)
            m.d.comb += [queue.i.valid.eq(source.valid), queue.i.payload.eq(source.payload)]
            m.d.comb += [sink.valid.eq(queue.o.valid), sink.payload.eq(queue.o.payload), queue.o.ready.eq(sink.ready)]
        m.d.comb += [
            emit.divided.eq(scales.begun),
            collect.read.eq(emit.read),
            collect.begun.eq(emit.begun),
            jobs.left.eq(emit.ended),
            jobs.scaled.eq(scales.o.valid & scales.end),
            jobs.decided.eq(self.decision.valid & self.decision.ready),
            jobs.position.eq(self.position),
            *([jobs.found.eq(self.found)] if self.cfg.candidates else []),
            self.busy.eq(jobs.busy),
            self.stalled.eq(jobs.busy & ~(collect.moving | finish.busy | emit.moving | scales.busy)),
        ]
        return m

    def _ring(self, m, collect, emit):
        """Words between collecting and emitting."""
        word_bytes = SCORE_BITS // 8 * self.cfg.lanes
        m.submodules.ring = ring = BankMemory(word_bytes, self.ring_words, word_bytes)
        m.d.comb += [
            ring.write_enable.eq(collect.write),
            ring.write_address.eq(collect.write_address),
            ring.write_data.eq(collect.write_data.as_value()),
            ring.read_enable.eq(emit.read),
            ring.read_address.eq(emit.address),
            emit.data.as_value().eq(ring.read_data),
        ]
