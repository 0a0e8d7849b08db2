"""Row engine with pruning: importance is added up beside it, and some of its jobs select."""

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config
from rtl.head_importance import HeadImportance, result_layout
from rtl.importance import TokenImportance
from rtl.job import engine_ports
from rtl.rows import RowsEngine
from rtl.select import Selector, entry_layout

_STREAMS = ("i", "o", "decision", "scale", "gain")
"""Ports that are the row engine's alone."""


class PruningRowsEngine(wiring.Component):
    """A row engine, the importance of tokens and heads, and the selector.

    Parameters
    ----------
    cfg : Config
        Must have ``attention.pruning``.

    Members
    -------
    job, done, busy, stalled, i, o, decision, position, scale, gain
        See :class:`~rtl.rows.RowsEngine`.
    results : In(stream of result_layout, always ready)
        Words of heads, see :class:`~rtl.head_importance.HeadImportance`.
    list : Out(stream of entry_layout())
        Entries of lists for LOAD.

    Timing
    ------
    Jobs with rows pass to the row engine without a delay. A job that selects is taken when none of them is open and all
    importance is added, and takes the cycles of :class:`~rtl.select.Selector`; meanwhile no other is passed on. It is
    done one cycle after that.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        self.engine = RowsEngine(cfg)
        through = {name: self.engine.signature.members[name] for name in (*_STREAMS, "position")}
        super().__init__({
            **engine_ports(cfg, isa.Unit.ROWS),
            **through,
            "results": In(stream.Signature(result_layout(cfg.lanes), always_ready=True)),
            "list": Out(stream.Signature(entry_layout())),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.engine = engine = self.engine
        m.submodules.tokens = tokens = TokenImportance(self.cfg.lanes, self.cfg.row_blocks)
        m.submodules.heads = heads = HeadImportance(self.cfg.lanes)
        m.submodules.selector = selector = Selector(self.cfg.lanes, self.cfg.row_blocks)
        for name in _STREAMS:
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(engine, name))
        wiring.connect(m, engine.numerators, tokens.i)
        wiring.connect(m, engine.reciprocals, tokens.row)
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
            engine.position.eq(self.position),
            selects.eq(job.mode.kind >= isa.Rows.SELECT_TOKENS),
            quiet.eq(~engine.busy & ~tokens.busy & ~heads.busy),
            engine.job.payload.eq(job),
            engine.job.valid.eq(self.job.valid & ~selects & ~selecting),
            selector.job.valid.eq(self.job.valid & selects & quiet & ~selecting),
            selector.job.p.heads.eq(job.mode.kind == isa.Rows.SELECT_HEADS),
            selector.job.p.fresh.eq(job.importance.fresh),
            *(selector.job.p[name].eq(job.select[name]) for name in ("count", "keep", "place")),
            self.job.ready.eq(~selecting & Mux(selects, quiet & selector.job.ready, engine.job.ready)),
            ends.eq(selecting & ~selector.busy),
            self.done.valid.eq(engine.done.valid | ends),
            self.done.payload.eq(Mux(ends, give, engine.done.payload)),
            self.busy.eq(engine.busy | selecting),
            self.stalled.eq(engine.stalled),
        ]
        with m.If(ends):
            m.d.sync += selecting.eq(0)
        with m.If(selector.job.valid & selector.job.ready):
            m.d.sync += [selecting.eq(1), give.eq(job.give)]
        return m
