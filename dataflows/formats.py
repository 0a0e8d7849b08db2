"""Number formats: what each operand width brings with it (``docs/numerics.md``)."""

ACC_BITS = {**{bits: 32 for bits in range(1, 9)}, 16: 48}
"""Accumulator width for each operand width."""


def container(bits: int) -> int:
    """Bits that an operand of ``bits`` bits takes in memory: the next power of two."""
    return 1 << (bits - 1).bit_length()
