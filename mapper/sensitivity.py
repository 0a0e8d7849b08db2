"""Sensitivity: what a network's outputs lose when one of its operands has few bits, measured with the float model.

An operand is the weights of one layer, or a tensor that layers with weights read. One at a time is rounded as the
quantizer would, samples run through the network, and the noise in its outputs is compared with the signal. The noise of
several narrow operands is taken to be the sum: they are independent enough for a choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mapper import float_reference
from mapper.activation_scale import activation_scale
from mapper.bit_widths import groups
from mapper.calibrate import Calibration, Samples
from mapper.clipping import clipped
from mapper.graph import Conv, FloatGraph, Quantized
from mapper.integers import Integers
from mapper.precision import Precision

WORK = 4e9
"""Multiplications of a measurement, about: networks with more of them are measured with fewer samples."""

MOST_SAMPLES = 64


@dataclass(frozen=True)
class Operand:
    """The weights of layer ``name``, or the tensor ``name`` and those that share its width.

    ``layers`` are those that multiply it.
    """

    kind: str
    name: str
    layers: tuple[str, ...]


def operands(graph: FloatGraph) -> list[Operand]:
    """Everything that layers multiply, in the order of the layers."""
    root = groups(graph)
    layers = [node for node in graph.nodes if isinstance(node, Conv)]
    tensors = dict.fromkeys(root[node.inputs[0]] for node in layers)
    inputs = [Operand("inputs", t, tuple(n.name for n in layers if root[n.inputs[0]] == t)) for t in tensors]
    return [*inputs, *(Operand("weights", node.name, (node.name,)) for node in layers)]


def measure(
    graph: FloatGraph, samples: Samples, calibration: Calibration, wanted: Mapping[Operand, Iterable[int]],
    tell: Callable[[str], None] = lambda _: None,
) -> dict[Operand, dict[int, float]]:  # fmt: skip
    """Noise of the outputs over their signal, by operand and bits.

    Parameters
    ----------
    graph : the float model
    samples : one array (samples, C, H, W) per input
    calibration : ranges and histograms of all tensors
    wanted : bits to measure, 2 and more, by operand
    tell : hears what is measured
    """
    count = int(np.clip(WORK / max(1, graph.macs()), 1, MOST_SAMPLES))
    few = {name: values[:count] for name, values in samples.items()}
    exact = _outputs(graph, few)
    power = sum(float(np.square(value).sum()) for value in exact)
    found: dict[Operand, dict[int, float]] = {}
    for operand, widths in wanted.items():
        tell(f"{operand.kind} of {operand.name}" if operand.kind == "weights" else f"tensor {operand.name}")
        found[operand] = {}
        for bits in widths:
            rounded = _outputs(narrowed(graph, operand, bits, calibration), few)
            noise = sum(float(np.square(a - b).sum()) for a, b in zip(exact, rounded, strict=True))
            found[operand][bits] = noise / power if power else 0.0
    return found


def narrowed(graph: FloatGraph, operand: Operand, bits: int, calibration: Calibration) -> FloatGraph:
    """The float model with one operand rounded to ``bits`` bits."""
    if operand.kind == "inputs":
        low, high = clipped(calibration.histograms[operand.name], bits)
        scale, zero = activation_scale(low, high, bits)
        levels = Quantized(bits, scale, zero, -(1 << bits - 1), (1 << bits - 1) - 1)
        return replace(graph, quantized={**graph.quantized, operand.name: levels})
    nodes = [_rounded(node, bits) if node.name == operand.name and isinstance(node, Conv) else node
             for node in graph.nodes]  # fmt: skip
    return replace(graph, nodes=tuple(nodes))


def _rounded(node: Conv, bits: int) -> Conv:
    flat = node.weight.reshape(len(node.weight), -1).astype(np.float64)
    integers = Integers.of(flat, Precision(bits, bits))
    scale = integers.scale.astype(np.float32)
    weight = integers.at(np.where(scale > 0, scale, np.float32(1))) * scale[:, None]
    return replace(node, weight=weight.astype(np.float32).reshape(node.weight.shape))


def _outputs(graph: FloatGraph, samples: Samples) -> list[NDArray[np.float32]]:
    values = float_reference.outputs(graph, samples)
    return [values[name] for name in graph.outputs]
