"""Row scales: multipliers and shifts that the row engine leaves for later jobs of the vector unit."""

from amaranth import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from dataflows.config import Config
from rtl.requantize import SHIFT_BITS
from rtl.vector_lane import MULTIPLIER_BITS

ENTRY_BITS = 16


def scale_layout(cfg: Config) -> data.StructLayout:
    """One row scale and where it is kept."""
    return data.StructLayout({
        "entry": range(cfg.attention.scales), "multiplier": MULTIPLIER_BITS, "shift": SHIFT_BITS,
    })  # fmt: skip


class RowScales(wiring.Component):
    """Multiplier and shift of each row, the same for all lanes.

    Parameters
    ----------
    cfg : Config
        Uses ``attention.scales``.

    Members
    -------
    write : In(stream of scale_layout, always ready)
        A job that begins after the token of the job that wrote sees it. Entries that do not exist are dropped.
    read : In(2)
        Enables of the two stages: memory, and register behind it.
    entry : In(16)
        With ``read[0]``.
    multiplier : Out(24), shift : Out(6)
        Two cycles after ``read[0]``, one after ``read[1]``; held while nothing is read.
    """

    latency = 2

    def __init__(self, cfg: Config):
        if cfg.attention is None:
            raise ValueError("RowScales needs a configuration with attention")
        self.depth = cfg.attention.scales
        super().__init__({
            "write": In(stream.Signature(scale_layout(cfg), always_ready=True)),
            "read": In(2),
            "entry": In(ENTRY_BITS),
            "multiplier": Out(MULTIPLIER_BITS),
            "shift": Out(SHIFT_BITS),
        })

    def elaborate(self, platform):
        m = Module()
        kept = data.StructLayout({"multiplier": MULTIPLIER_BITS, "shift": SHIFT_BITS})
        m.submodules.memory = memory = Memory(shape=kept.size, depth=self.depth, init=[])
        write, read = memory.write_port(), memory.read_port()
        scale, found = Signal(kept), data.View(kept, read.data)
        m.d.comb += [
            scale.multiplier.eq(self.write.p.multiplier),
            scale.shift.eq(self.write.p.shift),
            write.en.eq(self.write.valid & (self.write.p.entry < self.depth)),
            write.addr.eq(self.write.p.entry),
            write.data.eq(scale.as_value()),
            read.en.eq(self.read[0]),
            read.addr.eq(self.entry),
        ]
        held = Signal(kept, reset_less=True)
        with m.If(self.read[1]):
            m.d.sync += held.eq(found)
        m.d.comb += [self.multiplier.eq(held.multiplier), self.shift.eq(held.shift)]
        return m
