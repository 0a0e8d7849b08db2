"""Products of wide factors in two stages: multipliers of 18 bits, and a sum."""

from amaranth import Signal

LIMB_BITS = 17
"""Bits of a factor that a multiplier of 18 bits takes, with a sign."""


def limbs(value) -> list:
    """Numbers of at most :data:`LIMB_BITS` bits, the lowest first; only the last one has the sign of ``value``."""
    low = [value[place : place + LIMB_BITS] for place in range(0, len(value), LIMB_BITS)]
    return [*low[:-1], low[-1].as_signed() if value.shape().signed else low[-1]]


def partial_products(m, enable, a, b, name):
    """``a * b`` of the last cycle with ``enable``: products of limbs in registers, and their sum behind those."""
    total = 0
    for i, part_a in enumerate(limbs(a)):
        for j, part_b in enumerate(limbs(b)):
            product = part_a * part_b
            held = Signal(product.shape(), name=f"{name}_{i}_{j}", reset_less=True)
            with m.If(enable):
                m.d.sync += held.eq(product)
            total += held << LIMB_BITS * (i + j)
    return total
