"""Jobs of the row engine that search: a row of VECTOR is the query, the candidates become a list for LOAD."""

from amaranth import Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows.candidates import CODE_BITS, key_bits
from dataflows.config import Config
from rtl.candidate_search import CandidateSearch
from rtl.memory import write_layout
from rtl.rows_collect import score_word
from rtl.rows_jobs import found_layout
from rtl.select import NUMBER_BITS, entry_layout


def searching_layout() -> data.StructLayout:
    """A search over ``count`` keys in ``steps`` steps.

    Its query is a row of ``blocks`` words, ``tail`` lanes of the last one valid; ``place`` is the first index of its
    list, ``slot`` where its length is kept.
    """
    fields = ("blocks", "tail", "count", "steps", "place")
    return data.StructLayout({**dict.fromkeys(fields, NUMBER_BITS), "slot": 1})


class CandidateRows(wiring.Component):
    """Takes a query, searches, and writes the list of its candidates with the length in front.

    ``list[place]`` is the length, ``list[place + 1 + i]`` the i-th candidate. If there is none the length is 1, and key
    0 in it, so that a load by the list has a row; ``found`` is 0 all the same.

    Parameters
    ----------
    cfg : Config
        Must have ``attention.candidates``.

    Members
    -------
    columns : In(stream of write_layout(bus_bytes), always ready)
        See :class:`~rtl.sorted_columns.SortedColumns`.
    job : In(stream of searching_layout())
        Taken when none is open. No more columns than there are in memory; those behind the query's have the query 0.
    i : In(stream of lanes x signed(16))
        The query: of each element the low 8 bits.
    list : Out(stream of entry_layout())
    found : Out(found_layout(cfg))
        How many candidates the last search of each slot has found.
    busy : Out(1)
        A job is open, from the cycle after it was taken to that in which its length is written.

    Timing
    ------
    Words of the query are taken one per cycle. The job is done :func:`dataflows.candidates.job_cycles` cycles after the
    last of them, counting the one in which ``busy`` is low again, while ``list`` is ready.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        sizes = cfg.candidates, cfg.attention.candidate_columns
        self.search = CandidateSearch(cfg.lanes, *sizes, cfg.bus_bytes)
        super().__init__({
            "columns": In(stream.Signature(write_layout(cfg.bus_bytes), always_ready=True)),
            "job": In(stream.Signature(searching_layout())),
            "i": In(stream.Signature(score_word(cfg))),
            "list": Out(stream.Signature(entry_layout())),
            "found": Out(found_layout(cfg)),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.search = search = self.search
        wiring.connect(m, wiring.flipped(self.columns), search.write)
        job = Signal(searching_layout(), reset_less=True)
        begin = Signal()
        m.d.comb += [self.job.ready.eq(~self.busy), begin.eq(self.job.valid & self.job.ready)]
        with m.If(begin):
            m.d.sync += [job.eq(self.job.payload), self.busy.eq(1)]
        self._query(m, job, begin)
        self._list(m, job, begin)
        return m

    def _query(self, m, job, begin):
        """Words of the query to the search; columns without one have 0."""
        lanes, columns = self.cfg.lanes, self.search.columns
        query = Signal(data.ArrayLayout(signed(CODE_BITS), columns), reset_less=True)
        coming, whole = Signal(), Signal()
        block = Signal(range(-(-columns // lanes) + 1), reset_less=True)
        ends = Signal()
        m.d.comb += [self.i.ready.eq(coming), ends.eq(block == job.blocks - 1)]
        for column in range(columns):
            number, lane = divmod(column, lanes)
            with m.If(begin):
                m.d.sync += query[column].eq(0)
            with m.Elif(self.i.valid & coming & (block == number) & (~ends | (lane < job.tail))):
                m.d.sync += query[column].eq(self.i.payload[lane][:CODE_BITS].as_signed())
        with m.If(begin):
            m.d.sync += [coming.eq(1), block.eq(0)]
        with m.Elif(self.i.valid & coming):
            m.d.sync += [block.eq(block + 1), coming.eq(~ends), whole.eq(ends)]
        start = self.search.job
        m.d.comb += [
            start.valid.eq(whole),
            start.p.query.eq(query),
            start.p.keys.eq(job.count),
            start.p.steps.eq(job.steps),
        ]
        with m.If(start.valid & start.ready):
            m.d.sync += whole.eq(0)

    def _list(self, m, job, begin):
        """A 0 behind the length, which the first candidate replaces; the candidates; the length."""
        words = self.search.o
        held = Signal(words.p.data.shape(), reset_less=True)
        left, last = Signal(range(self.cfg.lanes + 1)), Signal(reset_less=True)
        done = Signal(range(self.cfg.candidates + 1), reset_less=True)
        opening, closing = Signal(), Signal()
        entry = self.list.payload
        m.d.comb += [
            words.ready.eq((left == 0) & ~opening & ~closing),
            self.list.valid.eq((left != 0) | opening | closing),
            entry.index.eq(job.place + 1 + done),
            entry.value.eq(held[0]),
        ]
        with m.If(words.valid & words.ready):
            m.d.sync += [held.eq(words.p.data), left.eq(words.p.count), last.eq(words.p.last)]
            m.d.sync += closing.eq(words.p.last & (words.p.count == 0))
        with m.If(opening):
            m.d.comb += entry.value.eq(0)
            with m.If(self.list.ready):
                m.d.sync += opening.eq(0)
        with m.Elif(closing):
            m.d.comb += [entry.index.eq(job.place), entry.value.eq(done | (done == 0))]
            with m.If(self.list.ready):
                m.d.sync += [closing.eq(0), self.busy.eq(0), self.found[job.slot].eq(done)]
        with m.Elif((left != 0) & self.list.ready):
            bits = key_bits(self.cfg.candidates)
            m.d.sync += [
                held.eq(held.as_value() >> bits), left.eq(left - 1), done.eq(done + 1), closing.eq(last & (left == 1))
            ]  # fmt: skip
        with m.If(begin):
            m.d.sync += [opening.eq(1), done.eq(0)]
