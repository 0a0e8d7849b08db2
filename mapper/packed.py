"""Elements to bytes: channels of a pixel, padding and words of the vector unit, whatever an element takes in memory."""

from __future__ import annotations

from dataflows.config import Config
from dataflows.errors import InputError
from dataflows.formats import pitch
from dataflows.network import Conv, Tensor


def span(tensor: Tensor, first: int, count: int) -> tuple[int, int]:
    """Where ``count`` channels from ``first`` lie in a pixel: (byte offset, bytes).

    They begin and end at whole bytes, or end with the pixel. Raises :class:`InputError` where they do not.
    """
    width = tensor.container
    fill = max(1, 8 // width)
    if first % fill or (count % fill and first + count != tensor.shape[3]):
        raise InputError(
            f"tensor {tensor.name}: channels {first}..{first + count - 1} of {tensor.bits} bits are no whole bytes; "
            "give the tensor 8 bits"
        )
    return first * width // 8, pitch(count, tensor.bits)


def granule(*tensors: Tensor) -> int:
    """Channels that make whole bytes in all of the tensors: slices begin at multiples of it."""
    return max(max(1, 8 // tensor.container) for tensor in tensors)


def weight_bits(cfg: Config, layer: Conv) -> int:
    """Bits of a layer's weights in an accelerator: without ``[multiplier]`` all have those of the configuration."""
    return layer.weight_bits if cfg.multiplier else cfg.numbers.weight_bits


def filler(tensor: Tensor, value: int) -> int:
    """What a LOAD job writes again and again so that every element is ``value``: a byte, or an element if longer.

    One-bit elements are -1 for any value below 1.
    """
    width = tensor.container
    field = int(value > 0) if tensor.bits == 1 else value & (1 << width) - 1
    return sum(field << place for place in range(0, max(width, 8), width))


def word_bytes(cfg: Config, tensor: Tensor) -> int:
    """Bytes of a word of the vector unit: an element per lane."""
    return cfg.lanes * tensor.container // 8


def formats(
    cfg: Config, *, result: Tensor, source: Tensor | None = None, addend: Tensor | None = None
) -> dict[str, dict[str, int]]:
    """Register of a VECTOR job that says how its operand words, those that are added and its results lie in memory.

    What a job does not read may be left out. No register where all elements have the same width.
    """
    if cfg.multiplier is None:
        return {}
    names = {"source": source, "addend": addend, "result": result}
    return {"formats": {name: _logarithm(t) if t else 3 for name, t in names.items()}}


def _logarithm(tensor: Tensor) -> int:
    return tensor.container.bit_length() - 1
