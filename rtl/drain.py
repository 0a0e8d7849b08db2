"""The south edge of the array, where sums leave: removes the skew, turns blocks of pixels and channels."""

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows.config import Config
from rtl.skew import delay


def sum_stream(cfg: Config) -> stream.Signature:
    """Stream of words of ``lanes`` sums; nothing can stop the array, so the sink is always ready."""
    return stream.Signature(data.ArrayLayout(signed(cfg.numbers.acc_bits), cfg.lanes), always_ready=True)


def drain_windows(m, start, rows: int) -> list:
    """For each row of drained sums, when its drain registers move.

    All of a column begin in the cycle ``start``, when its last row has its sum; row r moves r + 1 times.
    """
    windows = [start]
    for row in range(1, rows):
        before = Signal(name=f"moved_{row}")
        m.d.sync += before.eq(windows[-1])
        windows.append(start | before)
    return windows


class Deskew(wiring.Component):
    """Brings the sums of one word together: column c comes c cycles after column 0.

    Parameters
    ----------
    cfg : Config

    Members
    -------
    i : In(signed(acc_bits)), one per column
    emit : In(1)
        Column 0 has a sum.
    o : Out(sum_stream)

    Timing
    ------
    A word leaves ``latency`` cycles after its column 0 has come.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        self.latency = cfg.dataflow.skew[1] * (cfg.array.cols - 1)
        super().__init__({
            "i": In(signed(cfg.numbers.acc_bits)).array(cfg.array.cols),
            "emit": In(1),
            "o": Out(sum_stream(cfg)),
        })

    def elaborate(self, platform):
        m = Module()
        step = self.cfg.dataflow.skew[1]
        for col, (lane, port) in enumerate(zip(self.o.payload, self.i, strict=True)):
            m.d.comb += lane.eq(delay(m, port, self.latency - step * col, f"column_{col}"))
        m.d.comb += self.o.valid.eq(delay(m, self.emit, self.latency, "emitted", reset_less=False))
        return m


class Transposer(wiring.Component):
    """Turns each block of ``lanes`` words around: element j of word i becomes element i of word j.

    A square of registers moves north while it takes one block and west while it takes the next, and so hands out the
    block before it across. With no new block begun it moves on by itself, so that the last block leaves too.

    Parameters
    ----------
    cfg : Config
        Uses ``lanes``, words in a block and elements in a word, and ``acc_bits``.

    Members
    -------
    i : In(sum_stream)
    o : Out(sum_stream)

    Timing
    ------
    The first word leaves in the cycle after the block's last one came, the others follow as new words come, or one
    per cycle while none of the next block has. Gaps are allowed anywhere; one word per cycle at both ends.
    """

    def __init__(self, cfg: Config):
        self.lanes = cfg.lanes
        self.bits = cfg.numbers.acc_bits
        super().__init__({"i": In(sum_stream(cfg)), "o": Out(sum_stream(cfg))})

    def elaborate(self, platform):
        m = Module()
        size = range(self.lanes)
        cell = [[Signal(signed(self.bits), name=f"cell_{i}_{j}", reset_less=True) for j in size] for i in size]
        west = Signal()  # direction of movement; else north
        came = Signal(range(self.lanes))  # words of the new block
        left = Signal(range(self.lanes + 1))  # words of the old block still inside
        move = Signal()
        m.d.comb += [
            move.eq(self.i.valid | ((came == 0) & (left != 0))),
            self.o.valid.eq(move & (left != 0)),
        ]
        with m.If(self.o.valid):
            m.d.sync += left.eq(left - 1)
        with m.If(self.i.valid):
            m.d.sync += came.eq(came + 1)
            with m.If(came == self.lanes - 1):
                m.d.sync += [came.eq(0), left.eq(self.lanes), west.eq(~west)]
        for i in size:
            m.d.comb += self.o.payload[i].eq(Mux(west, cell[i][0], cell[0][i]))
            for j in size:
                south = cell[i + 1][j] if i + 1 < self.lanes else self.i.payload[j]
                east = cell[i][j + 1] if j + 1 < self.lanes else self.i.payload[i]
                with m.If(move):
                    m.d.sync += cell[i][j].eq(Mux(west, east, south))
        return m
