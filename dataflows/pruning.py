"""Layers that leave out tokens and heads while a network runs (``docs/numerics.md``, section 10).

A list is a tensor N x 1 x k x 1 of 16 bits, read without sign: numbers of tokens or heads, ascending.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from dataflows.network import Conv, Layer, Tensor

IMPORTANCE_BITS = 40
"""Accumulators of importance, without sign."""

PROBABILITY_BITS = 16
"""Fraction bits of a probability; it is at most one."""

FACTOR_FRACTION = 8
"""Fraction bits of the factors of heads."""

MAX_FACTOR = 4095

MAX_HEADS = 64
"""Heads whose importance the hardware adds up."""

MAGNITUDE_BITS = IMPORTANCE_BITS - MAX_FACTOR.bit_length()
"""Of the sum of one job of the vector unit, before the factor."""


@dataclass(frozen=True)
class Select(Layer):
    """The list of the ``keep`` most important tokens or heads.

    Inputs are the results of the attention layers whose importance is added and, if ``carried``, the list of the
    selection before.

    Attributes
    ----------
    keep : int
        How many stay, at least 1.
    heads : bool
        Heads instead of tokens.
    carried : bool
        The last input is the list of the selection before, whose importance is carried on.
    factors : tuple of int
        Heads: what each attention layer's sums are multiplied with, 1 to :data:`MAX_FACTOR`.
    """

    op: ClassVar[str] = "select"
    keep: int = 1
    heads: bool = False
    carried: bool = False
    factors: tuple[int, ...] = ()

    @property
    def observed(self) -> tuple[str, ...]:
        """Results of the attention layers."""
        return self.inputs[:-1] if self.carried else self.inputs

    @property
    def before(self) -> str | None:
        """The list of the selection before."""
        return self.inputs[-1] if self.carried else None


@dataclass(frozen=True)
class Gather(Layer):
    """Tokens of a sequence by a list; inputs: sequence, list, and the list that chose the sequence's tokens, if any."""

    op: ClassVar[str] = "gather"


@dataclass(frozen=True)
class HeadConv(Layer):
    """A 1 x 1 convolution of the heads in a list; inputs: tensor, list.

    Attributes
    ----------
    conv : Conv
        Weights of all heads; its names, clamps and tensors play no part.
    heads : int
        Heads of the whole layer.
    side : str
        ``"out"``: heads are output channels of the convolution; ``"in"``: input channels.
    """

    op: ClassVar[str] = "head_conv"
    conv: Conv = field(default_factory=lambda: Conv("", (), ""))
    heads: int = 1
    side: str = "out"

    def macs(self, tensors: Mapping[str, Tensor]) -> int:
        """Those of the heads that are left."""
        pixels = tensors[self.output].size // tensors[self.output].shape[3]
        return pixels * tensors[self.inputs[0]].shape[3] * tensors[self.output].shape[3]


def factor(scale: float, first: float) -> int:
    """What the heads' sums of a layer are multiplied with, given the scales of its result and of the first layer's."""
    return min(max(round((1 << FACTOR_FRACTION) * scale / first), 1), MAX_FACTOR)
