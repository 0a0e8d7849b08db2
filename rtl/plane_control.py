"""Control of an array over the output plane: walks kernel and channels, and decides what each step takes."""

from amaranth import Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows.config import Config
from rtl.job import geometry_layout, job_credit


def history_words(cfg: Config) -> int:
    """Words of the memory behind ``stores.input``: at least two, so that it has an address."""
    return max(2, cfg.stores.input)


STEP = data.StructLayout({
    "all": 1,  # new inputs for all PEs
    "east": 1,  # all rows but the last: from the east neighbour
    "last_east": 1,  # the last row likewise
    "one": 1,  # new inputs for one PE
    "load": 1,  # the group of new inputs begins in the word at the stream
    "first": 1,  # of a sum
    "last": 1,
})
"""What a step does. A row that takes neither new inputs nor those from the east takes those from the south."""


class PlaneControl(wiring.Component):
    """Counts kernel columns, kernel rows and channels, one step per cycle in which everything needed is there.

    A step needs a weight; an input word, where its new inputs begin one (:class:`~dataflows.plane_order.PlaneOrder`);
    at the beginning of a job its geometry and an opened accumulator job; at the end of a sum drain registers whose
    last sums have left.

    Parameters
    ----------
    cfg : Config

    Members
    -------
    geometry : In(stream of geometry_layout)
        Taken with the last step of its job.
    input_valid, weight_valid : In(1)
    weight_begin, weight_end : In(1)
        The weight at the stream is the first or the last of a job.
    open : In(1)
        The accumulator has opened one more job.
    go : Out(1)
        A step is made in this cycle; it takes a weight.
    take : Out(1)
        It takes an input word too.
    step : Out(STEP)
        What the step does.
    write, south, east : Out(address)
        Words of the history: where this step is kept; what the south and the east neighbour used.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        address = range(history_words(cfg))
        super().__init__({
            "geometry": In(stream.Signature(geometry_layout(cfg))),
            "input_valid": In(1),
            "weight_valid": In(1),
            "weight_begin": In(1),
            "weight_end": In(1),
            "open": In(1),
            "go": Out(1),
            "take": Out(1),
            "step": Out(STEP),
            "write": Out(address),
            "south": Out(address),
            "east": Out(address),
        })

    def elaborate(self, platform):
        m = Module()
        kernel = self.geometry.payload.kernel
        step = self.step
        kx, ky, channel = Signal(8), Signal(8), Signal(16)
        end_col, end_row, end_channel = Signal(), Signal(), Signal()  # of the kernel row, of the channel, of the sum
        new_row, new_col = Signal(), Signal()  # no neighbour has had the inputs of this kernel row, column
        begins = Signal(init=1)
        m.d.comb += [
            end_col.eq(kx == kernel.cols - 1),
            end_row.eq(end_col & (ky == kernel.rows - 1)),
            end_channel.eq(end_row & (channel == kernel.channels - 1)),
            new_row.eq(ky < kernel.fresh_rows),
            new_col.eq(kx < kernel.fresh_cols),
            step.all.eq(new_row & new_col),
            step.east.eq(new_row & ~new_col),
            step.last_east.eq(~new_col),
            step.one.eq(~new_row & ~new_col),
            step.first.eq(begins),
            step.last.eq(end_channel),
        ]
        with m.If(self.go):
            m.d.sync += [kx.eq(kx + 1), begins.eq(end_channel)]
            with m.If(end_col):
                m.d.sync += [kx.eq(0), ky.eq(ky + 1)]
            with m.If(end_row):
                m.d.sync += [ky.eq(0), channel.eq(channel + 1)]
            with m.If(end_channel):
                m.d.sync += channel.eq(0)
        self._take(m, end_row)
        self._handshake(m)
        self._pointers(m, end_col, end_row, new_row, new_col)
        return m

    def _take(self, m, end_row):
        """Whether the step's new inputs begin the next word: those of all PEs always, others when they must."""
        rows, cols = self.cfg.array.rows, self.cfg.array.cols
        left = Signal(range(rows * cols + 1))  # elements of the word of small groups
        size = Const(1)
        if rows * cols > 1:
            size = Signal(range(max(rows, cols) + 1))
            m.d.comb += size.eq(Mux(self.step.east, rows, Mux(self.step.one, 1, cols)))
        m.d.comb += [
            self.step.load.eq(self.step.all | (left < size)),
            self.take.eq(self.go & self.step.load),
        ]
        with m.If(self.go & ~self.step.all):
            m.d.sync += left.eq(Mux(self.step.load, rows * cols, left) - size)
        with m.If(self.go & end_row):
            m.d.sync += left.eq(0)

    def _handshake(self, m):
        """All conditions of a step."""
        rows = self.cfg.array.rows
        draining = Signal(range(rows))  # cycles until the drain registers can take other sums
        begin = Signal()
        credit = job_credit(m, self.open, begin)
        m.d.comb += [
            self.go.eq(
                self.geometry.valid
                & self.weight_valid
                & (self.input_valid | ~self.step.load)
                & (~self.weight_begin | (credit != 0))
                & (~self.step.last | (draining == 0))
            ),
            begin.eq(self.go & self.weight_begin),
            self.geometry.ready.eq(self.go & self.weight_end),
        ]
        with m.If(self.go & self.step.last):
            m.d.sync += draining.eq(rows - 1)
        with m.Elif(draining != 0):
            m.d.sync += draining.eq(draining - 1)

    def _pointers(self, m, end_col, end_row, new_row, new_col):
        """Words of the history, written from the first one on in every channel, around and around.

        Inputs come from the south in the order in which they were written, and from the east in the order of the
        kernel row at hand.
        """
        depth = self.cfg.stores.input

        def after(pointer, name):
            value = Signal(unsigned(len(pointer)), name=f"after_{name}")
            m.d.comb += value.eq(Mux(pointer == depth - 1, 0, pointer + 1))
            return value

        write, south, east = (Signal.like(self.write, name=name) for name in ("write_at", "south_at", "east_at"))
        m.d.comb += [self.write.eq(write), self.south.eq(south), self.east.eq(east)]
        after_write = after(write, "write")
        with m.If(self.go):
            m.d.sync += write.eq(after_write)
            with m.If(~new_row):
                m.d.sync += south.eq(after(south, "south"))
            with m.If(~new_col):
                m.d.sync += east.eq(after(east, "east"))
            with m.If(end_col):
                m.d.sync += east.eq(after_write)
            with m.If(end_row):
                m.d.sync += [write.eq(0), south.eq(0), east.eq(0)]
