"""Command unit: checks every word of the program and forwards it to the queue of its unit."""

from amaranth import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config
from rtl.axi import row_layout
from rtl.fetch import ProgramFetch, beat_layout
from rtl.front_end import SET, START, WAIT
from rtl.relay import Relay

ERROR = data.StructLayout({"code": 8, "unit": 8, "info": 32})
"""Contents of the ERROR and ERROR_INFO registers."""


class CommandCheck(wiring.Component):
    """Says whether a word is a legal command; combinational.

    Members
    -------
    word : In(64)
    legal : Out(1)
        Known opcode, unit, register and semaphores, and zero in every bit without a meaning.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        super().__init__({"word": In(64), "legal": Out(1)})

    def elaborate(self, platform):
        m = Module()
        count = self.cfg.control.semaphores
        as_set, as_wait, as_start = (data.View(layout, self.word) for layout in (SET, WAIT, START))
        known_unit = Signal()
        numbers = isa.unit_numbers(self.cfg)
        known = as_set.unit < numbers
        for missing in set(range(numbers)) - set(isa.units(self.cfg)):
            known &= as_set.unit != missing
        m.d.comb += known_unit.eq(known)
        with m.Switch(as_set.op):
            with m.Case(isa.Op.HASH):
                m.d.comb += self.legal.eq(as_set.unit == 0)
            with m.Case(isa.Op.SET), m.Switch(as_set.unit):
                for unit, registers in isa.units(self.cfg).items():
                    with m.Case(unit), m.Switch(as_set.register):
                        for number, register in enumerate(registers):
                            bits = sum(field.bits for field in register.fields)
                            with m.Case(number):
                                m.d.comb += self.legal.eq(~as_set.value[bits:].any())
            with m.Case(isa.Op.WAIT):
                fits = ~as_wait.count[isa.SEMAPHORE_BITS :].any()
                m.d.comb += self.legal.eq(known_unit & (as_wait.semaphore < count) & fits & (as_wait.zero == 0))
            with m.Case(isa.Op.START):
                whole = ~(as_start.take[count:].any() | as_start.give[count:].any())
                marks = ~as_start.mark | (as_start.unit == isa.Unit.STORE)
                rest = as_start.zero if self.cfg.attention else Cat(as_start.predicated, as_start.last, as_start.zero)
                m.d.comb += self.legal.eq(known_unit & whole & marks & ~rest.any())
            with m.Case(isa.Op.END):
                m.d.comb += self.legal.eq(~self.word[:60].any())
        return m


class CommandUnit(wiring.Component):
    """Runs a program: fetch, check, forward, and wait for the end.

    Parameters
    ----------
    cfg : Config

    Members
    -------
    start : In(1)
        Pulse; ignored while running.
    base, words : In(40), In(32)
        Program address (aligned to the bus) and length in words.
    request, data :
        To the read master, see :class:`rtl.fetch.ProgramFetch`.
    o : Out(stream of 64 bits), one per unit
        SET, WAIT and START words.
    idle : In(1)
        All queues are empty and all units idle.
    done : Out(1)
        Pulse: END reached, everything idle, nothing left on the bus.
    error : Out(stream of ERROR, always ready)
        One transfer, a cycle after it was found; the unit then stands still until reset.

    Timing
    ------
    One word per cycle, two cycles from the fetch to a queue: a word is checked in the first. Done comes
    ``quiet_cycles`` + 2 cycles after ``idle``.

    Raises
    ------
    Errors: ILLEGAL_COMMAND, HASH_MISMATCH (info: low half of the word), PROGRAM_END (info: number of words).
    """

    quiet_cycles = 4  # longer than the gap between a job leaving a front end and its unit being busy

    def __init__(self, cfg: Config):
        self.cfg = cfg
        word = stream.Signature(unsigned(64))
        super().__init__({
            "start": In(1),
            "base": In(40),
            "words": In(32),
            "request": Out(stream.Signature(row_layout())),
            "data": In(stream.Signature(beat_layout(cfg))),
            "o": Out(word).array(isa.unit_numbers(cfg)),
            "idle": In(1),
            "done": Out(1),
            "error": Out(stream.Signature(ERROR, always_ready=True)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.fetch = fetch = ProgramFetch(self.cfg)
        wiring.connect(m, fetch.request, wiring.flipped(self.request))
        wiring.connect(m, fetch.data, wiring.flipped(self.data))
        m.submodules.check = check = CommandCheck(self.cfg)

        # A word that has been checked: what it says of itself is known.
        layout = data.StructLayout({
            "word": 64, "is_legal": 1, "is_hash": 1, "is_end": 1, "is_ours": 1, "goes_to": len(isa.units(self.cfg)),
        })
        m.submodules.checked = checked = Relay(layout)
        leave = Signal()
        coming, checks = data.View(SET, fetch.o.payload), checked.i.payload
        m.d.comb += [
            checked.i.valid.eq(fetch.o.valid),
            fetch.o.ready.eq(checked.i.ready),
            checks.word.eq(fetch.o.payload),
            checks.is_legal.eq(check.legal),
            checks.is_hash.eq(coming.op == isa.Op.HASH),
            checks.is_end.eq(coming.op == isa.Op.END),
            checks.is_ours.eq(fetch.o.payload[:56] == self.cfg.hash_value),
            checks.goes_to.eq(Cat(coming.unit == unit for unit in isa.units(self.cfg))),
            checked.o.ready.eq(leave | fetch.flush),
        ]
        full, now = checked.o.valid, checked.o.payload
        word, goes_to = now.word, now.goes_to

        fields = data.View(SET, word)
        left = Signal(32)
        first = Signal()
        quiet = Signal(range(self.quiet_cycles + 1))
        error = Signal(ERROR)
        forward = Signal()
        m.d.comb += [
            check.word.eq(fetch.o.payload),
            fetch.base.eq(self.base),
            fetch.words.eq(self.words),
            error.unit.eq(Mux(error.code == isa.Error.ILLEGAL_COMMAND, fields.unit, 0)),
            error.info.eq(word[:32]),
        ]
        for place, unit in enumerate(isa.units(self.cfg)):
            m.d.comb += [
                self.o[unit].payload.eq(word),
                self.o[unit].valid.eq(forward & goes_to[place]),
            ]

        with m.FSM():
            with m.State("IDLE"), m.If(self.start):
                m.d.comb += fetch.start.eq(1)
                m.d.sync += [left.eq(self.words), first.eq(1), quiet.eq(0)]
                m.next = "RUN"
            with m.State("RUN"):
                with m.If(left == 0):
                    m.d.comb += [error.code.eq(isa.Error.PROGRAM_END), error.info.eq(self.words)]
                with m.Elif(full):
                    with m.If(~now.is_legal | (first != now.is_hash)):
                        m.d.comb += error.code.eq(isa.Error.ILLEGAL_COMMAND)
                    with m.Elif(first):
                        m.d.comb += leave.eq(1)
                        with m.If(~now.is_ours):
                            m.d.comb += error.code.eq(isa.Error.HASH_MISMATCH)
                    with m.Elif(now.is_end):
                        m.next = "QUIET"
                    with m.Else():
                        room = Cat(self.o[unit].ready for unit in isa.units(self.cfg))
                        m.d.comb += [forward.eq(1), leave.eq((room & goes_to).any())]
                with m.If(leave):
                    m.d.sync += [left.eq(left - 1), first.eq(0)]
                with m.If(error.code != isa.Error.NONE):
                    m.d.sync += [self.error.valid.eq(1), self.error.payload.eq(error)]
                    m.next = "HALT"
            with m.State("QUIET"):
                m.d.comb += fetch.flush.eq(1)
                m.d.sync += quiet.eq(Mux(self.idle, quiet + 1, 0))
                with m.If(quiet == self.quiet_cycles):
                    m.next = "FLUSH"
            with m.State("FLUSH"):
                m.d.comb += fetch.flush.eq(1)
                with m.If(fetch.empty):
                    m.d.comb += self.done.eq(1)
                    m.next = "IDLE"
            with m.State("HALT"):
                m.d.sync += self.error.valid.eq(0)
        return m
