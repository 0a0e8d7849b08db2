"""Who does what in a job of the row-stationary array: identifiers of all rows and columns, from the job's geometry."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows.config import Config
from rtl.job import geometry_layout
from rtl.row_pe import INDEX_BITS

TAKERS = ("inputs", "weights", "steps")
"""Who needs a plan, each when it has finished the job before."""


def plan_layout(cfg: Config) -> data.StructLayout:
    """A job's geometry and what follows from it.

    ``words`` filter words of a PE and pass, ``span`` window words of ``preload`` groups. Rows: ``base`` of their
    identifiers, ``slot``, whether they are in use, and whether the row below begins another unit. Columns: ``base``,
    ``side``, whether they are in use.
    """
    row = data.StructLayout({"base": INDEX_BITS, "slot": 8, "used": 1, "boundary": 1})
    col = data.StructLayout({"base": INDEX_BITS, "side": 8, "used": 1})
    return data.StructLayout({
        "geometry": geometry_layout(cfg),
        "words": 16,
        "span": 16,
        "rows": data.ArrayLayout(row, cfg.array.rows),
        "cols": data.ArrayLayout(col, cfg.array.cols),
    })


class RowPlanner(wiring.Component):
    """Works out the plan of the next job while the present one runs.

    PE (kernel row ky, column oy) of a set needs the input row ``row_step * ky + column_step * oy``; a folded unit u has
    output rows that begin at ``u * columns``. Sets lie one below the other (chained, then units) and side by side. What
    they do not fill is not in use.

    Parameters
    ----------
    cfg : Config

    Members
    -------
    geometry : In(stream of geometry_layout)
        Taken when the plan before has been taken by all.
    plan : Out(plan_layout)
        Constant while valid for anybody.
    valid, take : Out(mask), In(mask)
        Per :data:`TAKERS`: there is a plan not yet taken; it is taken in this cycle.

    Timing
    ------
    A plan is valid ``latency`` cycles after its geometry is transferred.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        self.latency = 1 + max(cfg.array.rows, cfg.array.cols)
        super().__init__({
            "geometry": In(stream.Signature(geometry_layout(cfg))),
            "plan": Out(plan_layout(cfg)),
            "valid": Out(len(TAKERS)),
            "take": In(len(TAKERS)),
        })

    def elaborate(self, platform):
        m = Module()
        steps = self.latency - 1
        left = Signal(range(steps + 1))
        geometry = Signal(self.geometry.payload.shape(), reset_less=True)
        plan = self.plan
        m.d.comb += [
            plan.geometry.eq(geometry),
            plan.words.eq(geometry.step.filters * geometry.step.taps),
            plan.span.eq(geometry.step.preload * geometry.step.fresh),
            self.geometry.ready.eq((left == 0) & ~self.valid.any()),
        ]
        begin, walk = Signal(), Signal()
        m.d.comb += [begin.eq(self.geometry.valid & self.geometry.ready), walk.eq(left != 0)]
        m.d.sync += self.valid.eq(Mux(left == 1, ~0, self.valid & ~self.take))
        with m.If(begin):
            m.d.sync += [geometry.eq(self.geometry.payload), left.eq(steps)]
        with m.If(walk):
            m.d.sync += left.eq(left - 1)
        self._rows(m, geometry, begin, walk, steps - left)
        self._cols(m, geometry, begin, walk, steps - left)
        return m

    def _line(self, m, lines, walk, index, entry):
        """Keep the entries of the first ``len(lines)`` steps, in order."""
        register = Signal(lines.shape(), name=f"{entry.as_value().name}s", reset_less=True)
        m.d.comb += lines.eq(register)
        with m.If(walk & (index < len(lines))):
            joined = Cat(register.as_value(), entry)
            m.d.sync += register.eq(joined[len(entry.as_value()) :])

    def _rows(self, m, geometry, begin, walk, index):
        """Walk down the rows: kernel rows, slots of a chain, units."""
        sets = geometry.sets
        kernel, slot, unit = (Signal(8, name=name, reset_less=True) for name in ("kernel", "slot", "unit"))
        base, unit_base = (Signal(INDEX_BITS, name=name, reset_less=True) for name in ("row_base", "unit_base"))
        next_base = Signal(INDEX_BITS)
        set_ends, unit_ends = Signal(), Signal()
        entry = Signal(self.plan.rows[0].shape(), name="row")
        m.d.comb += [
            set_ends.eq(kernel == sets.kernel_rows - 1),
            unit_ends.eq(set_ends & (slot == sets.chained - 1)),
            next_base.eq(unit_base + Mux(sets.folded, sets.columns * sets.column_step, 0)),
            entry.base.eq(base),
            entry.slot.eq(slot),
            entry.used.eq(unit < sets.units),
            entry.boundary.eq(unit_ends & (unit < sets.units - 1)),
        ]
        with m.If(begin):
            m.d.sync += [kernel.eq(0), slot.eq(0), unit.eq(0), base.eq(0), unit_base.eq(0)]
        with m.If(walk):
            m.d.sync += [kernel.eq(kernel + 1), base.eq(base + sets.row_step)]
            with m.If(set_ends):
                m.d.sync += [kernel.eq(0), slot.eq(slot + 1), base.eq(unit_base)]
            with m.If(unit_ends):
                m.d.sync += [slot.eq(0), unit.eq(unit + 1), base.eq(next_base), unit_base.eq(next_base)]
        self._line(m, self.plan.rows, walk, index, entry)

    def _cols(self, m, geometry, begin, walk, index):
        """Walk along the columns: output rows of a set, sides."""
        sets = geometry.sets
        column, side = (Signal(8, name=name, reset_less=True) for name in ("column", "side"))
        base = Signal(INDEX_BITS, name="col_base", reset_less=True)
        entry = Signal(self.plan.cols[0].shape(), name="col")
        m.d.comb += [entry.base.eq(base), entry.side.eq(side), entry.used.eq(side < geometry.bus.across)]
        with m.If(begin):
            m.d.sync += [column.eq(0), side.eq(0), base.eq(0)]
        with m.If(walk):
            m.d.sync += [column.eq(column + 1), base.eq(base + sets.column_step)]
            with m.If(column == sets.columns - 1):
                m.d.sync += [column.eq(0), side.eq(side + 1), base.eq(0)]
        self._line(m, self.plan.cols, walk, index, entry)
