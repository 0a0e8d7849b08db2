"""Words of finished rows: out of the ring, through the lanes, into the queue in front of STORE."""

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from dataflows.config import Config
from dataflows.formats import ceil_pow2
from rtl.importance import numerators_layout
from rtl.memory import BankMemory, write_layout
from rtl.norm_lane import CODE_BITS, NormLane, gain_layout
from rtl.queue import Queue
from rtl.rows_collect import score_word
from rtl.rows_finish import norm_layout
from rtl.rows_issue import RowsIssue, issue_layout
from rtl.rows_scale import scaled_row_layout, total_bits
from rtl.skew import delay, taps
from rtl.softmax_lane import NUMERATOR_BITS, SCORE_BITS, SoftmaxLane
from rtl.tree import AdderTree, tree_latency
from rtl.vector import output_layout

READ_CYCLES = BankMemory.latency + 1
"""From a word's read to the first stage of the lanes."""


class RowsEmit(wiring.Component):
    """Emits rows.

    Parameters
    ----------
    cfg : Config

    Members
    -------
    job, maximum, norm, scaled, divided
        See :class:`~rtl.rows_issue.RowsIssue`.
    read : Out(1), begun : Out(1), address : Out(range(2 * row_blocks))
        A word of the ring is read, and it is the first of its row.
    data : In(lanes x signed(16))
        The word, one cycle later.
    total : Out(stream of total_bits, always ready)
        Sum of a row's numerators.
    gain : In(stream of write_layout(bus_bytes), always ready)
        Gains of norms, in whole beats: of lane ``l`` of block ``b`` at ``b * gain_entry_bytes + 8 * l``.
    o : Out(stream of output_layout)
        ``data[:count]`` is valid.
    ended : Out(1)
        The last word of a job leaves.
    moving : Out(1)
        A word begins its way, is on it, or leaves.
    observed : Out(stream of rtl.importance.numerators_layout, always ready)
        With pruning: numerators of rows that are observed, when they have left their lanes.

    Timing
    ------
    One word per cycle. It is at ``o`` ``SOFTMAX_LATENCY`` or ``NORM_LATENCY`` cycles after it has been read, if nothing
    waits there. A word is read when fewer than ``words`` = 33 are between their read and ``o`` (counted from the cycle
    after each). A row's sum leaves ``total_latency`` cycles after its last word has been read.
    """

    softmax_latency = READ_CYCLES + SoftmaxLane.latency + Queue.latency
    norm_latency = READ_CYCLES + NormLane.latency + Queue.latency
    words = ceil_pow2(norm_latency + 1) + 1

    def __init__(self, cfg: Config):
        self.cfg = cfg
        self.total_latency = READ_CYCLES + SoftmaxLane.latency + tree_latency(cfg.lanes) + 1
        super().__init__({
            "job": In(stream.Signature(issue_layout(cfg))),
            "maximum": In(stream.Signature(signed(SCORE_BITS))),
            "norm": In(stream.Signature(norm_layout())),
            "scaled": Out(stream.Signature(scaled_row_layout(cfg), always_ready=True)),
            "divided": In(1),
            "read": Out(1),
            "begun": Out(1),
            "address": Out(range(2 * cfg.row_blocks)),
            "data": In(score_word(cfg)),
            "total": Out(stream.Signature(total_bits(cfg), always_ready=True)),
            "gain": In(stream.Signature(write_layout(cfg.bus_bytes), always_ready=True)),
            "o": Out(stream.Signature(output_layout(cfg))),
            "ended": Out(1),
            "moving": Out(1),
            **(
                {"observed": Out(stream.Signature(numerators_layout(cfg.lanes, cfg.values), always_ready=True))}
                if cfg.pruning else {}
            ),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        cfg = self.cfg
        m.submodules.issue = issue = RowsIssue(cfg)
        for name in ("job", "maximum", "norm"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(issue, name))
        wiring.connect(m, issue.scaled, wiring.flipped(self.scaled))
        m.d.comb += [
            issue.divided.eq(self.divided),
            self.read.eq(issue.softmax | issue.normal),
            self.begun.eq(issue.begun),
            self.address.eq(issue.address),
        ]
        word = Signal(score_word(cfg), reset_less=True)
        read = delay(m, self.read, 1, "was_read", reset_less=False)
        with m.If(read):
            m.d.sync += word.eq(self.data)
        # soft[i], normal[i]: a word that was read i cycles ago.
        soft = Signal(READ_CYCLES + SoftmaxLane.latency + 1)
        normal = Signal(READ_CYCLES + NormLane.latency + 1)
        for stages, now, name in ((soft, issue.softmax, "soft_before"), (normal, issue.normal, "normal_before")):
            before = taps(m, now, len(stages) - 1, name, first=1, reset_less=False)
            m.d.comb += stages.eq(Cat(now, before))
        numerators = self._softmax(m, issue, word, soft)
        codes = self._norm(m, issue, word, normal)
        self._sum(m, issue, numerators, soft)
        left = self._queue(m, issue, numerators, codes, soft[-1], normal[-1])
        m.d.comb += self.moving.eq(soft.any() | normal.any() | left)
        if cfg.pruning:
            marks = delay(m, Cat(issue.of_job.observe, issue.word.last), len(soft) - 1, "observed_marks")
            m.d.comb += [
                self.observed.valid.eq(soft[-1] & marks[0]),
                self.observed.p.last.eq(marks[1]),
                *(to.eq(numerator) for to, numerator in zip(self.observed.p.data, numerators, strict=True)),
            ]
        if cfg.values:
            banks = delay(m, Cat(issue.of_job.observe, issue.of_job.observe_values), len(soft) - 1, "observing_banks")
            m.d.comb += [
                self.observed.valid.eq(soft[-1] & banks.any()),
                Cat(self.observed.p.for_tokens, self.observed.p.for_values).eq(banks),
            ]
        return m

    def _softmax(self, m, issue, word, stages):
        """Numerators of the words; returns those of all lanes."""
        lanes = []
        number = delay(m, issue.word.counted, READ_CYCLES + SoftmaxLane.counting - 1, "counted")
        counts = Signal(self.cfg.lanes, reset_less=True)
        m.d.sync += counts.eq(Cat(number > lane for lane in range(self.cfg.lanes)))
        maximum = delay(m, issue.row_maximum, READ_CYCLES - 1, "maximum")
        if self.cfg.values:
            bound = Signal(NUMERATOR_BITS + 1, reset_less=True)
            least = delay(m, issue.of_job.least, READ_CYCLES + SoftmaxLane.counting - 1, "least")
            m.d.sync += bound.eq(Mux(least == 0, 0, (least << 1) - 1))
        for n in range(self.cfg.lanes):
            m.submodules[f"softmax_{n}"] = lane = SoftmaxLane(drops=self.cfg.values)
            m.d.comb += [
                lane.score.eq(word[n]),
                lane.maximum.eq(maximum),
                lane.counts.eq(counts[n]),
                lane.stage.eq(stages[READ_CYCLES:]),
            ]
            if self.cfg.values:
                m.d.comb += lane.bound.eq(bound)
            lanes.append(lane.o)
        return lanes

    def _norm(self, m, issue, word, stages):
        """Codes of the words; returns those of all lanes."""
        cfg, job, row = self.cfg, issue.of_job, issue.row

        def late(value, stage, known=0):
            """A value of the word when that is at a stage; it is known ``known`` cycles after the read."""
            names.append(f"norm_constant_{len(names)}")
            return delay(m, value, READ_CYCLES + stage - known, names[-1])

        names: list[str] = []
        constants = {
            "zero_x": late(job.zero_x, 0),
            "elements": late(job.elements, 1),
            "sum": late(row.sum, 2, known=1),
            "factor": late(row.factor, 3, known=1),
            "places": late(row.places, 5, known=1),
            "block": late(issue.word.block, NormLane.reading),
            "shift": late(job.shift, NormLane.shifting),
            "zero": late(job.zero, NormLane.rounding),
            "low": late(job.low, NormLane.clamping),
            "high": late(job.high, NormLane.clamping),
        }
        writes, block, gains = self._gains(m)
        lanes = []
        for n in range(cfg.lanes):
            m.submodules[f"norm_{n}"] = lane = NormLane(cfg)
            m.d.comb += [
                lane.code.eq(word[n][:CODE_BITS]),
                lane.stage.eq(stages[READ_CYCLES:]),
                *(getattr(lane, name).eq(value) for name, value in constants.items()),
                lane.write.eq(writes[n]),
                lane.write_block.eq(block),
                lane.write_gain.as_value().eq(gains[n]),
            ]
            lanes.append(lane.o)
        return lanes

    def _gains(self, m):
        """Writes of LOAD by lanes: enables, the block, what is written."""
        cfg, write = self.cfg, self.gain.payload
        size = cfg.param_lane_bytes
        per_beat = max(1, cfg.bus_bytes // size)
        beat_bits, block_bits = exact_log2(cfg.bus_bytes), exact_log2(cfg.gain_entry_bytes)
        block = Signal(range(cfg.gain_blocks), name="write_block")
        m.d.comb += block.eq(write.address[block_bits:])
        beats = Signal(-(-cfg.lanes // per_beat), name="write_beats")
        place = write.address[beat_bits:block_bits]
        m.d.comb += beats.eq(Cat(self.gain.valid & (place == beat) for beat in range(len(beats))))
        value = write.data.as_value()
        gains = [value[8 * size * (n % per_beat) :][: gain_layout().size] for n in range(cfg.lanes)]
        return [beats[n // per_beat] for n in range(cfg.lanes)], block, gains

    def _sum(self, m, issue, numerators, stages):
        """Numerators of a row added up."""
        cfg = self.cfg
        bits = NUMERATOR_BITS + 1
        m.submodules.sum = tree = AdderTree(cfg.lanes, bits, bits + (cfg.lanes - 1).bit_length())
        m.d.comb += [to.eq(numerator) for to, numerator in zip(tree.i, numerators, strict=True)]
        way = len(stages) - 1 + tree.latency
        arrives = delay(m, stages[-1], tree.latency, "arrives", reset_less=False)
        begins, last = delay(m, Cat(issue.begun, issue.word.last), way, "sum_marks")
        running = self.total.payload
        with m.If(arrives):
            m.d.sync += running.eq(Mux(begins, 0, running) + tree.o.as_unsigned())
        m.d.sync += self.total.valid.eq(arrives & last)

    def _queue(self, m, issue, numerators, codes, soft, normal):
        """Words behind the lanes; returns whether one leaves."""
        cfg = self.cfg
        entry = data.StructLayout({"word": output_layout(cfg), "end": 1})
        m.submodules.queue = queue = Queue(entry, self.words)
        marks = Cat(issue.word.count, issue.word.end)
        early, late = taps(
            m, marks, 2, "word_marks", first=READ_CYCLES + SoftmaxLane.latency,
            step=NormLane.latency - SoftmaxLane.latency,
        )  # fmt: skip
        mark = Mux(normal, late, early)
        leave = Signal()
        room = Signal(range(self.words + 1), init=self.words)
        m.d.comb += [
            queue.i.valid.eq(soft | normal),
            Cat(queue.i.p.word.count, queue.i.p.end).eq(mark),
            *(
                to.eq(Mux(normal, code, Cat(numerator, Const(0, 1))))
                for to, code, numerator in zip(queue.i.p.word.data, codes, numerators, strict=True)
            ),
            self.o.valid.eq(queue.o.valid),
            self.o.payload.eq(queue.o.p.word),
            queue.o.ready.eq(self.o.ready),
            leave.eq(queue.o.valid & queue.o.ready),
            self.ended.eq(leave & queue.o.p.end),
            issue.go.eq(room.any()),
        ]
        m.d.sync += room.eq(room - self.read + leave)
        return leave
