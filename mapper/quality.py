"""How close every quantized tensor is to the float model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflows.network import Codes, Conv, Network, Reshape, Tensor


def sqnr(reference: NDArray[np.floating[Any]], tensor: Tensor, codes: Codes) -> float | None:
    """Signal to quantization noise ratio in dB; None where the noise or the signal is zero.

    Parameters
    ----------
    reference : float array (samples, C, H, W)
    tensor : scale and zero point
    codes : array (samples, H, W, C)
    """
    exact = reference.astype(np.float64)
    real = (codes.astype(np.float64).transpose(0, 3, 1, 2) - tensor.zero) * tensor.scale
    signal, noise = float(np.sum(exact**2)), float(np.sum((exact - real) ** 2))
    return 10 * math.log10(signal / noise) if signal and noise else None


def all_sqnr(
    network: Network, reference: Mapping[str, NDArray[np.float32]], codes: Mapping[str, Codes]
) -> dict[str, float | None]:
    """:func:`sqnr` of every tensor that both sides have, all of it and in the same order of elements."""
    turned = reordered(network)
    return {
        name: sqnr(reference[name], network.tensors[name], values)
        for name, values in codes.items()
        if name in reference and name not in turned and reference[name].transpose(0, 2, 3, 1).shape == values.shape
    }


def zeros(network: Network, reference: Mapping[str, NDArray[np.float32]]) -> dict[str, float]:
    """Share of elements that are zero once they are quantized, of every tensor that the reference has."""
    return {
        name: float(np.mean(np.abs(values) <= network.tensors[name].scale / 2))
        for name, values in reference.items()
        if name in network.tensors
    }


def reordered(network: Network) -> set[str]:
    """Tensors whose elements are in another order than the float model's: flattened maps, until weights undo it."""
    found: set[str] = set()
    for layer in network.layers:
        flattens = isinstance(layer, Reshape) and _flattens(network, layer)
        undone = isinstance(layer, Conv) and layer.groups == 1
        if flattens or (not undone and any(name in found for name in layer.inputs)):
            found.add(layer.output)
    return found


def _flattens(network: Network, layer: Reshape) -> bool:
    """Whether pixels become channels."""
    source, target = network.tensors[layer.inputs[0]].shape, network.tensors[layer.output].shape
    return 1 < source[3] < target[3]
