"""Row engine with pruning: importance is added up beside it, and some of its jobs select."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config
from rtl.candidate_rows import CandidateRows
from rtl.head_importance import HeadImportance, result_layout
from rtl.importance import NUMERATOR_BITS, TokenImportance
from rtl.job import engine_ports
from rtl.memory import write_layout
from rtl.row_packer import RowPacker
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
    columns : In(stream of write_layout(bus_bytes), always ready)
        With ``attention.candidates``: see :class:`~rtl.candidate_rows.CandidateRows`.

    Timing
    ------
    Jobs with rows pass to the row engine without a delay. A job that selects is taken when none of them is open and all
    importance is added, and takes the cycles of :class:`~rtl.select.Selector`; meanwhile no other is passed on. It is
    done one cycle after that. With ``attention.values`` there are columns of a head beside the importance of tokens,
    and jobs of kind PACK, which are taken likewise and take the cycles of :class:`~rtl.row_packer.RowPacker`. So are
    those of kind SEARCH with ``attention.candidates``, which take the cycles of
    :class:`~rtl.candidate_rows.CandidateRows`.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        self.engine = RowsEngine(cfg)
        through = {name: self.engine.signature.members[name] for name in (*_STREAMS, "position")}
        write = stream.Signature(write_layout(cfg.bus_bytes), always_ready=True)
        super().__init__({
            **engine_ports(cfg, isa.Unit.ROWS),
            **through,
            "results": In(stream.Signature(result_layout(cfg.lanes), always_ready=True)),
            "list": Out(stream.Signature(entry_layout())),
            **({"columns": In(write)} if cfg.candidates else {}),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.engine = engine = self.engine
        m.submodules.tokens = tokens = TokenImportance(self.cfg.lanes, self.cfg.row_blocks)
        m.submodules.heads = heads = HeadImportance(self.cfg.lanes)
        m.submodules.selector = selector = Selector(self.cfg.lanes, self.cfg.row_blocks, self.cfg.values)
        for name in _STREAMS if not self.cfg.values else _STREAMS[2:]:
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(engine, name))
        search = self._elaborate_search(m) if self.cfg.candidates else None
        columns, packer = self._elaborate_values(m, tokens, selector, search) if self.cfg.values else (None, None)
        if columns is None:
            wiring.connect(m, engine.numerators, tokens.i)
            wiring.connect(m, engine.reciprocals, tokens.row)
        wiring.connect(m, wiring.flipped(self.results), heads.i)
        self._elaborate_lists(m, selector, search)
        for port, accumulators in ((selector.tokens, tokens), (selector.heads, heads)):
            m.d.comb += port.read_data.eq(accumulators.read_data)
            for name in ("read", "read_word", "write", "write_word", "write_value"):
                m.d.comb += getattr(accumulators, name).eq(getattr(port, name))

        job = self.job.payload
        selects, quiet, ends = Signal(), Signal(), Signal()
        give = Signal(self.cfg.control.semaphores, reset_less=True)
        selecting = Signal()  # or packing
        idle, chooses, ended = ~engine.busy & ~tokens.busy & ~heads.busy, selects, ~selector.busy
        if self.cfg.values:
            packs = Signal()
            idle, chooses, ended = idle & ~columns.busy, selects & ~packs, ended & ~packer.busy
            values = job["values"]
            m.d.comb += [
                packs.eq(job.mode.kind == isa.Rows.PACK),
                selector.job.p["values"].eq(job.mode.kind == isa.Rows.SELECT_VALUES),
                selector.job.p.by_floor.eq(values.by_floor),
                selector.job.p.floor.eq(values.floor),
                selector.job.p.numbered.eq(values.numbered),
                packer.job.valid.eq(self.job.valid & packs & quiet & ~selecting),
                packer.job.p.rows.eq(job.count.rows),
                packer.job.p.blocks.eq(job.mode.blocks),
                packer.job.p.tail.eq(job.mode.tail),
                packer.job.p.count.eq(values.count),
            ]
        begins = [selector.job.valid & selector.job.ready]
        if self.cfg.values:
            begins.append(packer.job.valid & packer.job.ready)
        if search is not None:
            searches = Signal()
            chooses, ended = chooses & ~searches, ended & ~search.busy
            m.d.comb += [
                searches.eq(job.mode.kind == isa.Rows.SEARCH),
                search.job.valid.eq(self.job.valid & searches & quiet & ~selecting),
                *(search.job.p[name].eq(job.mode[name]) for name in ("blocks", "tail")),
                *(search.job.p[name].eq(job.select[name]) for name in ("count", "place")),
                search.job.p.steps.eq(job.select.keep),
                search.job.p.slot.eq(job["values"].slot),
            ]
            begins.append(search.job.valid & search.job.ready)
        m.d.comb += [
            engine.position.eq(self.position),
            selects.eq(job.mode.kind >= isa.Rows.SELECT_TOKENS),
            quiet.eq(idle),
            engine.job.payload.eq(job),
            engine.job.valid.eq(self.job.valid & ~selects & ~selecting),
            selector.job.valid.eq(self.job.valid & chooses & quiet & ~selecting),
            selector.job.p.heads.eq(job.mode.kind == isa.Rows.SELECT_HEADS),
            selector.job.p.fresh.eq(job.importance.fresh),
            *(selector.job.p[name].eq(job.select[name]) for name in ("count", "keep", "place")),
            self.job.ready.eq(~selecting & Mux(selects, quiet & selector.job.ready, engine.job.ready)),
            ends.eq(selecting & ended),
            self.done.valid.eq(engine.done.valid | ends),
            self.done.payload.eq(Mux(ends, give, engine.done.payload)),
            self.busy.eq(engine.busy | selecting),
            self.stalled.eq(engine.stalled),
        ]
        with m.If(ends):
            m.d.sync += selecting.eq(0)
        with m.If(Cat(begins).any()):
            m.d.sync += [selecting.eq(1), give.eq(job.give)]
        return m

    def _elaborate_search(self, m):
        """The search of candidates beside the row engine, which asks it how many it has found."""
        m.submodules.search = search = CandidateRows(self.cfg)
        wiring.connect(m, wiring.flipped(self.columns), search.columns)
        m.d.comb += [
            search.i.payload.eq(self.i.payload),
            search.i.valid.eq(self.i.valid & search.busy),
            self.engine.found.eq(search.found),
        ]
        return search

    def _elaborate_lists(self, m, selector, search):
        """Entries of the selector, or of the search: never both."""
        if search is None:
            wiring.connect(m, selector.list, wiring.flipped(self.list))
            return
        m.d.comb += [
            self.list.valid.eq(selector.list.valid | search.list.valid),
            self.list.payload.eq(Mux(search.busy, search.list.payload.as_value(), selector.list.payload.as_value())),
            *(source.list.ready.eq(self.list.ready) for source in (selector, search)),
        ]

    def _elaborate_values(self, m, tokens, selector, search):
        """Columns of a head, and the packer beside the row engine; returns both."""
        engine, lanes, words = self.engine, self.cfg.lanes, self.cfg.row_blocks
        m.submodules.columns = columns = TokenImportance(lanes, words, maxima=True)
        m.submodules.packer = packer = RowPacker(lanes, words, NUMERATOR_BITS)
        for bank, chosen, fresh in ((tokens, "for_tokens", "fresh"), (columns, "for_values", "fresh_values")):
            row, rows = bank.row.payload, engine.reciprocals.payload
            m.d.comb += [
                bank.i.valid.eq(engine.numerators.valid & engine.numerators.p[chosen]),
                bank.i.p.data.eq(engine.numerators.p.data),
                bank.i.p.last.eq(engine.numerators.p.last),
                bank.row.valid.eq(engine.reciprocals.valid & rows[chosen]),
                row.inverse.eq(rows.inverse),
                row.shift.eq(rows.shift),
                row.fresh.eq(rows[fresh]),
            ]
        m.d.comb += [
            columns.row.p.largest.eq(engine.reciprocals.p.largest),
            columns.read.eq(selector.columns.read),
            columns.read_word.eq(selector.columns.read_word),
            selector.columns.read_data.eq(columns.read_data),
            *(getattr(packer, name).eq(getattr(selector, name)) for name in ("mask", "mask_word", "mask_value")),
        ]

        # Words to the one that has jobs open, and from there: never both.
        ready = Mux(packer.busy, packer.i.ready, engine.i.ready)
        others = packer.busy
        if search is not None:
            ready, others = Mux(search.busy, search.i.ready, ready), others | search.busy
        m.d.comb += [
            engine.i.payload.eq(self.i.payload),
            engine.i.valid.eq(self.i.valid & ~others),
            packer.i.valid.eq(self.i.valid & packer.busy),
            self.i.ready.eq(ready),
            self.o.valid.eq(Mux(packer.busy, packer.o.valid, engine.o.valid)),
            self.o.p.count.eq(Mux(packer.busy, packer.o.p.count, engine.o.p.count)),
            engine.o.ready.eq(self.o.ready & ~packer.busy),
            packer.o.ready.eq(self.o.ready),
        ]
        for lane in range(lanes):
            m.d.comb += [
                packer.i.payload[lane].eq(self.i.payload[lane].as_unsigned()),
                self.o.p.data[lane].eq(Mux(packer.busy, packer.o.p.data[lane], engine.o.p.data[lane])),
            ]
        return columns, packer
