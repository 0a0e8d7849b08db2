"""Windows of three rows and columns over a stream of pixels, for all lanes of the vector unit."""

from amaranth import Cat, Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflows.config import Config
from rtl.memory import write_layout
from rtl.param_write import lane_writes
from rtl.window_lane import SUM_BITS, WindowLane, WindowMemory
from rtl.window_walk import step_layout


class Window(wiring.Component):
    """Keeps two rows of words on chip, so that each word completes a 3x3 window of its lanes.

    Parameters
    ----------
    cfg : Config
        Uses ``lanes``, ``vector.window_words``, and what describes parameter entries.

    Members
    -------
    take : In(1), word : In(lanes x 8), step : In(step_layout)
        A word comes, and where it stands. Rows are at least two words long.
    write : In(stream of rtl.memory.write_layout, always ready)
        As ``param_write`` of the vector unit; writes to weights are picked out.
    valid : Out(1)
        A wanted window is at ``o``.
    o : Out(lanes x signed(20))
    moving : Out(1)
        A wanted window is on its way.

    Timing
    ------
    One word per cycle; ``o`` is valid :attr:`latency` = 4 cycles after the word. Nothing stalls.
    """

    latency = WindowLane.latency

    def __init__(self, cfg: Config):
        self.cfg = cfg
        super().__init__({
            "take": In(1),
            "word": In(data.ArrayLayout(8, cfg.lanes)),
            "step": In(step_layout(cfg)),
            "write": In(stream.Signature(write_layout(cfg.bus_bytes), always_ready=True)),
            "valid": Out(1),
            "o": Out(data.ArrayLayout(signed(SUM_BITS), cfg.lanes)),
            "moving": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg, step = self.cfg, self.step
        m.submodules.rows = rows = WindowMemory(16 * cfg.lanes, cfg.vector.window_words)
        lanes = [WindowLane(cfg) for _ in range(cfg.lanes)]
        for i, lane in enumerate(lanes):
            m.submodules[f"lane_{i}"] = lane

        took = Signal(2)  # bit i: a word came i + 1 cycles ago
        emitted = Signal(self.latency)
        position = Signal.like(step.position, name="position", reset_less=True)
        block = [Signal.like(step.block, name=f"block_{i + 1}", reset_less=True) for i in range(2)]
        entry = Signal.like(step.entry, name="entry", reset_less=True)
        maximum = Signal(self.latency, reset_less=True)
        take = Signal(2)
        emit = Signal(self.latency)
        m.d.comb += [
            take.eq(Cat(self.take, took[0])),
            emit.eq(Cat(self.take & step.output, emitted)),
            rows.read.eq(take[0]),
            rows.read_address.eq(step.position),
            rows.write.eq(take[1]),
            rows.write_address.eq(position),
            rows.write_data.eq(Cat(lane.rows_next for lane in lanes)),
            self.valid.eq(emitted[-1]),
            self.moving.eq(emit.any() | self.valid),
        ]
        m.d.sync += [
            took.eq(take),
            emitted.eq(emit),
            position.eq(step.position),
            block[0].eq(step.block),
            block[1].eq(block[0]),
            entry.eq(step.entry),
            maximum.eq(Cat(step.max, maximum)),
        ]
        again = Signal()
        m.d.comb += again.eq(took[1] & (block[0] == block[1]))
        taps, tap_entry, tap_data = lane_writes(m, cfg, self.write.payload, self.write.valid, part=1)
        last_tap, _, _ = lane_writes(m, cfg, self.write.payload, self.write.valid, part=2)
        for i, lane in enumerate(lanes):
            m.d.comb += [
                lane.take.eq(take),
                lane.byte.eq(self.word[i]),
                lane.block.eq(step.block),
                lane.block_1.eq(block[0]),
                lane.again.eq(again),
                lane.rows.eq(rows.read_data[16 * i : 16 * (i + 1)]),
                lane.emit.eq(emit),
                lane.entry.eq(entry),
                lane.max.eq(maximum[2:]),
                lane.write.eq(Cat(taps[i], last_tap[i])),
                lane.write_entry.eq(tap_entry),
                lane.write_data.eq(tap_data[i]),
                self.o[i].eq(lane.o),
            ]
        return m
