"""Energy of products and of DRAM traffic: what tells plans of a layer apart, from :mod:`mapper.energy_table`."""

from __future__ import annotations

from dataflows.formats import container
from mapper.conv_shape import ConvShape
from mapper.energy_table import DRAM, MAC

BITS = 8
"""Width of the operands that :data:`MAC` is for."""


def product(a_bits: int, w_bits: int) -> float:
    """Picojoules of a product of inputs and weights of so many bits.

    Narrower operands take as much less as they need fewer 2-bit bricks: the product of both widths in memory, over 64;
    wider ones as much more (an assumption, as in the area of a fusion unit).
    """
    return MAC.pj * container(a_bits) * container(w_bits) / BITS**2


def layer_energy(macs: int, a_bits: int, w_bits: int, dram_bytes: float) -> float:
    """Picojoules of ``macs`` products and of ``dram_bytes`` on the bus alone, for comparing plans."""
    return macs * product(a_bits, w_bits) + dram_bytes * 8 * DRAM["lpddr4"].pj


def plan_energy(shape: ConvShape, dram_bytes: float) -> float:
    """Picojoules of a layer whose plan moves ``dram_bytes``."""
    macs = shape.images * shape.out_height * shape.out_width * shape.layer.weight.size
    return layer_energy(macs, *shape.bits, dram_bytes)
