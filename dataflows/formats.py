"""Number formats: what each operand width brings with it (``docs/numerics.md``)."""

ACC_BITS = {8: 32, 16: 48}
"""Accumulator width for each operand width."""
