"""Jobs of the row engine: what follows from their registers, who takes them when, when they are done."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config
from rtl.job import job_layout
from rtl.rows_collect import collect_layout
from rtl.rows_issue import issue_layout
from rtl.rows_scale import total_bits
from rtl.sparse_queue import ShortQueue

POSITION_BITS = 16

_COPIED = {
    "rows": "count", "causal": "mode", "column": "mode", "decide": "mode", "blocks": "mode", "tail": "mode",
    "multiplier": "scale", "shift": "scale", "entry": "scale",
    "block": "gain", "zero_x": "gain", "zero": "gain", "low": "gain", "high": "gain",
}  # fmt: skip
"""Fields of a job's registers that are passed on as they are, and their registers."""


def found_layout(cfg: Config) -> data.ArrayLayout:
    """How many candidates the last search of each slot has found."""
    return data.ArrayLayout(range(cfg.candidates + 1), 2)


class RowsJobs(wiring.Component):
    """One job waits, one is collected, and those before it are emitted.

    Parameters
    ----------
    cfg : Config

    Members
    -------
    job : In(stream of job_layout(ROWS)), done : Out(stream of semaphore mask, always ready)
        See :func:`rtl.job.engine_ports`.
    collect : Out(stream of collect_layout), issue : Out(stream of issue_layout)
        The same jobs for both ends of the ring.
    position : In(16)
        Is added to the elements that count, of jobs that say so.
    found : In(found_layout(cfg))
        With ``attention.candidates``: takes the place of ``count.valid``, of jobs that say so.
    left, scaled, decided : In(1)
        The last word of a job leaves; its last row scale is written (softmax); its decision is taken (``decide``).
    busy : Out(1)

    Timing
    ------
    A job is offered to ``collect`` ``latency`` = 3 cycles after it was taken, and to ``issue`` one cycle after
    ``collect`` has taken it; the next job is taken one cycle after that, too, if fewer than ``depth`` jobs are open. It
    is done one cycle after ``left``, ``scaled`` and ``decided``.
    """

    latency = 3
    depth = 4

    def __init__(self, cfg: Config):
        self.cfg = cfg
        super().__init__({
            "job": In(stream.Signature(job_layout(cfg, isa.Unit.ROWS))),
            "done": Out(stream.Signature(cfg.control.semaphores, always_ready=True)),
            "collect": Out(stream.Signature(collect_layout(cfg))),
            "issue": Out(stream.Signature(issue_layout(cfg))),
            "position": In(POSITION_BITS),
            **({"found": In(found_layout(cfg))} if cfg.candidates else {}),
            "left": In(1),
            "scaled": In(1),
            "decided": In(1),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        job = Signal(self.job.payload.shape(), reset_less=True)
        waits, begin, accept = Signal(self.latency), Signal(), Signal()
        opened = Signal(range(self.depth + 1))
        m.d.comb += [
            self.job.ready.eq(~waits[0] & (opened != self.depth)),
            accept.eq(self.job.valid & self.job.ready),
            self.collect.valid.eq(waits.all()),
            begin.eq(self.collect.valid & self.collect.ready),
            self.busy.eq(opened != 0),
        ]
        with m.If(accept):
            m.d.sync += [waits.eq(1), job.eq(self.job.payload)]
        with m.Elif(begin):
            m.d.sync += waits.eq(0)
        with m.Else():
            m.d.sync += waits.eq((waits << 1) | waits[0])
        m.d.sync += opened.eq(opened + accept - self.done.valid)
        m.submodules.issues = issues = ShortQueue(issue_layout(self.cfg), self.depth)
        wiring.connect(m, issues.o, wiring.flipped(self.issue))
        m.d.comb += issues.i.valid.eq(begin)
        self._pass_on(m, job, (self.collect.payload, issues.i.payload))
        self._end(m, job, begin)
        return m

    def _pass_on(self, m, job, payloads):
        """Fields of the job, elements of its rows, and those that count in the first row, a cycle after each other."""
        cfg = self.cfg
        softmax = job.mode.kind == isa.Rows.SOFTMAX
        elements = Signal(range(cfg.attention.row_elements + 1), reset_less=True)
        counted = Signal.like(elements, reset_less=True)
        valid = Signal(POSITION_BITS + 1, reset_less=True)
        limit = Signal(total_bits(cfg), reset_less=True)
        sure = job.epsilon.value
        given = job.count.valid
        if cfg.candidates:
            given = Mux(job["values"].found, self.found[job["values"].slot], given)
        m.d.sync += [
            elements.eq((job.mode.blocks - 1) * cfg.lanes + job.mode.tail),
            valid.eq(given + Mux(job.mode.positioned, self.position, 0)),
            counted.eq(Mux(softmax & (valid < elements), valid, elements)),
            limit.eq(Mux(sure[len(limit) :].any(), ~0, sure)),
        ]
        m.d.comb += payloads[1].limit.eq(limit)
        copied = {name: job[register][name] for name, register in _COPIED.items()} | {"epsilon": job.epsilon.value}
        if cfg.pruning:
            copied |= {"observe": job.importance.observe, "fresh": job.importance.fresh}
        if cfg.values:
            values = job.values
            copied |= {"observe_values": values.observe, "fresh_values": values.fresh, "largest": values.largest}
            copied |= {"least": values.least}
        for to in payloads:
            m.d.comb += [to.softmax.eq(softmax), to.elements.eq(elements), to.counted.eq(counted)]
            m.d.comb += [to[name].eq(value) for name, value in copied.items() if name in to.shape().members]
        m.d.comb += self.collect.p.centered.eq(job.mode.kind == isa.Rows.LAYER_NORM)

    def _end(self, m, job, begin):
        """Jobs in their order; those whose words have left, and whose scales are written."""
        layout = data.StructLayout({"softmax": 1, "decide": 1, "give": self.cfg.control.semaphores})
        m.submodules.open_jobs = jobs = ShortQueue(layout, self.depth)
        head = jobs.o.payload
        wanted = {"left": Const(1), "scaled": head.softmax, "decided": head.decide}
        counts = {name: Signal(range(self.depth + 1), name=f"jobs_{name}") for name in wanted}
        m.d.comb += [
            jobs.i.valid.eq(begin),
            jobs.i.p.give.eq(job.give),
            jobs.i.p.softmax.eq(self.collect.p.softmax),
            jobs.i.p.decide.eq(job.mode.decide & self.collect.p.softmax),
            self.done.valid.eq(jobs.o.valid & Cat(~wanted[name] | counts[name].any() for name in wanted).all()),
            self.done.payload.eq(head.give),
            jobs.o.ready.eq(self.done.valid),
        ]
        for name, count in counts.items():
            m.d.sync += count.eq(count + getattr(self, name) - (self.done.valid & wanted[name]))
