"""Job-wide constants of the vector unit, for two jobs at once."""

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config
from rtl.elements import BYTE, FORMAT_BITS
from rtl.job import fields, job_layout
from rtl.requantize import SHIFT_BITS
from rtl.vector_lane import VectorLane
from rtl.vector_scales import ENTRY_BITS
from rtl.vector_table import SLOT_BITS, LaneTable

_ELEMENTS = ("zero", "low", "high", "zero_a", "zero_b", "sum_zero", "sum_low", "sum_high")


def lanes_latency(cfg: Config) -> int:
    """Cycles of a word from the lanes' input to the output queue: tables are behind the lanes."""
    return VectorLane.latency + (LaneTable.latency if cfg.attention else 0)


class JobConstants(wiring.Component):
    """Two sets of constants, used in turn; every stage of the pipeline looks at the set of its own word.

    A job that adds nothing gets the constants that make the sum ``q * 1 / 2**0``, the identity.

    Parameters
    ----------
    cfg : Config
        Uses ``lanes``, ``param_entries``, ``semaphores``.

    Members
    -------
    job : In(job_layout(VECTOR)), begin : In(1)
        ``begin`` stores the job in the set that is not the previous job's. It must be free, see ``done``.
    word, end : In(1)
        A word begins its way through the lanes; with ``end`` it is the job's last.
    done : In(1)
        The oldest job has left; its set is free.
    from_operand, add_taps, max_taps : Out(1)
        Of the word that begins.
    entry : Out(range(param_entries)), tail_block : Out(1)
        Parameter entry of the word that begins, and whether it is a pixel's last block.
    zero, low, high, zero_a, zero_b, multiplier_a, multiplier_b, sum_shift, sum_zero, sum_low, sum_high : Out
        As the lanes read them, each at its stage.
    tail : Out(range(lanes + 1))
        Valid lanes of a last block, for the word that leaves the lanes. With multipliers of narrow operands, instead:
    result : Out(2), valid : Out(lanes), tail_bytes, word_bytes : Out(range(vector_word_bytes + 1))
        Format of that word, valid lanes of a last block, bytes of a last block and of any other.
    give : Out(semaphore mask)
        Of the oldest job.

    Only where the configuration has products:

    offset_a, offset_b, product : Out
        For the lanes: zero points of the word that begins, and whether the word at stage ``multiplying`` is a product.

    Only where the configuration has attention:

    read_row : Out(1), row : Out(16)
        The word that begins goes by a row scale; number of that.
    by_row, widen : Out(1)
        For the lanes, at stages ``biasing`` and ``rounding``.
    look, looked : Out(1), slot : Out(4)
        For the tables behind the lanes, at their two stages; ``slot`` at the first.
    to_rows, wide : Out(1)
        The word that leaves goes to the row engine, and is a wide one.
    """

    per_lane = (*_ELEMENTS, "multiplier_a", "multiplier_b", "sum_shift")
    """Constants that go to every lane."""

    def __init__(self, cfg: Config):
        self.cfg = cfg
        element = signed(cfg.numbers.act_bits)
        super().__init__({
            "job": In(job_layout(cfg, isa.Unit.VECTOR)),
            "begin": In(1),
            "word": In(1),
            "end": In(1),
            "done": In(1),
            "from_operand": Out(1),
            "add_taps": Out(1),
            "max_taps": Out(1),
            "entry": Out(range(cfg.param_entries)),
            "tail_block": Out(1),
            **{name: Out(element) for name in _ELEMENTS},
            "multiplier_a": Out(24),
            "multiplier_b": Out(24),
            "sum_shift": Out(SHIFT_BITS),
            **({"offset_a": Out(element), "offset_b": Out(element), "product": Out(1)} if cfg.products else {}),
            **self._of_result(cfg),
            **(self._of_rows() if cfg.attention else {}),
            "give": Out(cfg.control.semaphores),
        })

    @staticmethod
    def _of_result(cfg: Config) -> dict:
        """Members about the words that leave the lanes."""
        if cfg.multiplier is None:
            return {"tail": Out(range(cfg.lanes + 1))}
        count = range(cfg.vector_word_bytes + 1)
        return {
            "result": Out(FORMAT_BITS), "valid": Out(cfg.lanes), "tail_bytes": Out(count), "word_bytes": Out(count),
        }

    @staticmethod
    def _of_rows() -> dict:
        """Members about rows and tables."""
        flags = ("read_row", "by_row", "widen", "look", "looked", "to_rows", "wide")
        return {
            **{name: Out(1) for name in flags}, "row": Out(ENTRY_BITS), "slot": Out(SLOT_BITS), "nibbles": Out(2),
        }

    def _values_of_result(self) -> dict:
        """What the job says about these members."""
        tail, lanes = self.job.param.tail, self.cfg.lanes
        if self.cfg.multiplier is None:
            return {"tail": tail}
        result = self.job.formats.result
        return {
            "result": result,
            "valid": Cat(tail > lane for lane in range(lanes)),
            "tail_bytes": ((tail << result) + BYTE - 1) // BYTE,
            "word_bytes": (Const(lanes) << result) // BYTE,
        }

    def elaborate(self, platform):
        m = Module()
        job = self.job
        newest = Signal()  # set the next job goes to
        arriving = Signal()  # set of the word that begins
        oldest = Signal()
        m.d.sync += [
            newest.eq(newest ^ self.begin),
            arriving.eq(arriving ^ (self.word & self.end)),
            oldest.eq(oldest ^ self.done),
        ]
        travelled = Signal(lanes_latency(self.cfg), reset_less=True)
        which = Signal(lanes_latency(self.cfg) + 1)  # set of the word at the input of each stage
        m.d.comb += which.eq((travelled << 1) | arriving)
        m.d.sync += travelled.eq(which)

        def held(name, value, chosen):
            """The constant ``name`` of the set ``chosen``, stored from ``value`` when a job begins."""
            sets = [Signal.like(value, name=f"{name}_{i}", reset_less=True) for i in range(2)]
            for i in range(2):
                with m.If(self.begin & (newest == i)):
                    m.d.sync += sets[i].eq(value)
            return Mux(chosen, sets[1], sets[0])

        def signal(name, value, shape):
            """A signal of the given shape, so that its copies in the sets have it too."""
            named = Signal(shape, name=name)
            m.d.comb += named.eq(value)
            return named

        # What the word that begins needs.
        reduce = job.mode.reduce
        blocks_end = signal("blocks_end", job.param.blocks - 1, 16)
        block = Signal(16)
        m.d.comb += [
            self.from_operand.eq(held("from_operand", job.mode.from_operand, arriving)),
            self.add_taps.eq(held("add_taps", signal("is_sum", reduce == isa.Reduce.SUM, 1), arriving)),
            self.max_taps.eq(held("max_taps", signal("is_max", reduce == isa.Reduce.MAX, 1), arriving)),
            self.tail_block.eq(block == held("blocks_end", blocks_end, arriving)),
        ]
        entry = held("entry", job.param.entry, arriving)
        m.d.comb += [
            self.entry.eq(entry + Mux(held("broadcast", job.mode.broadcast, arriving), 0, block)),
        ]
        with m.If(self.word):
            m.d.sync += block.eq(Mux(self.tail_block | self.end, 0, block + 1))

        # What the lanes need on the word's way.
        lane = VectorLane
        add = job.mode.add
        element = signed(self.cfg.numbers.act_bits)
        lowest, highest = -(1 << element.width - 1), (1 << element.width - 1) - 1
        total = fields(self.cfg, isa.Unit.VECTOR, job, *isa.SUM_REGISTERS)
        for name, value, shape, stage in (
            ("zero", job.requantize.zero, element, lane.rounding),
            ("low", job.requantize.low, element, lane.clamping),
            ("high", job.requantize.high, element, lane.clamping),
            ("zero_a", Mux(add, total["zero_a"], 0), element, lane.adding),
            ("zero_b", Mux(add, total["zero_b"], 0), element, lane.adding),
            ("multiplier_a", Mux(add, total["multiplier_a"], 1), 24, lane.scaling),
            ("multiplier_b", Mux(add, total["multiplier_b"], 0), 24, lane.scaling),
            ("sum_shift", Mux(add, total["shift"], 0), SHIFT_BITS, lane.sum_shifting),
            ("sum_zero", Mux(add, total["zero"], 0), element, lane.sum_rounding),
            ("sum_low", Mux(add, total["low"], lowest), element, lane.sum_clamping),
            ("sum_high", Mux(add, total["high"], highest), element, lane.sum_clamping),
        ):
            m.d.comb += getattr(self, name).eq(held(name, signal(f"job_{name}", value, shape), which[stage]))
        if self.cfg.products:
            is_product = signal("is_product", reduce == isa.Reduce.PRODUCT, 1)
            m.d.comb += self.product.eq(held("product", is_product, which[lane.multiplying]))
            for name, zero in (("offset_a", "zero_a"), ("offset_b", "zero_b")):
                value = signal(f"job_{name}", Mux(is_product, total[zero], 0), element)
                m.d.comb += getattr(self, name).eq(held(name, value, arriving))
        for name, value in self._values_of_result().items():
            port = getattr(self, name)
            m.d.comb += port.eq(held(name, signal(f"job_{name}", value, port.shape()), which[-1]))
        m.d.comb += self.give.eq(held("give", job.give, oldest))
        if self.cfg.attention:
            self._elaborate_rows(m, held, entry, which)
        return m

    def _elaborate_rows(self, m, held, entry, which):
        """What words of rows and of tables need."""
        mode, lane = self.job.mode, VectorLane
        for name, field, stage in (
            ("read_row", "by_row", 0),
            ("by_row", "by_row", lane.biasing),
            ("widen", "wide", lane.rounding),
            ("look", "table", lane.latency),
            ("looked", "table", lane.latency + 1),
            ("slot", "slot", lane.latency),
            ("to_rows", "rows", -1),
            ("wide", "wide", -1),
            ("nibbles", "nibbles", -1),
        ):
            m.d.comb += getattr(self, name).eq(held(f"{name}_of", mode[field], which[stage]))
        pixel = Signal(ENTRY_BITS)
        with m.If(self.word):
            m.d.sync += pixel.eq(Mux(self.end, 0, pixel + self.tail_block))
        m.d.comb += self.row.eq(entry + pixel)
