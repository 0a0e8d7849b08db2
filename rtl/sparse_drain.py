"""Back of the sparse engine: reads the sums of a job out of the PEs, in words of lanes."""

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config
from rtl.drain import sum_stream
from rtl.job import job_credit
from rtl.skew import delay


class SparseDrain(wiring.Component):
    """Word j is place ``j // groups`` of the PEs of group ``j % groups``; a group is ``lanes`` neighbouring PEs.

    Parameters
    ----------
    cfg : Config

    Members
    -------
    begin : In(1), words : In(16)
        The bank that the PEs drain holds that many words; only while not ``busy``.
    open : In(1)
        ACC has opened one more job of this source; each drain waits for one.
    busy : Out(1)
        Words are left to be read. In the next cycle after it the PEs may change banks.
    read : Out(groups), place : Out(range(accumulators))
        Group whose PEs are read in this cycle.
    i : In(signed(acc_bits)), one per PE
        Its sum, one cycle later.
    o : Out(sum_stream)

    Timing
    ------
    One word per cycle, the first one read in the cycle after ``begin`` (or ``open``); a word leaves two cycles after it
    was read.
    """

    latency = 2

    def __init__(self, cfg: Config):
        self.cfg = cfg
        self.groups = cfg.sparse.pes // cfg.lanes
        super().__init__({
            "begin": In(1),
            "words": In(isa.COUNT_BITS),
            "open": In(1),
            "busy": Out(1),
            "read": Out(self.groups),
            "place": Out(range(cfg.sparse.accumulators)),
            "i": In(signed(cfg.numbers.acc_bits)).array(cfg.sparse.pes),
            "o": Out(sum_stream(cfg)),
        })

    def elaborate(self, platform):
        m = Module()
        groups, lanes = self.groups, self.cfg.lanes
        left = Signal(isa.COUNT_BITS)
        fresh = Signal(reset_less=True)  # no word has been read
        group = Signal(groups, reset_less=True)  # one-hot
        step = Signal()
        credit = job_credit(m, self.open, step & fresh, bits=4)
        m.d.comb += [
            self.busy.eq(left != 0),
            step.eq(self.busy & (~fresh | (credit != 0))),
            self.read.eq(Mux(step, group, 0)),
        ]
        with m.If(self.begin):
            m.d.sync += [left.eq(self.words), fresh.eq(1), group.eq(1), self.place.eq(0)]
        with m.Elif(step):
            m.d.sync += [left.eq(left - 1), fresh.eq(0), group.eq(group.rotate_left(1))]
            with m.If(group[-1]):
                m.d.sync += self.place.eq(self.place + 1)

        shown = Signal(groups, reset_less=True)  # group whose sums are at ``i``
        m.d.sync += [shown.eq(group), self.o.valid.eq(delay(m, step, 1, "stepped", reset_less=False))]
        with m.Switch(shown):
            for number in range(groups):
                with m.Case(1 << number):
                    sums = self.i[number * lanes : (number + 1) * lanes]
                    m.d.sync += [lane.eq(value) for lane, value in zip(self.o.payload, sums, strict=True)]
        return m
