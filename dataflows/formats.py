"""Number formats: what each operand width brings with it (``docs/numerics.md``)."""

ACC_BITS = {**{bits: 32 for bits in range(1, 9)}, 16: 48}
"""Accumulator width for each operand width."""


def ceil_pow2(value: int) -> int:
    """Smallest power of two that is at least ``value``."""
    return 1 << (value - 1).bit_length()


def container(bits: int) -> int:
    """Bits that an operand of ``bits`` bits takes in memory."""
    return ceil_pow2(bits)


def pitch(channels: int, bits: int) -> int:
    """Bytes that ``channels`` operands of ``bits`` bits take side by side, the last one filled up."""
    return -(-channels * container(bits) // 8)
