"""Integers of attention and norms out of their float32 scales (``docs/numerics.md``, section 9)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ldexp

import numpy as np
from numpy.typing import NDArray

from dataflows.attention import GAIN_FRACTION, MAX_NORM_SHIFT, Attention, Norm
from dataflows.config import Config
from dataflows.errors import InputError
from dataflows.network import Tensor
from mapper.numbers import significand

OCTAVE = np.float32(369.32993046757)
"""256 / ln 2: natural logarithms to binary ones with 8 fraction bits."""

MAX_VALUE_SHIFT = 45
"""Largest shift of values: the sum of a row adds up to 18."""

EPSILON_BITS = 42
GAIN_LIMIT, BIAS_LIMIT = (1 << 15) - 1, (1 << 31) - 1


def score_scale(layer: Attention, queries: Tensor, keys: Tensor) -> tuple[int, int]:
    """Multiplier and shift from products of queries and keys to scores."""
    factor = np.float32(queries.scale) * np.float32(keys.scale) * np.float32(layer.factor)
    return significand(OCTAVE * factor, layer.name)


def value_scale(layer: Attention, values: Tensor, target: Tensor) -> tuple[int, int]:
    """Multiplier and shift from values to results; the row engine divides by the sums of its rows.

    Raises
    ------
    InputError
        Where the scale of the values is too small beside that of the result.
    """
    multiplier, shift = significand(np.float32(values.scale) / np.float32(target.scale), layer.name)
    if shift > MAX_VALUE_SHIFT:
        raise InputError(
            f"layer {layer.name}: the scale of its values ({values.scale:.3g}) over that of its result "
            f"({target.scale:.3g}) needs a shift of {shift}; at most {MAX_VALUE_SHIFT} is possible, that is 2**-22; "
            "the calibration samples do not exercise its output, give representative ones"
        )
    return multiplier, shift


@dataclass(frozen=True)
class NormNumbers:
    """Gains and biases of every channel, the shift behind them, and what is added to the variance."""

    gain: NDArray[np.int64]
    bias: NDArray[np.int64]
    shift: int
    epsilon: int

    @staticmethod
    def of(layer: Norm, source: Tensor, target: Tensor) -> NormNumbers:
        """Numbers of a layer between two tensors. Raises :class:`InputError` where they are out of range."""
        channels, scale = source.shape[3], Fraction(float(np.float32(source.scale)))
        epsilon = round(Fraction(float(np.float32(layer.epsilon))) * channels**2 / scale**2)
        if epsilon >= 1 << EPSILON_BITS:
            raise InputError(
                f"layer {layer.name}: epsilon {layer.epsilon:.3g} is {epsilon} in units of its input's scale, "
                f"{source.scale:.3g}; it must be below 2**{EPSILON_BITS}: the input hardly differs from zero"
            )
        gain, bias = (v.astype(np.float32) / np.float32(target.scale) for v in (layer.gain, layer.bias))
        for shift in range(MAX_NORM_SHIFT, -1, -1):
            gains, biases = _rounded(gain, shift - GAIN_FRACTION), _rounded(bias, shift)
            if np.abs(gains).max() <= GAIN_LIMIT and np.abs(biases).max() <= BIAS_LIMIT:
                return NormNumbers(gains.astype(np.int64), biases.astype(np.int64), shift, epsilon)
        raise InputError(
            f"layer {layer.name}: gains of up to {np.abs(layer.gain).max():.3g} and biases of up to "
            f"{np.abs(layer.bias).max():.3g} do not fit the scale of its output, {target.scale:.3g}"
        )

    def entries(self, cfg: Config) -> NDArray[np.uint8]:
        """Blocks of lanes as they lie in the gain memory: per lane bias (4 bytes), gain (2), two unused."""
        blocks = -(-len(self.gain) // cfg.lanes)
        image = np.zeros((blocks, cfg.gain_entry_bytes // 8, 8), np.uint8)
        for channel, (gain, bias) in enumerate(zip(self.gain, self.bias, strict=True)):
            place = image[channel // cfg.lanes, channel % cfg.lanes]
            place[:4] = np.frombuffer(int(bias).to_bytes(4, "little", signed=True), np.uint8)
            place[4:6] = np.frombuffer(int(gain).to_bytes(2, "little", signed=True), np.uint8)
        return image.reshape(-1)


def _rounded(values: NDArray[np.float32], shift: int) -> NDArray[np.float64]:
    """``rhe(values * 2**shift)``: exact before the rounding."""
    return np.rint(values.astype(np.float64) * ldexp(1, shift))
