"""Front end of a unit: shadow registers, and commands that wait for semaphores."""

from amaranth import Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config
from rtl.job import job_layout
from rtl.relay import Relay

SET = data.StructLayout({"value": isa.VALUE_BITS, "register": 8, "unit": 4, "op": 4})
"""Bits of a SET word."""

WAIT = data.StructLayout({"count": 16, "zero": 32, "semaphore": 8, "unit": 4, "op": 4})
"""Bits of a WAIT word."""

START = data.StructLayout({
    "take": 16, "give": 16, "tag": 16, "mark": 1, "predicated": 1, "last": 1, "zero": 5, "unit": 4, "op": 4,
})
"""Bits of a START word; only configurations with attention have predicated ones."""

MOST_JOBS = 255
"""More than any engine has open at a time."""


def look_layout(cfg: Config) -> data.StructLayout:
    """A word as the semaphores see it: mask of a START; ``wait``: semaphore and amount of a WAIT."""
    return data.StructLayout({
        "mask": cfg.control.semaphores, "wait": 1, "semaphore": 4, "amount": isa.SEMAPHORE_BITS,
    })


def take_layout(cfg: Config) -> data.StructLayout:
    """Where ``valid`` is set: ``amount`` tokens of each semaphore in ``mask``."""
    return data.StructLayout({"valid": 1, "mask": cfg.control.semaphores, "amount": isa.SEMAPHORE_BITS})


