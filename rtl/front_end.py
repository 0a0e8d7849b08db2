"""Front end of a unit: shadow registers, and commands that wait for semaphores."""

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config
from rtl.job import job_layout

SET = data.StructLayout({"value": isa.VALUE_BITS, "register": 8, "unit": 4, "op": 4})
"""Bits of a SET word."""

WAIT = data.StructLayout({"count": 16, "zero": 32, "semaphore": 8, "unit": 4, "op": 4})
"""Bits of a WAIT word."""

START = data.StructLayout({"take": 16, "give": 16, "tag": 16, "mark": 1, "zero": 7, "unit": 4, "op": 4})
"""Bits of a START word."""


class FrontEnd(wiring.Component):
    """Executes the commands of one unit in order.

    SET writes a shadow register. WAIT stays until its semaphore holds the count, and takes it. START
    waits for one token of every semaphore in its first mask, then offers the shadow registers as a job.

    Parameters
    ----------
    cfg : Config
    unit : isa.Unit

    Members
    -------
    words : In(stream of 64 bits)
        Legal SET, WAIT and START words of this unit (the command unit has checked them).
    job : Out(stream of job_layout)
    want, amount : Out(mask), Out(SEMAPHORE_BITS)
        The command at the head needs ``amount`` tokens of each semaphore in ``want`` (0: none).
    available : In(1)
        All of them are there. They stay there: one unit only takes from a semaphore.
    take : Out(1)
        The tokens are taken in this cycle.
    waiting : Out(1)
        The command at the head lacks tokens.

    Timing
    ------
    One command per cycle. A START is offered in the cycle in which it reaches the head and its tokens are there;
    it stays there, and the registers with it, until the engine takes the job; the next SET follows one cycle later.
    """

    def __init__(self, cfg: Config, unit: isa.Unit):
        self.cfg = cfg
        self.unit = unit
        super().__init__({
            "words": In(stream.Signature(unsigned(64))),
            "job": Out(stream.Signature(job_layout(cfg, unit))),
            "want": Out(cfg.control.semaphores),
            "amount": Out(isa.SEMAPHORE_BITS),
            "available": In(1),
            "take": Out(1),
            "waiting": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        word = self.words.payload
        as_set, as_wait, as_start = data.View(SET, word), data.View(WAIT, word), data.View(START, word)

        is_wait = Signal()
        is_start = Signal()
        m.d.comb += [
            is_wait.eq(self.words.valid & (as_set.op == isa.Op.WAIT)),
            is_start.eq(self.words.valid & (as_set.op == isa.Op.START)),
            self.words.ready.eq(1),
        ]

        job = self.job.payload
        for number, register in enumerate(isa.units(self.cfg)[self.unit]):
            shadow = Signal(job.shape()[register.name].shape, name=f"shadow_{register.name}", reset_less=True)
            m.d.comb += job[register.name].eq(shadow)
            with m.If(self.words.valid & (as_set.op == isa.Op.SET) & (as_set.register == number)):
                m.d.sync += shadow.eq(as_set.value)

        m.d.comb += [
            self.want.eq(Mux(is_wait, 1 << as_wait.semaphore[:4], Mux(is_start, as_start.take, 0))),
            self.amount.eq(Mux(is_wait, as_wait.count, 1)),
            self.waiting.eq((is_wait | is_start) & ~self.available),
            job.give.eq(as_start.give),
            job.tag.eq(as_start.tag),
            job.mark.eq(as_start.mark),
            self.job.valid.eq(is_start & self.available),
        ]
        with m.If(is_wait):
            m.d.comb += [self.words.ready.eq(self.available), self.take.eq(self.available)]
        with m.Elif(is_start):
            m.d.comb += [
                self.words.ready.eq(self.available & self.job.ready),
                self.take.eq(self.available & self.job.ready),
            ]
        return m
