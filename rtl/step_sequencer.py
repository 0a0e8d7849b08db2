"""Steps of an array whose multipliers take operands in pieces: when words are taken, and what each cycle is."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dataflows.config import Config
from rtl.operands import container_code

CYCLE = data.StructLayout({
    "a_piece": 3, "w_piece": 3, "a_code": 2, "a_unsigned": 1, "a_signed": 1, "w_signed": 1, "first": 1, "shift": 1,
    "add": 1, "begin": 1, "last": 1,
})  # fmt: skip
"""One cycle of an array: which pieces are multiplied, how inputs are packed, whether these pieces are signed.

``first``, ``shift``: as of :class:`dataflows.multipliers.Cycle`; ``add``: the last cycle of a step. ``begin``: the step
is the first of a sum; ``last``: this is the last cycle of a sum.
"""


class PieceCounter(wiring.Component):
    """The order of pieces in a step: :meth:`dataflows.multipliers.Law.order` in hardware.

    Pairs of pieces lie on diagonals of equal places. A diagonal is walked from the lowest piece of ``a`` on.

    Members
    -------
    first : In(1)
        This cycle is the first of a step, whatever the registers say.
    a_top, w_top : In(3)
        Numbers of the highest pieces, in the first cycle of a step and to its end.
    a, w : Out(3)
        Pieces of this cycle.
    shift, last : Out(1)
        The place has fallen; the step ends.
    """

    def __init__(self):
        numbers = {"a_top": In(3), "w_top": In(3), "a": Out(3), "w": Out(3)}
        super().__init__({"first": In(1), **numbers, "shift": Out(1), "last": Out(1)})

    def elaborate(self, platform):
        m = Module()
        a, w = Signal(3, reset_less=True), Signal(3, reset_less=True)  # of the next cycle, if it is of the same step
        fallen = Signal(reset_less=True)
        below, beyond = Signal(4), Signal(4)  # the next diagonal; how far it reaches beyond the pieces of w
        m.d.comb += [
            self.a.eq(Mux(self.first, self.a_top, a)),
            self.w.eq(Mux(self.first, self.w_top, w)),
            self.shift.eq(fallen & ~self.first),
            self.last.eq(Cat(self.a, self.w) == 0),
            below.eq(self.a + self.w - 1),
            beyond.eq(Mux(below > self.w_top, below - self.w_top, 0)),
        ]
        with m.If((self.a == self.a_top) | (self.w == 0)):
            m.d.sync += [a.eq(beyond), w.eq(below - beyond), fallen.eq(1)]
        with m.Else():
            m.d.sync += [a.eq(self.a + 1), w.eq(self.w - 1), fallen.eq(0)]
        return m


class StepSequencer(wiring.Component):
    """Takes words from both operand streams, and tells the first row and column what each cycle is.

    Words of a reduction word: ``rows`` input words in consecutive cycles from its first cycle on, a weight word in the
    first cycle of each step. The reduction word ends with the step in which the last input word comes, or with the
    first one after it.

    Parameters
    ----------
    cfg : Config

    Members
    -------
    ready : In(1)
        Both streams have a word, and may begin.
    a_bits, w_bits : In(4), a_unsigned, w_unsigned : In(1)
        What the words at the streams are.
    first, last : In(1)
        The weight word at the stream is the first, or last, of its sums.
    take_input, take_weight : Out(1)
    place : Out(rows)
        Row that an input word is for, one-hot.
    o : Out(CYCLE)

    Timing
    ------
    ``o`` is ``latency`` cycles late. A reduction word can begin in the cycle after the one before has ended.
    """

    latency = 1

    def __init__(self, cfg: Config):
        self.rows, self.law = cfg.array.rows, cfg.law
        flags = ("a_unsigned", "w_unsigned", "first", "last", "ready")
        super().__init__({
            "a_bits": In(4), "w_bits": In(4), **{name: In(1) for name in flags},
            "take_input": Out(1), "take_weight": Out(1), "place": Out(self.rows), "o": Out(CYCLE),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        rows = self.rows
        start, inside, going = Signal(), Signal(), Signal()
        begins, ahead = Signal(init=1), Signal()  # a step begins in this cycle; input words to come after the first
        place = Signal(rows, init=1)
        m.d.comb += [
            start.eq(self.ready & ~inside),
            going.eq(start | inside),
            self.take_weight.eq(going & begins),
            self.take_input.eq(start | ahead),
            self.place.eq(place),
        ]
        if rows > 1:
            with m.If(self.take_input):
                m.d.sync += [place.eq(Cat(place[-1], place)[:rows]), ahead.eq(~place[-1])]

        code = container_code(m, self.a_bits, "a_code")
        a_top, w_top = self._top(self.a_bits, 0), self._top(self.w_bits, 1)
        mode = self._held(m, "mode", Cat(a_top, w_top, code, self.a_unsigned, self.w_unsigned), start)
        sums = self._held(m, "sums", Cat(self.first, self.last), self.take_weight)
        a, w, shift, ends = self._pieces(m, mode)
        with m.If(going):
            m.d.sync += [inside.eq(~(ends & (place[-1] | ~self.take_input))), begins.eq(ends)]
        add = going & ends
        m.d.sync += self.o.eq(Cat(
            a, w, mode[6:9], (a == mode[:3]) & ~mode[8], (w == mode[3:6]) & ~mode[9],
            self.take_weight, shift, add, sums[0], add & sums[1],
        ))  # fmt: skip
        return m

    def _top(self, bits, operand):
        """Number of the highest piece of an operand."""
        one = (self.law.a_widths, self.law.w_widths)[operand] == (1,)
        return (bits - 1)[:3] if one and (self.law.a_max, self.law.w_max)[operand] > 1 else Const(0, 3)

    def _held(self, m, name, value, take):
        """A value that is there when ``take`` is set, and stays until it is set again."""
        held, now = Signal(len(value), name=f"{name}_held", reset_less=True), Signal(len(value), name=name)
        m.d.comb += now.eq(Mux(take, value, held))
        m.d.sync += held.eq(now)
        return now

    def _pieces(self, m, mode):
        """Pieces of this cycle, whether the sum moves, and whether the step ends."""
        if self.law.cycles(self.law.a_max, self.law.w_max) == 1:
            return Const(0, 3), Const(0, 3), Const(0, 1), Const(1, 1)
        m.submodules.pieces = pieces = PieceCounter()
        m.d.comb += [pieces.first.eq(self.take_weight), pieces.a_top.eq(mode[:3]), pieces.w_top.eq(mode[3:6])]
        return pieces.a, pieces.w, pieces.shift, pieces.last
