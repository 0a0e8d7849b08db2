"""Layers of gates and of maps that change their size (``docs/numerics.md``, section 14)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dataflows.network import Layer


@dataclass(frozen=True)
class Multiply(Layer):
    """Element-wise product of two tensors; rows, columns and channels of the second may be 1 and count for all."""

    op: ClassVar[str] = "multiply"


@dataclass(frozen=True)
class Upsample(Layer):
    """Every pixel ``factor`` (rows, columns) times; scale and zero point unchanged."""

    op: ClassVar[str] = "upsample"
    factor: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class Spread(Layer):
    """Pixels ``stride`` (rows, columns) apart, the zero point between them; scale and zero point unchanged.

    ``H x W`` become ``(H - 1) * stride + 1`` rows and likewise columns. A transposed convolution is a convolution
    of that.
    """

    op: ClassVar[str] = "spread"
    stride: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class ChannelSlice(Layer):
    """Channels ``start`` to ``stop - 1`` of every pixel; scale and zero point unchanged."""

    op: ClassVar[str] = "channel_slice"
    start: int = 0
    stop: int = 1
