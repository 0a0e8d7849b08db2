"""Weights of a layer as integers, before and after their scale is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataflows.network import Codes
from mapper import narrow_weights
from mapper.narrow_weights import Reals
from mapper.precision import Precision

Scales = NDArray[np.float32]


TOLERANCE = 1e-3
"""How far a weight may be from a whole multiple of its step: float32 products are, by less."""


@dataclass(frozen=True)
class Integers:
    """Weights that become integers.

    Attributes
    ----------
    bits : of the integers
    lowest : the smallest of them
    scale : float64 array (out channels,), what suits the weights best
    quotients : weights over any scales
    """

    bits: int
    lowest: int
    scale: Reals
    quotients: Callable[[Scales], Reals]

    @staticmethod
    def given(weight: Reals, steps: Reals, bits: int) -> Integers | None:
        """Integers of weights that are multiples of ``steps`` (out channels,), if they fit ``bits`` bits."""
        steps = np.where(steps > 0, steps, 1.0).astype(np.float32).astype(np.float64)
        quotients = weight / steps[:, None]
        codes = np.rint(quotients)
        if bool((np.abs(quotients - codes) > TOLERANCE).any()):
            return None  # something has changed the weights since
        if bits == 1 and not bool((np.abs(codes) == 1).all()):
            return None
        if codes.min() < -(1 << bits - 1) or codes.max() > _highest(bits):
            return None
        return Integers(bits, -(1 << bits - 1), steps, lambda scale: weight / scale.astype(np.float64)[:, None])

    @staticmethod
    def of(weight: Reals, precision: Precision, factor: Reals | None = None) -> Integers:
        """Integers for weights (out channels, weights of one), of which ``factor`` is to be a factor per channel."""
        bits = precision.w_bits
        if bits >= 8 and precision.scheme == "linear":
            return _linear(weight, bits, factor)
        if precision.scheme == "ttq":
            sides = np.ones(len(weight)) if factor is None else factor
            codes, step = narrow_weights.two_scales(weight, (1 << bits - 1) - 1)
            return _fixed(codes * np.sign(sides)[:, None], step * np.abs(sides), bits)
        return _fixed(*narrow_weights.levels(weight, bits, precision.scheme), bits)

    @staticmethod
    def alike(weight: Reals, precision: Precision) -> Integers:
        """The same with one scale for all channels."""
        whole = Integers.of(weight.reshape(1, -1), precision)

        def quotients(scale: Scales) -> Reals:
            return whole.quotients(scale[:1]).reshape(weight.shape)

        return Integers(whole.bits, whole.lowest, np.repeat(whole.scale, len(weight)), quotients)

    def at(self, scale: Scales) -> Codes:
        """The integers (out channels, weights of one) with these scales."""
        codes = np.clip(np.rint(self.quotients(scale)), self.lowest, _highest(self.bits))
        return codes.astype(np.int16 if self.bits > 8 else np.int8)


def _highest(bits: int) -> int:
    """The largest integer that weights of some width take."""
    return max(1, (1 << bits - 1) - 1)


def _linear(weight: Reals, bits: int, factor: Reals | None) -> Integers:
    """The largest weight of a channel is the largest integer; with ``factor``, the largest of the layer."""
    natural = np.abs(weight).max(1) / ((1 << bits - 1) - 1)
    if factor is None:
        return Integers(bits, -_highest(bits), natural, lambda scale: weight / scale.astype(np.float64)[:, None])
    step = float(natural.max())
    best, sides = step * np.abs(factor), factor

    def quotients(scale: Scales) -> Reals:
        """One quotient for all channels, so that equal weights become equal integers."""
        same = scale == best.astype(np.float32)
        return weight * np.where(same, np.sign(sides) / step, sides / scale.astype(np.float64))[:, None]

    return Integers(bits, -_highest(bits), best, quotients)


def _fixed(codes: Reals, scale: Reals, bits: int) -> Integers:
    """Integers that belong to their scale; another one makes smaller numbers of them, except of bits."""

    def quotients(other: Scales) -> Reals:
        if bits == 1:
            return codes
        same = other == scale.astype(np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(same, 1.0, scale / other.astype(np.float64))
        return codes * ratio[:, None]

    return Integers(bits, -_highest(bits), scale, quotients)
