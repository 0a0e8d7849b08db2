"""Pruning while running: importance beside the row engine, and its jobs that select."""

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config
from rtl.head_importance import HeadImportance, result_layout
from rtl.importance import TokenImportance, numerators_layout, reciprocal_layout
from rtl.job import job_layout
from rtl.select import Selector, entry_layout


class Pruning(wiring.Component):
    """Stands between the front end of ROWS and the row engine, and takes jobs that select out of their stream.

    Parameters
    ----------
    cfg : Config
        Must have ``attention.pruning``.

    Members
    -------
    job : In(stream of job_layout(ROWS)), done : Out(stream of semaphore mask, always ready), busy : Out(1)
        All jobs of ROWS, in their order.
    rows_job, rows_done, rows_busy
        Those that are the row engine's.
    numerators, reciprocals : In(streams, always ready)
        Rows that are observed, see :class:`~rtl.importance.TokenImportance`.
    results : In(stream of result_layout, always ready)
        Words of heads, see :class:`~rtl.head_importance.HeadImportance`.
    list : Out(stream of entry_layout())
        Entries of lists for LOAD.

    Timing
    ------
    Jobs of the row engine pass without a delay. A selection is taken when none of them is open and all importance is
    added, and takes the cycles of :class:`~rtl.select.Selector`; meanwhile no job is passed on. It is done one cycle
    after its last entry was taken.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        job, tokens = job_layout(cfg, isa.Unit.ROWS), unsigned(cfg.control.semaphores)
        super().__init__({
            "job": In(stream.Signature(job)),
            "done": Out(stream.Signature(tokens, always_ready=True)),
            "busy": Out(1),
            "rows_job": Out(stream.Signature(job)),
            "rows_done": In(stream.Signature(tokens, always_ready=True)),
            "rows_busy": In(1),
            "numerators": In(stream.Signature(numerators_layout(cfg.lanes), always_ready=True)),
            "reciprocals": In(stream.Signature(reciprocal_layout(), always_ready=True)),
            "results": In(stream.Signature(result_layout(cfg.lanes), always_ready=True)),
            "list": Out(stream.Signature(entry_layout())),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.tokens = tokens = TokenImportance(self.cfg.lanes, self.cfg.row_blocks)
        m.submodules.heads = heads = HeadImportance(self.cfg.lanes)
        m.submodules.selector = selector = Selector(self.cfg.lanes, self.cfg.row_blocks)
        wiring.connect(m, wiring.flipped(self.numerators), tokens.i)
        wiring.connect(m, wiring.flipped(self.reciprocals), tokens.row)
        wiring.connect(m, wiring.flipped(self.results), heads.i)
        wiring.connect(m, selector.list, wiring.flipped(self.list))
        for port, accumulators in ((selector.tokens, tokens), (selector.heads, heads)):
            m.d.comb += port.read_data.eq(accumulators.read_data)
            for name in ("read", "read_word", "write", "write_word", "write_value"):
                m.d.comb += getattr(accumulators, name).eq(getattr(port, name))

        job = self.job.payload
        selects, quiet, ends = Signal(), Signal(), Signal()
        give = Signal(self.cfg.control.semaphores, reset_less=True)
        selecting = Signal()
        m.d.comb += [
            selects.eq(job.mode.kind >= isa.Rows.SELECT_TOKENS),
            quiet.eq(~self.rows_busy & ~tokens.busy & ~heads.busy),
            self.rows_job.payload.eq(job),
            self.rows_job.valid.eq(self.job.valid & ~selects & ~selecting),
            selector.job.valid.eq(self.job.valid & selects & quiet & ~selecting),
            selector.job.p.heads.eq(job.mode.kind == isa.Rows.SELECT_HEADS),
            selector.job.p.fresh.eq(job.importance.fresh),
            *(selector.job.p[name].eq(job.select[name]) for name in ("count", "keep", "place")),
            self.job.ready.eq(~selecting & Mux(selects, quiet & selector.job.ready, self.rows_job.ready)),
            ends.eq(selecting & ~selector.busy),
            self.done.valid.eq(self.rows_done.valid | ends),
            self.done.payload.eq(Mux(ends, give, self.rows_done.payload)),
            self.busy.eq(self.rows_busy | selecting),
        ]
        with m.If(ends):
            m.d.sync += selecting.eq(0)
        with m.If(selector.job.valid & selector.job.ready):
            m.d.sync += [selecting.eq(1), give.eq(job.give)]
        return m