class FrontEnd(wiring.Component):
    """Executes the commands of one unit in order.

    SET writes a shadow register. WAIT stays until its semaphore holds the count, and takes it. START
    waits for one token of every semaphore in its first mask, takes them, then offers the shadow registers as a job.
    A predicated START waits for a decision, too; if that is 0 no job is offered: once the engine is through with all
    earlier ones, which keeps the order in which tokens tell of jobs, the START's tokens are given.

    Parameters
    ----------
    cfg : Config
    unit : isa.Unit

    Members
    -------
    words : In(stream of 64 bits)
        Legal SET, WAIT and START words of this unit (the command unit has checked them).
    job : Out(stream of job_layout)
    look : Out(look_layout(cfg))
        What the semaphores are to be looked up for: the word at the head, read as a START and as a WAIT.
    there : In(1)
        Every semaphore of the START's mask has a token. They stay there: one unit only takes from a semaphore.
    enough : In(1)
        The semaphore of the WAIT had its count in the cycle before.
    take : Out(take_layout(cfg))
        Tokens to take in this cycle.
    waiting : Out(1)
        The command at the head lacks tokens.
    idle : Out(1)
        No command is at the head, and no job is offered.
    decision : In(stream of 1 bit), done : In(1), give : Out(mask of semaphores)
        Only with attention. Whether to execute what is predicated, taken by a START with ``last``; the engine's oldest
        job is done; tokens of a job that was skipped, to be given in this cycle.

    Timing
    ------
    One command per cycle, at the head one cycle after it is taken. A job is offered in the cycle after its START found
    its tokens, and the registers stay until the engine takes it; the next command is executed in the cycle after that.
    A WAIT takes two cycles once its tokens are there, and the next command follows two cycles later.
    """

    def __init__(self, cfg: Config, unit: isa.Unit):
        self.cfg = cfg
        self.unit = unit
        super().__init__({
            "words": In(stream.Signature(unsigned(64))),
            "job": Out(stream.Signature(job_layout(cfg, unit))),
            "look": Out(look_layout(cfg)),
            "there": In(1),
            "enough": In(1),
            "take": Out(take_layout(cfg)),
            "waiting": Out(1),
            "idle": Out(1),
            **(self._of_decisions(cfg) if cfg.attention else {}),
        })

    @staticmethod
    def _of_decisions(cfg: Config) -> dict:
        return {
            "decision": In(stream.Signature(1)), "done": In(1), "give": Out(cfg.control.semaphores),
        }

    def elaborate(self, platform):
        m = Module()
        m.submodules.head = relay = Relay(unsigned(64))  # queues of words are slow memories
        wiring.connect(m, wiring.flipped(self.words), relay.i)
        word, full = relay.o.payload, relay.o.valid
        offered = Signal()  # a job, which the engine has not taken
        settling = Signal()  # a WAIT's tokens are being taken
        looked = Signal()  # the semaphore of the WAIT at the head was looked at in the cycle before
        as_set, as_wait, as_start = data.View(SET, word), data.View(WAIT, word), data.View(START, word)

        head = Signal()  # the command may be executed
        is_wait, is_start = Signal(), Signal()
        waited, started, leave = Signal(), Signal(), Signal()
        decided, skipping, skip = Const(1), Const(0), Const(0)
        if self.cfg.attention:
            decided, skipping, skip = self._elaborate_decisions(m, as_start, started)
        m.d.comb += [
            head.eq(full & ~offered & ~settling & ~skipping),
            is_wait.eq(as_set.op == isa.Op.WAIT),
            is_start.eq(as_set.op == isa.Op.START),
            waited.eq(head & is_wait & looked & self.enough),
            started.eq(head & is_start & self.there & decided),
            leave.eq(waited | started | (head & ~is_wait & ~is_start)),
            relay.o.ready.eq(leave),
            self.look.mask.eq(as_start.take),
            self.look.wait.eq(is_wait),
            self.look.semaphore.eq(as_wait.semaphore),
            self.look.amount.eq(as_wait.count),
            self.waiting.eq(head & ((is_start & ~(self.there & decided)) | (is_wait & looked & ~self.enough))),
            self.idle.eq(~full & ~offered & ~skipping),
        ]
        m.d.sync += [looked.eq(head & is_wait & ~waited), settling.eq(waited)]
        with m.If(started & ~skip):
            m.d.sync += offered.eq(1)
        with m.Elif(self.job.ready):
            m.d.sync += offered.eq(0)

        job = self.job.payload
        for number, register in enumerate(isa.units(self.cfg)[self.unit]):
            shadow = Signal(job.shape()[register.name].shape, name=f"shadow_{register.name}", reset_less=True)
            m.d.comb += job[register.name].eq(shadow)
            with m.If(head & (as_set.op == isa.Op.SET) & (as_set.register == number)):
                m.d.sync += shadow.eq(as_set.value)
        for name in ("give", "tag", "mark"):
            kept = Signal(job.shape()[name].shape, name=name, reset_less=True)
            m.d.comb += job[name].eq(kept)
            with m.If(started):
                m.d.sync += kept.eq(as_start[name])
        m.d.comb += self.job.valid.eq(offered)

        m.d.sync += [
            self.take.valid.eq(waited | started),
            self.take.mask.eq(Mux(is_wait, 1 << as_wait.semaphore[:4], as_start.take)),
            self.take.amount.eq(Mux(is_wait, as_wait.count, 1)),
        ]
        return m

    def _elaborate_decisions(self, m, start, started):
        """Returns: the START at the head has its decision; one is being skipped; the one at the head will be."""
        skipping, skip, decided = Signal(), Signal(), Signal()
        mask = Signal(self.cfg.control.semaphores, reset_less=True)
        opened = Signal(range(MOST_JOBS + 1))
        m.d.sync += opened.eq(opened + (self.job.valid & self.job.ready) - self.done)
        m.d.comb += [
            decided.eq(~start.predicated | self.decision.valid),
            skip.eq(start.predicated & ~self.decision.payload),
            self.decision.ready.eq(started & start.predicated & start.last),
        ]
        with m.If(started):
            m.d.sync += [skipping.eq(skip), mask.eq(start.give)]
        with m.Elif(opened == 0):
            m.d.sync += skipping.eq(0)
        with m.If(skipping & (opened == 0)):
            m.d.comb += self.give.eq(mask)
        return decided, skipping, skip
