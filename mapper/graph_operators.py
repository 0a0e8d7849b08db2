"""Nodes of gates and of maps that change their size, in the float graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mapper.graph import Node


@dataclass(frozen=True)
class Multiply(Node):
    """Element-wise product of two tensors; C, H and W of the second may be 1 and count for all."""

    op: ClassVar[str] = "multiply"


@dataclass(frozen=True)
class Upsample(Node):
    """Every pixel ``factor`` (rows, columns) times: nearest neighbours."""

    op: ClassVar[str] = "upsample"
    factor: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class Spread(Node):
    """Pixels ``stride`` (rows, columns) apart, zeros between them: (H - 1) * stride + 1 rows, likewise columns."""

    op: ClassVar[str] = "spread"
    stride: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class ChannelSlice(Node):
    """Channels ``start`` to ``stop - 1``."""

    op: ClassVar[str] = "channel_slice"
    start: int = 0
    stop: int = 1


MOVES = Upsample, Spread, ChannelSlice
"""Nodes whose results are elements of their input, and zeros."""
