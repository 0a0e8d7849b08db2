"""Starts the steps of the row-stationary array as soon as their words are there."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dataflows.config import Config
from rtl.job import job_credit
from rtl.row_control import COUNT_BITS, step_layout
from rtl.row_pe import INDEX_BITS, RowPE, RowSizes
from rtl.row_plan import plan_layout
from rtl.skew import delay


def settings_layout(cfg: Config) -> data.StructLayout:
    """What rows and columns must know while they compute: counts less one, who is in use, where units end."""
    return data.StructLayout({
        "last_filter": COUNT_BITS, "last_tap": COUNT_BITS,
        "row_used": cfg.array.rows, "boundary": cfg.array.rows, "col_used": cfg.array.cols,
    })  # fmt: skip


class RowConductor(wiring.Component):
    """Runs the passes of a job, each of ``positions`` steps, and keeps account of windows and filter words.

    The first step of a pass needs ``preload`` groups of input words and all filter words of the pass, a later one one
    group more. The first step of a job needs an opened accumulator job, and all rows must have finished the job before.

    Parameters
    ----------
    cfg : Config

    Members
    -------
    plan, valid, take : In(plan_layout), In(1), Out(1)
        The next job.
    open : In(1)
        The accumulator has opened one more job.
    delivered, loaded : In(1)
        A group, or the filter words of a pass, are in the stores from the next cycle but one on.
    settings : Out(settings_layout)
    ready : In(1)
        The first row can begin a step in the next cycle.
    go, step : Out(1), Out(step_layout)
        It does.
    done, done_step : In(1), In(step_layout)
        The last row ends a step.
    free, freed : Out(1), Out(16)
        So many input words are free again.

    Timing
    ------
    A step starts in the cycle after the transfer of its last word at the earliest; steps that need not wait, of all
    passes of a job, follow each other without a gap. The first step of the next job starts ``job_gap`` cycles
    after the last row's end of the last one at the earliest.
    """

    job_gap = RowPE.latency

    def __init__(self, cfg: Config):
        self.cfg = cfg
        self.sizes = RowSizes.of(cfg)
        super().__init__({
            "plan": In(plan_layout(cfg)),
            "valid": In(1),
            "take": Out(1),
            "open": In(1),
            "delivered": In(1),
            "loaded": In(1),
            "settings": Out(settings_layout(cfg)),
            "ready": In(1),
            "go": Out(1),
            "step": Out(step_layout(self.sizes)),
            "done": In(1),
            "done_step": In(step_layout(self.sizes)),
            "free": Out(1),
            "freed": Out(INDEX_BITS),
        })

    def elaborate(self, platform):
        m = Module()
        geometry = self.plan.geometry
        more, busy = Signal(), Signal()
        begins_pass, begins_job = Signal(reset_less=True), Signal(reset_less=True)
        fresh, preload = (Signal(COUNT_BITS, name=name, reset_less=True) for name in ("fresh", "preload"))
        span, words = (Signal(INDEX_BITS, name=name, reset_less=True) for name in ("span", "words"))
        positions, position, passes = (Signal(16, name=n, reset_less=True) for n in ("positions", "position", "passes"))
        ends_pass, ends_job = Signal(), Signal()
        finished = Signal()
        taps = Signal(INDEX_BITS)
        m.d.comb += [
            # Flags of the last products are still on their way through the last row.
            finished.eq(delay(m, self.done & self.done_step.ends_job, self.job_gap - 1, "finish", reset_less=False)),
            self.take.eq(self.valid & (~busy | finished)),
            ends_pass.eq(position == 1),
            ends_job.eq(ends_pass & (passes == 1)),
            taps.eq(self.settings.last_tap + 1),
            self.free.eq(self.done),
            self.freed.eq(Mux(self.done_step.ends_pass, span, fresh)),
            self.step.ends_pass.eq(ends_pass),
            self.step.ends_job.eq(ends_job),
        ]
        self._supply(m, more, begins_pass, begins_job, preload)
        with m.If(finished):
            m.d.sync += busy.eq(0)
        with m.If(self.go):
            m.d.sync += [position.eq(position - 1), begins_pass.eq(0), begins_job.eq(0)]
            with m.If(ends_pass):
                m.d.sync += [position.eq(positions), passes.eq(passes - 1), begins_pass.eq(1)]
            with m.If(ends_job):
                m.d.sync += more.eq(0)
        with m.If(self.take):
            m.d.sync += [
                busy.eq(1), more.eq(1), begins_pass.eq(1), begins_job.eq(1), fresh.eq(geometry.step.fresh),
                preload.eq(geometry.step.preload), span.eq(self.plan.span), words.eq(self.plan.words),
                positions.eq(geometry.step.positions), position.eq(geometry.step.positions),
                passes.eq(geometry.bus.passes),
            ]  # fmt: skip
        self._settle(m)
        self._places(m, fresh, span, words, taps, ends_pass)
        return m

    def _supply(self, m, more, begins_pass, begins_job, preload):
        """Decide on ``go``: count what has come and is not used yet."""
        credit = job_credit(m, self.open, self.go & begins_job)
        groups = Signal(range(self.sizes.inputs + 1))
        passes = Signal(range(self.sizes.weights + 1))
        need = Signal(COUNT_BITS)
        m.d.comb += [
            need.eq(Mux(begins_pass, preload, 1)),
            self.go.eq(
                more & self.ready & (groups >= need) & (~begins_pass | (passes != 0)) & (~begins_job | (credit != 0))
            ),
        ]
        m.d.sync += [
            groups.eq(groups + self.delivered - Mux(self.go, need, 0)),
            passes.eq(passes + self.loaded - (self.go & begins_pass)),
        ]

    def _settle(self, m):
        """Keep what the rows and columns must know."""
        step = self.plan.geometry.step
        settings = Signal(self.settings.shape(), name="settings", reset_less=True)
        rows, cols = self.plan.rows, self.plan.cols
        m.d.comb += self.settings.eq(settings)
        with m.If(self.take):
            m.d.sync += [
                settings.last_filter.eq(step.filters - 1),
                settings.last_tap.eq(step.taps - 1),
                settings.row_used.eq(Cat(row.used for row in rows)),
                settings.boundary.eq(Cat(row.boundary for row in rows)),
                settings.col_used.eq(Cat(col.used for col in cols)),
            ]

    def _places(self, m, fresh, span, words, taps, ends_pass):
        """Where windows and filter words begin, in circular stores."""
        inputs, weights = self.sizes.inputs, self.sizes.weights
        window = Signal.like(self.step.window, name="window", reset_less=True)
        front = Signal.like(self.step.window, name="front")  # behind the last word of the job before
        filters = Signal.like(self.step.weights, name="filters")
        skip = Signal(INDEX_BITS)  # words of the first groups that come before the first window
        m.d.comb += [
            self.step.window.eq(window),
            self.step.weights.eq(filters),
            skip.eq(self.plan.span - self.plan.geometry.step.taps),
        ]
        next_window = _wrap(m, "next_window", window + Mux(ends_pass, span, fresh), inputs)
        next_front = _wrap(m, "next_front", window + taps, inputs)
        next_filters = _wrap(m, "next_filters", filters + words, weights)
        first_window = _wrap(m, "first_window", front + skip, inputs)
        with m.If(self.go):
            m.d.sync += window.eq(next_window)
            with m.If(ends_pass):
                m.d.sync += [front.eq(next_front), filters.eq(next_filters)]
        with m.If(self.take):
            m.d.sync += window.eq(first_window)


def _wrap(m, name, place, depth):
    """``place``, below twice ``depth``, in a circular store."""
    total = Signal(INDEX_BITS + 1, name=name)
    m.d.comb += total.eq(place)
    return Mux(total >= depth, total - depth, total)
