"""Whether the numbers of a network fit their widths (``docs/numerics.md``, section 8)."""

from __future__ import annotations

from dataflows.errors import InputError
from dataflows.network import Codes, Conv, Layer, MaxPool, Reshape, Tensor

WIDTHS = (*range(1, 9), 16)
"""Bits that a tensor can have."""


def check_layer(layer: Layer, sources: list[Tensor], target: Tensor) -> None:
    """Raise :class:`InputError` unless tensors, weights and limits of a layer have the ranges of their widths."""
    for tensor in (*sources, target):
        check_tensor(tensor)
    what = f"layer {layer.name!r}"
    if not target.lowest <= layer.low <= layer.high <= target.highest:
        outside = _range(target.lowest, target.bits)
        raise InputError(f"{what}: it clamps to {layer.low}..{layer.high}, which is outside {outside}")
    if target.bits == 1:
        if (layer.low, layer.high) != (-1, 1):
            raise InputError(f"{what}: a one-bit result is clamped to -1..1, not to {layer.low}..{layer.high}")
        if not isinstance(layer, Conv) and (not isinstance(layer, MaxPool | Reshape) or sources[0].bits != 1):
            wide = max(source.bits for source in sources)
            raise InputError(f"{what}: {layer.op} cannot make a one-bit result of {wide} bits; only a convolution can")
    if isinstance(layer, Reshape) and sources[0].bits != target.bits:
        raise InputError(f"{what}: it keeps the bits of its input, so a result of {sources[0].bits}, not {target.bits}")
    if isinstance(layer, Conv):
        bits = 16 if sources[0].bits == 16 else layer.weight_bits
        check_codes(layer.weight, -(1 << bits - 1), bits, f"weights of layer {layer.name!r}")


def check_tensor(tensor: Tensor) -> None:
    """Raise :class:`InputError` for a width that tensors cannot have, or a zero point outside its range."""
    what = f"tensor {tensor.name!r}"
    if tensor.bits not in WIDTHS:
        raise InputError(f"{what} has {tensor.bits} bits; possible are 1 to 8, and 16")
    if tensor.bits == 1 and tensor.zero:
        raise InputError(f"{what} has one bit, so its zero point is 0, not {tensor.zero}")
    if tensor.ternary and tensor.bits != 2:
        raise InputError(f"{what} is ternary, so it has 2 bits, not {tensor.bits}")
    if not tensor.lowest <= tensor.zero <= tensor.highest:
        raise InputError(f"{what}: zero point {tensor.zero} is outside {_range(tensor.lowest, tensor.bits)}")


def check_codes(codes: Codes, lowest: int, bits: int, what: str) -> None:
    """Raise :class:`InputError` unless all integers are numbers of ``bits`` bits and at least ``lowest``.

    Numbers of one bit are +1 and -1.
    """
    if not codes.size:
        return
    least, most = int(codes.min()), int(codes.max())
    highest = max(1, (1 << bits - 1) - 1)
    odd = least if least < lowest else most if most > highest else 0
    if odd or (bits == 1 and not codes.all()):
        raise InputError(f"{what}: {odd} is outside {_range(lowest, bits)}")


def _range(lowest: int, bits: int) -> str:
    """Numbers of a width, in words."""
    if bits == 1:
        return "the two numbers of one bit, -1 and 1"
    if lowest == -1:
        return "the ternary numbers, -1 to 1"
    return f"the range of {bits} bits, {lowest} to {(1 << bits - 1) - 1}"
