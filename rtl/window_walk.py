"""Where windows are complete: columns and rows of a job's reads, counted in strides."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config
from rtl.job import job_layout

BLOCK, X, Y = 2, 3, 4
"""Levels of the operand nest."""
BEFORE = 2
"""Columns (and rows) of a window before its last one."""


def step_layout(cfg: Config) -> data.StructLayout:
    """What the window needs to know about one read.

    ``output``: its window is an output word. ``position``: word of the row; ``block``: word of the pixel; ``entry``:
    weights. ``max``: the maximum is wanted, not the sum.
    """
    return data.StructLayout({
        "output": 1,
        "max": 1,
        "position": range(cfg.vector.window_words),
        "block": range(cfg.param_entries),
        "entry": range(cfg.param_entries),
    })


class WindowWalk(wiring.Component):
    """Follows the operand nest of a job that slides windows over rows of pixels.

    A window ends at its last row and column. The first one of a row ends at the row's third column; ``skip`` rows pass
    before the first row of windows, fewer than two if the job continues where another one ended.

    Parameters
    ----------
    cfg : Config
        Uses ``vector.window_words`` and ``param_entries``.

    Members
    -------
    job : In(job_layout(VECTOR)), begin : In(1)
        The job whose reads come next.
    step : In(1)
        A read is made.
    first, last : In(6)
        Of that read, as the operand nest tells them.
    o : Out(step_layout)
        About that read.

    Timing
    ------
    Combinational from ``first`` to ``o``.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        super().__init__({
            "job": In(job_layout(cfg, isa.Unit.VECTOR)),
            "begin": In(1),
            "step": In(1),
            "first": In(6),
            "last": In(6),
            "o": Out(step_layout(cfg)),
        })

    def elaborate(self, platform):
        m = Module()
        first, last, o = self.first, self.last, self.o
        window = self.job.window
        stride = {axis: Signal(2, name=f"stride_{axis}", reset_less=True) for axis in "xy"}
        skip = Signal(2, reset_less=True)
        base = Signal.like(o.entry, name="base", reset_less=True)
        broadcast = Signal(reset_less=True)
        maximum = Signal(reset_less=True)
        with m.If(self.begin):
            m.d.sync += [
                stride["x"].eq(window.stride_x),
                stride["y"].eq(window.stride_y),
                skip.eq(window.skip),
                maximum.eq(window.max),
                base.eq(self.job.param.entry),
                broadcast.eq(self.job.mode.broadcast),
            ]

        next_position = Signal.like(o.position, name="next_position", reset_less=True)
        next_block = Signal.like(o.block, name="next_block", reset_less=True)
        left = {axis: Signal(2, name=f"left_{axis}") for axis in "xy"}  # columns and rows before one with outputs
        next_left = {axis: Signal(2, name=f"next_left_{axis}", reset_less=True) for axis in "xy"}
        ends = {"x": last[BLOCK], "y": last[BLOCK] & last[X]}
        m.d.comb += [
            o.position.eq(Mux(first[BLOCK] & first[X], 0, next_position)),
            o.block.eq(Mux(first[BLOCK], 0, next_block)),
            o.entry.eq(base + Mux(broadcast, 0, o.block)),
            o.max.eq(maximum),
            left["x"].eq(Mux(first[X], BEFORE, next_left["x"])),
            left["y"].eq(Mux(first[Y], skip, next_left["y"])),
            o.output.eq((left["x"] == 0) & (left["y"] == 0)),
        ]
        with m.If(self.step):
            m.d.sync += [next_position.eq(o.position + 1), next_block.eq(o.block + 1)]
            for axis in "xy":
                with m.If(ends[axis]):
                    m.d.sync += next_left[axis].eq(Mux(left[axis] == 0, stride[axis] - 1, left[axis] - 1))
        return m
