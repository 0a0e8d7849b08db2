"""Energy of a layer on the array: its multiplications and what its plan moves from and to DRAM.

For choosing widths, not for quoting: buffers, registers, control and leakage are not counted. Every number has its node
and source; ratios between choices hold better than picojoules.
"""

from __future__ import annotations

from dataflows.formats import container

MAC_PJ = 1.033
"""One product of 8-bit integers and a 16-bit addition, 45 nm (tables of Aladdin, in AccelForge's component library)."""

DRAM_PJ_PER_BIT = 8.0
"""LPDDR4 (as in the same library)."""


def layer_energy(macs: int, a_bits: int, w_bits: int, dram_bytes: float) -> float:
    """Picojoules of ``macs`` products of inputs and weights of so many bits, and of ``dram_bytes`` on the bus.

    A product of narrower operands takes as much less as it needs fewer 2-bit bricks: the product of both widths in
    memory, over 64 (an assumption, as in the area of a fusion unit).
    """
    return macs * MAC_PJ * container(a_bits) * container(w_bits) / 64 + dram_bytes * 8 * DRAM_PJ_PER_BIT
