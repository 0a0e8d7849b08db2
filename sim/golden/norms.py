"""Layer norm and RMS norm (``docs/numerics.md``, section 9)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from dataflows.attention import GAIN_FRACTION, MAX_NORM_SHIFT, Norm
from dataflows.errors import InputError
from dataflows.network import Codes, Tensor
from sim.golden.requantize import Floats, Ints, clamp, round_shift

MAX_CHANNELS = 4096
EPSILON_BITS = 42
ROOT_BITS = 22
GAIN_BITS = 16
BIAS_BITS = 32


def norm(layer: Norm, x: Codes, source: Tensor, result: Tensor) -> Codes:
    """Normalize the channels of each pixel of (N, H, W, C)."""
    _check(layer, source, result)
    gain, bias, shift = gains(layer, result)
    deviation, square = statistics(
        x.astype(np.int64) - source.zero, epsilon_code(layer, source), centered=layer.centered
    )
    rounded = round_shift(normalized(deviation, square) * gain + bias, shift)
    return clamp(rounded + result.zero, layer.low, layer.high, result)


def epsilon_code(layer: Norm, source: Tensor) -> int:
    """``epsilon`` in the units of :func:`statistics`: ``rhe(epsilon * C**2 / scale**2)``, exact, below 2**42.

    Raises
    ------
    InputError
        It is too large, negative, or no number.
    """
    epsilon = float(np.float32(layer.epsilon))
    if np.isfinite(epsilon) and epsilon >= 0:
        code = round(Fraction(epsilon) * source.shape[3] ** 2 / Fraction(float(np.float32(source.scale))) ** 2)
        if code < 1 << EPSILON_BITS:
            return code
    raise InputError(
        f"layer {layer.name!r}: epsilon {layer.epsilon} is not a number from 0 on, or too large beside the scale "
        f"of its input, {source.scale}: epsilon * {source.shape[3]}**2 / scale**2 must be below 2**{EPSILON_BITS}"
    )


def gains(layer: Norm, result: Tensor) -> tuple[Ints, Ints, int]:
    """Gains and biases as integers: ``(n * gain + bias) / 2**shift`` with ``n`` of 12 fraction bits.

    Returns
    -------
    gain : int64 array (C,) of 16-bit values
    bias : int64 array (C,) of 32-bit values
    shift : int
        The largest of 0 to 37 with which all of them are in range.

    Raises
    ------
    InputError
        There is none.
    """
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # the results are checked
        gain, bias = (v.astype(np.float32) / np.float32(result.scale) for v in (layer.gain, layer.bias))
    if np.isfinite(gain).all() and np.isfinite(bias).all():
        for shift in range(MAX_NORM_SHIFT, -1, -1):
            scaled_gain, scaled_bias = _scaled(gain, shift - GAIN_FRACTION), _scaled(bias, shift)
            if _fits(scaled_gain, GAIN_BITS) and _fits(scaled_bias, BIAS_BITS):
                return scaled_gain.astype(np.int64), scaled_bias.astype(np.int64), shift
    raise InputError(
        f"layer {layer.name!r}: gains of up to {np.abs(layer.gain).max()} and biases of up to "
        f"{np.abs(layer.bias).max()} are too large beside the scale of its result, {result.scale}"
    )


def statistics(values: Ints, epsilon: int, *, centered: bool) -> tuple[Ints, Ints]:
    """Deviations from the mean, and the square of what they are divided by, both exact.

    Parameters
    ----------
    values : int64 array (..., C)
        Elements without zero point.
    epsilon : int
        From :func:`epsilon_code`.
    centered : bool
        Subtract the mean.

    Returns
    -------
    deviation : int64 array (..., C)
        ``C`` times the difference from the mean; 22 bits and sign.
    square : int64 array (...,)
        ``C**2`` times the variance (or the mean square) plus epsilon; 1 to 2**43 - 1.
    """
    channels = values.shape[-1]
    total = values.sum(axis=-1) * int(centered)
    square = channels * (values * values).sum(axis=-1) - total * total + epsilon
    return channels * values - total[..., np.newaxis], np.maximum(square, 1)


def inverse_root(square: Ints) -> tuple[Ints, Ints]:
    """One over the square root of 1 to 2**44 - 1, as ``inverse / 2**(half + 23)``.

    Returns
    -------
    inverse : int64 array
        24 bits, the highest one set.
    half : int64 array
        Half of the bit length, rounded up: 1 to 22.
    """
    half = (np.frexp(square.astype(np.float64))[1].astype(np.int64) + 1) // 2
    # The square root of a number of 44 bits, rounded to 53, is never rounded up to the next integer.
    root = np.sqrt(square << 2 * (ROOT_BITS - half)).astype(np.int64)
    return ((1 << 45) - 1) // root, half


def normalized(deviation: Ints, square: Ints) -> Ints:
    """``deviation`` (..., C) over the root of ``square`` (...,), 12 fraction bits, rounded down."""
    inverse, half = inverse_root(square)
    return deviation * (inverse >> 8)[..., np.newaxis] >> (half + 3)[..., np.newaxis]


def _scaled(value: Floats, shift: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """``rhe(value * 2**shift)``."""
    return np.rint(np.ldexp(value.astype(np.float64), shift))


def _fits(value: np.ndarray[tuple[int, ...], np.dtype[np.float64]], bits: int) -> bool:
    """Whether all values and their negatives have ``bits`` bits."""
    return float(np.abs(value).max()) < 1 << bits - 1


def _check(layer: Norm, source: Tensor, result: Tensor) -> None:
    """Raise :class:`InputError` unless channels, gains and widths fit each other."""
    what, channels = f"layer {layer.name!r}", source.shape[3]
    if channels > MAX_CHANNELS:
        raise InputError(f"{what}: {channels} channels are too many for a norm; possible are {MAX_CHANNELS}")
    for name, values in (("gains", layer.gain), ("biases", layer.bias)):
        if values.shape != (channels,):
            raise InputError(f"{what}: it must have {channels} {name}, one per channel, not {_sizes(values.shape)}")
    for tensor in (source, result):
        if tensor.bits != 8:
            raise InputError(f"{what}: tensor {tensor.name!r} has {tensor.bits} bits; a norm takes and gives 8")


def _sizes(shape: Sequence[int]) -> str:
    """A shape in words."""
    return " x ".join(str(size) for size in shape) or "a single number"
