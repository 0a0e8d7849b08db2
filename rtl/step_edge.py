"""The edges of an array whose sums stay and whose operands come in steps: packed words become pieces."""

from amaranth import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dataflows.config import Config
from dataflows.sections import Multiplier
from rtl.piece_register import PieceRegister, by_container
from rtl.shared import shared
from rtl.skew import delay
from rtl.step_sequencer import CYCLE


@shared("unit", "widths", "word_bytes")
class InputEdge(wiring.Component):
    """West end of a row: keeps the row's word and hands out the elements of one step after the other.

    Parameters
    ----------
    unit : Multiplier
    widths : tuple of int
        Widths of operands in memory.
    word_bytes : int
        Longest input word.

    Members
    -------
    i : In(8 * word_bytes)
        A packed word.
    take : In(1)
        It is this row's.
    cycle : In(CYCLE)
        What the row does in the cycle after the next but one.
    o : Out
        Word for the multipliers.

    Timing
    ------
    A word is there one cycle after it is taken: in the first cycle of its first step as ``cycle`` tells it, or before.
    ``o`` belongs to the ``cycle`` one cycle before.
    """

    latency = 1

    def __init__(self, unit: Multiplier, widths: tuple[int, ...], word_bytes: int):
        self.unit, self.widths, self.word_bytes = unit, widths, word_bytes
        ports = {"i": In(8 * word_bytes), "take": In(1), "cycle": In(CYCLE)}
        super().__init__({**ports, "o": Out(unit.law.word_bits()[0])})

    def elaborate(self, platform):
        m = Module()
        law, cycle = self.unit.law, self.cycle
        word = Signal(8 * self.word_bytes, reset_less=True)
        m.submodules.pieces = pieces = PieceRegister(law.lanes, self.widths, law.a_widths[0], law.a_max)
        with m.If(self.take):
            m.d.sync += word.eq(self.i)
        with m.Elif(cycle.first):
            for bits in by_container(m, cycle.a_code, self.widths):
                m.d.sync += word.eq(word[law.lanes * bits :])
        m.d.comb += [getattr(pieces, f"i_{bits}").eq(word[: law.lanes * bits]) for bits in self.widths]
        m.d.comb += [pieces.take.eq(cycle.first), self.o.eq(pieces.o)]
        now = {"code": cycle.a_code, "is_unsigned": cycle.a_unsigned}
        if "piece" in pieces.told:
            now["piece"] = Signal(3, name="piece", reset_less=True)
            m.d.sync += now["piece"].eq(cycle.a_piece)
        m.d.comb += [getattr(pieces, name).eq(now[name]) for name in pieces.told]
        return m


class WeightEdge(wiring.Component):
    """North end of all columns: keeps the weight word of a step and hands out its pieces, column after column.

    Parameters
    ----------
    cfg : Config

    Members
    -------
    i : In(weight_read_bytes)
        A packed word: for each column its elements.
    take : In(1)
        A step begins with this word.
    code, is_unsigned, piece : In, as far as a :class:`~rtl.piece_register.PieceRegister` has them
        What the word's elements are; piece of the cycle, one cycle later than ``take`` in the first one of a step.
    o : Out, one per column
        Words for the multipliers; column c is ``1 + c`` cycles late against ``piece``.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        law, self.widths = cfg.law, cfg.operand_containers
        self.columns = [
            PieceRegister(law.lanes, self.widths, law.w_widths[0], law.w_max) for _ in range(cfg.array.cols)
        ]
        self.told = self.columns[0].told
        super().__init__({
            "i": In(data.ArrayLayout(8, cfg.weight_read_bytes)), "take": In(1), **self.told,
            "o": Out(law.word_bits()[1]).array(cfg.array.cols),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        now = Signal(8 * self.cfg.weight_read_bytes, name="now")  # Amaranth converts a wide slice for each use
        m.d.comb += now.eq(self.i.as_value())
        for col, pieces in enumerate(self.columns):
            m.submodules[f"pieces_{col}"] = pieces
            for bits in self.widths:
                m.d.comb += getattr(pieces, f"i_{bits}").eq(now.word_select(col, pieces.lanes * bits))
            m.d.comb += [getattr(pieces, name).eq(getattr(self, name)) for name in ("take", *self.told)]
            m.d.comb += self.o[col].eq(delay(m, pieces.o, 1 + col, f"column_{col}"))
        return m
