"""The PE whose multiplier is fused from bricks."""

from rtl.fusion import FusionUnit
from rtl.pe import PE, PRECISION


class FusionPE(PE):
    """A PE with a :class:`~rtl.fusion.FusionUnit` between operand registers and sum.

    Words are aligned at the edges of the array (:mod:`rtl.fusion_edge`): each brick's operands lie where it wants them.
    The unit's register is the product register, so times are those of :class:`~rtl.pe.PE`.
    """

    def _product(self, m, x, w):
        m.submodules.unit = unit = FusionUnit(self.unit.leaf, wide=False)
        m.d.comb += [unit.a.eq(x), unit.w.eq(w)]
        offset = 0
        for name in PRECISION:
            port = getattr(unit, name)
            m.d.comb += port.eq(self.precision_i[offset : offset + len(port)])
            offset += len(port)
        return unit.o
