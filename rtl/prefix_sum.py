"""How many flags are set before each of a word: parallel prefix counts."""

from amaranth import Const, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dataflows.top_k import prefix_latency
from rtl.shared import shared


@shared("width")
class PrefixSum(wiring.Component):
    """Counts the set flags before each flag, and all of them.

    On level d every count of the upper half of a block of ``2**(d + 1)`` takes the whole of the lower half: as many
    levels as the number of flags has bits, each one adder deep. After
    :data:`~dataflows.top_k.PREFIX_LEVELS` of them comes a register, if there are more.

    Parameters
    ----------
    width : int
        Flags, at least 1.

    Members
    -------
    flags : In(width)
    enable : In(1)
        Whether the registers move.
    counts : Out(range(width)), ``width`` of them
        Flags set below each.
    total : Out(range(width + 1))

    Timing
    ------
    ``latency`` enabled cycles: none up to 16 flags, one up to 256.
    """

    def __init__(self, width: int):
        if width < 1:
            raise ValueError(f"PrefixSum width must be at least 1, not {width}")
        self.width = width
        self.latency = prefix_latency(width)
        super().__init__({
            "flags": In(width),
            "enable": In(1),
            "counts": Out(data.ArrayLayout(range(width), width)),
            "total": Out(range(width + 1)),
        })

    def elaborate(self, platform):
        m = Module()
        levels = (self.width - 1).bit_length()
        stage = levels if not self.latency else -(-levels // (self.latency + 1))  # levels between two registers
        sums = list(self.flags)  # number i: flags of its block up to and with i
        for level in range(levels):
            registered = (level + 1) % stage == 0 and level + 1 < levels
            joined = []
            for i, value in enumerate(sums):
                first = i >> level + 1 << level + 1  # of its block
                count = Signal(range(i - first + 2), name=f"sum_{level}_{i}", reset_less=True)
                total = value + sums[(i >> level << level) - 1] if i >> level & 1 else value
                if registered:
                    with m.If(self.enable):
                        m.d.sync += count.eq(total)
                else:
                    m.d.comb += count.eq(total)
                joined.append(count)
            sums = joined
        m.d.comb += [self.counts[i].eq(count) for i, count in enumerate([Const(0), *sums[:-1]])]
        m.d.comb += self.total.eq(sums[-1])
        return m
