"""Elements of 1, 2, 4 or 8 bits in the words of the vector unit (``docs/numerics.md``, section 8)."""

from amaranth import Cat, Module, Mux, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dataflows.config import Config

FORMAT_BITS = 2
"""Of a format: the binary logarithm of an element's bits in memory."""
BYTE = 8


class Unpack(wiring.Component):
    """One signed element per lane out of an operand word, the first from its lowest bits.

    Parameters
    ----------
    cfg : Config
        Uses ``lanes`` and ``containers``, the widths that there are; any other format means bytes.

    Members
    -------
    i : In(lanes x 8)
        An operand word as it lies in memory; elements of b bits fill its first ``lanes * b / 8`` bytes.
    format : In(2)
        Binary logarithm of the bits of an element.
    o : Out(lanes x signed(8))
        Elements, extended by their sign; of one bit, +1 for 1 and -1 for 0.

    Timing
    ------
    Combinational.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        super().__init__({
            "i": In(data.ArrayLayout(BYTE, cfg.lanes)),
            "format": In(FORMAT_BITS),
            "o": Out(data.ArrayLayout(signed(BYTE), cfg.lanes)),
        })

    def elaborate(self, platform):
        m = Module()
        word = self.i.as_value()
        with m.Switch(self.format):
            for bits in self.cfg.containers[:-1]:
                with m.Case(bits.bit_length() - 1):
                    for lane in range(self.cfg.lanes):
                        element = word.word_select(lane, bits)
                        m.d.comb += self.o[lane].eq(_sign(element) if bits == 1 else element.as_signed())
            with m.Default():
                m.d.comb += self.o.as_value().eq(word)
        return m


class Pack(wiring.Component):
    """An operand word out of one element per lane, the reverse of :class:`Unpack`.

    Parameters
    ----------
    cfg : Config
        Uses ``lanes`` and ``containers``.

    Members
    -------
    i : In(lanes x signed(8))
        Of elements narrower than a byte their lower bits count, of one bit whether it is negative (0) or not (1).
    format : In(2)
        Binary logarithm of the bits of an element.
    valid : In(lanes)
        Lanes that count. The others leave zeros, so that what remains of a pixel's last byte is known.
    o : Out(lanes x 8)
        The word; behind its last element it is zero.

    Timing
    ------
    Combinational.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        super().__init__({
            "i": In(data.ArrayLayout(signed(BYTE), cfg.lanes)),
            "format": In(FORMAT_BITS),
            "valid": In(cfg.lanes),
            "o": Out(data.ArrayLayout(BYTE, cfg.lanes)),
        })

    def elaborate(self, platform):
        m = Module()
        lanes = list(self.i)
        with m.Switch(self.format):
            for bits in self.cfg.containers[:-1]:
                with m.Case(bits.bit_length() - 1):
                    packed = [~lane[-1] if bits == 1 else lane[:bits] for lane in lanes]
                    kept = [Mux(self.valid[i], element, 0) for i, element in enumerate(packed)]
                    m.d.comb += self.o.as_value().eq(Cat(kept))
            with m.Default():
                m.d.comb += self.o.as_value().eq(Cat(lanes))
        return m


def _sign(bit):
    """+1 for a bit of 1, -1 for 0."""
    return Cat(1, (~bit).replicate(BYTE - 1)).as_signed()
