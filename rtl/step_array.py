"""The array whose multipliers take operands in pieces or many at a time: bit-serial, look-up, binary, ternary."""

from amaranth import Cat, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dataflows.config import Config
from dataflows.sections import Multiplier
from rtl.drain import Deskew, drain_windows
from rtl.job import job_credit
from rtl.multiplier_kinds import latency_of, multiplier_of
from rtl.multiplier_pe import MultiplierPE
from rtl.operands import PRECISION, array_ports, container_code
from rtl.shared import shared
from rtl.skew import delay, taps
from rtl.step_edge import InputEdge, WeightEdge
from rtl.step_sequencer import CYCLE, StepSequencer


def told(unit: Multiplier) -> tuple[str, ...]:
    """What the multipliers must be told of each cycle: some of the fields of :data:`CYCLE`."""
    if unit.kind in ("binary", "ternary"):
        return ()
    return "a_signed", "w_signed", "first", "shift"


def add_latency(unit: Multiplier) -> int:
    """Cycles from the last ``cycle`` of a step, to the cycle in which PE 0 of the row adds the step up."""
    return InputEdge.latency + 1 + latency_of(unit)


@shared("unit", "acc_bits", "cols", "widths", "word_bytes")
class StepRow(wiring.Component):
    """The edge of a row, its PEs, and the lines on which they are told what to do.

    Parameters
    ----------
    unit : Multiplier
    acc_bits, cols : int
    widths : tuple of int
        Widths of operands in memory.
    word_bytes : int
        Longest input word.

    Members
    -------
    i, take, cycle
        See :class:`~rtl.step_edge.InputEdge`.
    drain : In(1)
        Sums of column 0 move south; those of column c, c cycles later.
    w_i, w_o : In, Out, one per column
        Words for the multipliers; column c is c cycles late.
    output_i, output_o : In, Out(signed(acc_bits)), one per column

    Timing
    ------
    Words of weights meet those of inputs at PE 0 if they come ``InputEdge.latency`` cycles after the cycle's ``cycle``.
    A step is added up :func:`add_latency` cycles after the last ``cycle`` of it.
    """

    def __init__(self, unit: Multiplier, acc_bits: int, cols: int, widths: tuple[int, ...], word_bytes: int):
        self.unit, self.acc_bits, self.cols, self.widths, self.word_bytes = unit, acc_bits, cols, widths, word_bytes
        word, total = unit.law.word_bits()[1], signed(acc_bits)
        super().__init__({
            "i": In(8 * word_bytes), "take": In(1), "cycle": In(CYCLE), "drain": In(1),
            "w_i": In(word).array(cols), "w_o": Out(word).array(cols),
            "output_i": In(total).array(cols), "output_o": Out(total).array(cols),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        m.submodules.edge = edge = InputEdge(self.unit, self.widths, self.word_bytes)
        m.d.comb += [getattr(edge, name).eq(getattr(self, name)) for name in ("i", "take", "cycle")]
        modes, sums = told(self.unit), ("add", "begin", "last")
        mode_line = self._line(m, "modes", modes, InputEdge.latency + 1) if modes else ()
        sum_line = self._line(m, "sums", sums, add_latency(self.unit))
        drain_line = taps(m, self.drain, self.cols, "drains")
        word = edge.o
        for col in range(self.cols):
            m.submodules[f"pe_{col}"] = pe = MultiplierPE(multiplier_of(self.unit), self.acc_bits)
            m.d.comb += [getattr(pe, name).eq(mode_line[col][bit]) for bit, name in enumerate(modes)]
            m.d.comb += [getattr(pe, name).eq(sum_line[col][bit]) for bit, name in enumerate(sums)]
            m.d.comb += [
                pe.drain.eq(drain_line[col]),
                pe.a_i.eq(word),
                pe.w_i.eq(self.w_i[col]),
                pe.output_i.eq(self.output_i[col]),
                self.w_o[col].eq(pe.w_o),
                self.output_o[col].eq(pe.output_o),
            ]
            word = pe.a_o
        return m

    def _line(self, m, name, fields, first):
        """For each column some fields of its cycle, ``first`` cycles late for column 0."""
        now = Signal(len(fields), name=f"{name}_now")
        m.d.comb += now.eq(Cat(self.cycle[field] for field in fields))
        return taps(m, now, self.cols, name, first=first)


class StepArray(wiring.Component):
    """Output-stationary array of multipliers of a kind of ``[multiplier]`` whose steps may take several cycles.

    Words of inputs travel east and those of weights south, a register per PE; the sums of ``rows`` pixels by ``cols``
    channels stay, and are drained while the next are added up. Per *reduction word* (``cfg.reduction(a_bits, w_bits)``)
    it takes ``rows`` input words, the one of pixel r ``r`` cycles after that of pixel 0, and a weight word for each of
    its ``steps``, every ``cycles`` cycles. A reduction word begins when both streams have a word; then each must have
    its next one in the cycle in which it is asked for. ``first`` and ``last`` of the weight stream mark the borders
    of the sums. The precision may change from one reduction word to the next.

    The first input word of a job waits for an opened accumulator job.

    Parameters
    ----------
    cfg : Config

    Members
    -------
    input, weight : In(word_stream)
    open : In(1)
        The accumulator has opened one more job; allows one more job of the input stream to begin.
    o : Out(sum_stream)
        ``rows`` words per last weight word, the pixel of row ``rows - 1`` first.

    Timing
    ------
    A reduction word takes ``steps * cycles`` cycles, at least ``rows``; the next can follow without a gap, be it of the
    same sums, of the next or of the next job. If the last one of a sum begins in cycle t, its first word of sums leaves
    in cycle ``t + steps * cycles - 1 + latency``, the others follow.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        self._sum_latency = add_latency(cfg.multiplier) + cfg.array.rows
        self.latency = StepSequencer.latency + self._sum_latency + cfg.array.cols - 1
        super().__init__(array_ports(cfg))

    def elaborate(self, platform):
        m = Module()
        cfg, word = self.cfg, self.input.payload
        m.submodules.sequencer = sequencer = StepSequencer(cfg)
        m.submodules.weights = weights = WeightEdge(cfg)
        m.submodules.deskew = deskew = Deskew(cfg)
        wiring.connect(m, deskew.o, wiring.flipped(self.o))
        self._join(m, sequencer)
        m.d.comb += [
            weights.i.eq(self.weight.payload.data),
            weights.take.eq(sequencer.take_weight),
        ]
        said = {"is_unsigned": self.weight.payload.w_unsigned, "piece": sequencer.o.w_piece}
        if "code" in weights.told:
            said["code"] = container_code(m, self.weight.payload.w_bits, "code")
        m.d.comb += [getattr(weights, name).eq(said[name]) for name in weights.told]
        cycles = taps(m, sequencer.o.as_value(), cfg.array.rows, "cycles", reset_less=False)
        closed = delay(m, sequencer.o.last, self._sum_latency, "closed", reset_less=False)
        drains = drain_windows(m, closed, cfg.array.rows)
        m.d.comb += deskew.emit.eq(drains[-1])
        south, sums = list(weights.o), [0] * cfg.array.cols
        for index in range(cfg.array.rows):
            m.submodules[f"row_{index}"] = row = StepRow(
                cfg.multiplier, cfg.numbers.acc_bits, cfg.array.cols, cfg.operand_containers, cfg.input_read_bytes
            )
            m.d.comb += [
                row.i.eq(word.data.as_value()),
                row.take.eq(sequencer.take_input & sequencer.place[index]),
                row.cycle.eq(cycles[index]),
                row.drain.eq(drains[index]),
            ]
            for col in range(cfg.array.cols):
                m.d.comb += [row.w_i[col].eq(south[col]), row.output_i[col].eq(sums[col])]
            south, sums = list(row.w_o), list(row.output_o)
        m.d.comb += [port.eq(total) for port, total in zip(deskew.i, sums, strict=True)]
        return m

    def _join(self, m, sequencer):
        """Words go to the sequencer when both streams have one and the job may begin."""
        word, weight = self.input.payload, self.weight.payload
        credit = job_credit(m, self.open, sequencer.take_input & word.begin)
        m.d.comb += [
            sequencer.ready.eq(self.input.valid & self.weight.valid & (~word.begin | (credit != 0))),
            self.input.ready.eq(sequencer.take_input),
            self.weight.ready.eq(sequencer.take_weight),
            sequencer.first.eq(weight.first),
            sequencer.last.eq(weight.last),
            *(getattr(sequencer, name).eq(word[name]) for name in PRECISION),
        ]
