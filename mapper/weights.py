"""Weights and biases as integers, and the limits that keep accumulation and requantization exact."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflows.errors import InputError
from dataflows.network import Codes, Tensor
from mapper.graph import Floats
from mapper.integers import Integers
from mapper.precision import Precision
from mapper.thresholds import never_zero, threshold_bias

SCALE_MIN, SCALE_MAX = 2.0**-38, 2.0**23
"""Range of effective scales that a 24-bit multiplier and a shift of 0 to 63 represent, with room at the bottom."""


def bias_type(source: Tensor) -> np.dtype[np.signedinteger[Any]]:
    """Type of biases of a layer that reads ``source``."""
    return np.dtype(np.int32 if source.acc_bits == 32 else np.int64)


def quantize_weights(
    layer: str, weight: Floats, bias: Floats, source: Tensor, target_scale: float,
    factor: NDArray[np.float64] | None = None, precision: Precision | None = None,
    steps: NDArray[np.float64] | None = None, one_scale: bool = False,
) -> tuple[Codes, NDArray[np.float32], Codes]:
    """Integer weights, their scale per output channel, and the bias in units of input scale * weight scale.

    Parameters
    ----------
    layer : name for messages
    weight : float32 array (out channels, in channels / groups, kernel rows, kernel columns)
    bias : float32 array (out channels,)
    source : the tensor the layer reads
    target_scale : scale of the tensor it writes
    factor : for weights of few values (``docs/numerics.md``, section 7): what each channel's are multiplied with. All
        channels get the scale of the largest weight, times their factor, unless a bias needs a coarser one
    precision : width of the integers, and how weights become them (linear, as wide as the inputs)
    steps : scales that the weights came with; they are kept if the integers fit
    one_scale : the same scale for all channels, except of weights with ``factor`` or ``steps``

    Raises
    ------
    InputError
        When the accumulator could overflow for some input, or the scales are out of range.
    """
    precision = precision or Precision(source.bits, source.bits)
    flat = weight.reshape(len(weight), -1).astype(np.float64)
    limit = 1 << source.acc_bits - 1
    kept = None if steps is None else Integers.given(flat, steps, precision.w_bits)
    alike = one_scale and kept is None and factor is None
    _check_finite(layer, flat, bias)
    integers = kept or (Integers.alike(flat, precision) if alike else Integers.of(flat, precision, factor))
    room = limit / 2 if kept is None else limit * 1.001  # a bias takes half of the range at most; a given one fits
    for_bias = np.abs(bias.astype(np.float64)) / (source.scale * room)
    for_range = SCALE_MIN * target_scale / source.scale if kept is None else 0.0
    # A channel whose weights matter less than its bias, or not at all, gets a coarser scale.
    scale = np.maximum(np.maximum(integers.scale, for_bias), for_range)
    _check_finite(layer, scale)
    scale = np.maximum(scale, np.finfo(np.float32).tiny).astype(np.float32)
    scale = np.full_like(scale, scale.max()) if alike else scale
    exact = scale.astype(np.float64)
    codes = integers.at(scale)
    bias_codes = np.clip(np.rint(bias / (source.scale * exact)), -limit, limit - 1).astype(bias_type(source))
    check_scale(layer, float(source.scale * exact.max() / target_scale))
    _check_overflow(layer, codes, bias_codes, source)
    return codes.reshape(weight.shape), scale, bias_codes


def quantize_signs(
    layer: str, weight: Floats, bias: Floats, source: Tensor, factor: NDArray[np.float64] | None,
    precision: Precision, signs: bool,
) -> tuple[Codes, NDArray[np.float32], Codes]:  # fmt: skip
    """The same for a layer whose result is a sign: the bias is a threshold, the scale only makes the result +1 or -1.

    With ``signs`` the inputs are +1 and -1 in more than one bit; then no accumulator may be zero.
    """
    flat = weight.reshape(len(weight), -1).astype(np.float64)
    integers = Integers.of(flat, precision, factor)
    codes = integers.at(integers.scale.astype(np.float32))
    step = source.scale * integers.scale.astype(np.float32).astype(np.float64)
    limits = threshold_bias(bias, step)
    if signs and bool((np.abs(codes) == 1).all()):
        limits = never_zero(limits, flat.shape[1])
    bias_codes = limits.astype(bias_type(source))
    _check_overflow(layer, codes, bias_codes, source)
    scale = np.full(len(weight), 1 / source.scale, np.float32)
    return codes.reshape(weight.shape), scale, bias_codes


def _check_finite(layer: str, *values: NDArray[np.floating[Any]]) -> None:
    """Refuse weights, biases and their scales that are no numbers, or beyond what float32 holds."""
    if not all((np.abs(array) <= np.finfo(np.float32).max).all() for array in values):
        raise InputError(f"layer {layer}: weights or biases are not finite, or too large for float32; check the model")


def _check_overflow(layer: str, codes: Codes, bias: Codes, source: Tensor) -> None:
    """Refuse weights with which some input could leave the accumulator."""
    distance = max(source.highest - source.zero, source.zero - source.lowest)
    bits = source.acc_bits - 1
    bounds = np.abs(codes.astype(np.int64)).sum(1) * distance + np.abs(bias.astype(np.int64))
    worst = int(bounds.argmax())
    if bounds[worst] >= 1 << bits:
        raise InputError(
            f"layer {layer}: the accumulator of output channel {worst} can reach {bounds[worst]} "
            f"(sum of |weights| * {distance} + |bias|), beyond the limit of 2**{bits} - 1; split the layer"
        )


def check_scale(layer: str, effective: float) -> None:
    """Refuse an effective scale that the requantization cannot represent."""
    if not effective < SCALE_MAX:
        raise InputError(
            f"layer {layer}: the scale from accumulator to output is {effective:.3g}, beyond {SCALE_MAX:.3g}; "
            "the calibration samples do not exercise its output, give representative ones"
        )
