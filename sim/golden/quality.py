"""How close a quantized tensor is to the real one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflows.network import Codes, Tensor


def dequantize(tensor: Tensor, values: Codes) -> NDArray[np.float32]:
    """Real values of a quantized tensor, same shape: ``scale * (q - zero)``."""
    return np.float32(tensor.scale) * (values.astype(np.float32) - np.float32(tensor.zero))


def sqnr(reference: NDArray[np.floating[Any]], tensor: Tensor, values: Codes) -> float:
    """Signal to quantization noise ratio in dB.

    Parameters
    ----------
    reference : float array
        What the float model computes, in the layout of ``values``.
    tensor : Tensor
        Scale and zero point of ``values``.
    values : array of the tensor

    Returns
    -------
    float
        ``10 * log10(sum(reference**2) / sum((reference - dequantized)**2))``; infinite without any error,
        minus infinity where the reference is zero everywhere and the values are not.

    Raises
    ------
    ValueError
        The shapes differ.
    """
    if reference.shape != values.shape:
        raise ValueError(f"reference has the shape {reference.shape}, the quantized tensor {values.shape}")
    exact = reference.astype(np.float64)
    signal = float(np.sum(exact**2))
    noise = float(np.sum((exact - dequantize(tensor, values)) ** 2))
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf
