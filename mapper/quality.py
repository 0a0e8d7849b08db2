"""How close every quantized tensor is to the float model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dataflows.network import Codes, Conv, Network, Reshape, Tensor
from mapper.bit_widths import KEEPS
from mapper.float_reference import bounded, compute
from mapper.graph import FloatGraph, Node
from mapper.rounded_model import RoundedModel, Samples, Values

JUDGED = 32
"""Samples that SQNR is computed from, at most (rounded up to a batch)."""

ENOUGH = 1 << 26
"""Elements of all tensors that own noise is computed from, of two samples at least."""

CHUNK = 8
"""Samples that own noise is computed of at a time."""


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
    return _decibels(signal, noise)


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


def own_sqnr(model: RoundedModel, samples: Samples) -> dict[str, float | None]:
    """SQNR in dB of every tensor that a layer makes, if nothing but this layer (and its inputs) were rounded.

    So a bad layer is seen where it is, not behind it. None without noise or signal, and nothing of operators that keep
    the levels of their input. What softmax and norms round inside is not counted.
    """
    powers: dict[str, tuple[float, float]] = {}

    def visit(node: Node, _: Values, inputs: Values, wanted: torch.Tensor) -> torch.Tensor:
        if not isinstance(node, KEEPS):  # they round nothing
            result = model.on_levels(node.output, bounded(node, compute(model.rounded(node), inputs)))
            signal, noise = powers.get(node.output, (0.0, 0.0))
            powers[node.output] = signal + _power(wanted), noise + _power(result - wanted)
        return model.on_levels(node.output, wanted)  # what others read is the float model's, rounded

    whole = model.graph.shapes[model.graph.inputs[0]][0]
    count, step = len(next(iter(samples.values()))), -(-CHUNK // whole) * whole
    for first in range(0, count, step):
        model.walk({name: values[first : first + step] for name, values in samples.items()}, visit)
    return {name: _decibels(*power) for name, power in powers.items()}


def judged(graph: FloatGraph, calibration: Samples) -> dict[str, NDArray[np.float32]]:
    """The first calibration samples, in whole batches; fewer of a large model."""
    batch = graph.shapes[graph.inputs[0]][0]
    elements = sum(math.prod(shape) for shape in graph.shapes.values()) // batch
    count = min(len(next(iter(calibration.values()))), JUDGED, max(ENOUGH // elements, 2))
    whole = np.arange(-(-count // batch) * batch)
    return {name: values[whole % len(values)] for name, values in calibration.items()}


def _power(values: torch.Tensor) -> float:
    return float((values * values).sum(dtype=torch.float64))


def _decibels(signal: float, noise: float) -> float | None:
    return 10 * math.log10(signal / noise) if signal and noise else None


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
