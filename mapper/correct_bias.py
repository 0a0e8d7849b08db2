"""Bias correction: what rounding adds to the mean of an output channel is taken off its bias.

Source
------
M. Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019. From samples, its
appendix D: the means of a layer's sums in the float model and in the rounded one are compared, layer after layer,
earlier ones corrected already. Free of data, its section 4.2: the mean error is what the errors of the weights make of
the expected input, which batch normalization tells (``mapper/expected_values.py``). Deviation: padding of the layer's
window counts as what it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from dataflows.errors import InputError
from mapper.bit_widths import Widths
from mapper.calibrate import Calibration
from mapper.expected_values import expected_values
from mapper.float_reference import bounded, compute
from mapper.graph import Conv, FloatGraph, Floats, Node
from mapper.quantization_options import DATA_FREE, Source
from mapper.quantize import rounded_model
from mapper.rounded_model import RoundedModel, Samples, Values

COUNT = 64
"""Samples that means are taken over, at most."""


def corrected_biases(model: RoundedModel, samples: Samples) -> dict[str, Floats]:
    """Biases by layer that make up for the mean error of every output channel on the samples.

    Layers whose result is a sign have none.
    """
    corrected: dict[str, Floats] = {}

    def visit(node: Node, exact: Values, found: Values, _: torch.Tensor) -> torch.Tensor:
        result = compute(model.rounded(node), found)
        if isinstance(node, Conv) and not node.sign:
            error = (result.double() - compute(node, exact).double()).mean((0, 2, 3))
            corrected[node.name] = (node.bias - error.numpy()).astype(np.float32)
            result = result - error.float()[:, None, None]
        return model.on_levels(node.output, bounded(node, result))

    model.walk({name: values[:COUNT] for name, values in samples.items()}, visit)
    return corrected


def expected_biases(model: RoundedModel) -> dict[str, Floats]:
    """Biases by layer that make up for the expected error of every output channel; no samples are needed.

    The error is what the errors of the weights make of the expected values of the layer's input. Layers whose result is
    a sign, or of whose input nothing is known, have none.
    """
    found: dict[str, Floats] = {}
    means = expected_values(model.graph)
    for node in correctable(model.graph):
        if node.inputs[0] in means:
            errors = replace(node, weight=model.weights[node.name] - node.weight, bias=np.zeros_like(node.bias))
            with torch.inference_mode():
                error = compute(errors, [means[node.inputs[0]]]).double().mean((0, 2, 3))
            found[node.name] = (node.bias - error.numpy()).astype(np.float32)
    return found


def correctable(graph: FloatGraph) -> list[Conv]:
    """Layers with biases that a mean error may be taken off."""
    return [node for node in graph.nodes if isinstance(node, Conv) and not node.sign]


def biases_by(source: Source, model: RoundedModel, samples: Samples) -> tuple[dict[str, Floats], str]:
    """Biases by layer, corrected from ``samples`` or free of data, and a note for who reads the table.

    Raises
    ------
    InputError
        Where no samples are to be taken and no layer's input is known without.
    """
    if source == "samples":
        found = corrected_biases(model, samples)
        return found, f"biases of {len(found)} layers are corrected from samples"
    found = expected_biases(model)
    count = len(correctable(model.graph))
    if not found:
        raise InputError(
            f"--correct-bias {DATA_FREE} (which it is without --calibration): none of the model's {count} layers with "
            "biases has a batch normalization before it (exporters may have folded it into weights; those of pruned "
            "and clustered layers do not count); give --calibration FILE.npz and --correct-bias samples"
        )
    rest = f"; those of {count - len(found)}, of whose input nothing is known without data, are not"
    return found, f"biases of {len(found)} layers are corrected without data{rest if len(found) < count else ''}"


def corrected(
    model: RoundedModel, biases: Mapping[str, Floats], calibration: Calibration, widths: int | Widths, one_scale: bool
) -> RoundedModel:
    """The rounded model with corrected biases; its float graph stays what it was.

    Parameters
    ----------
    model : RoundedModel
        As :func:`mapper.quantize.rounded_model` made it from the same ``calibration``, ``widths`` and ``one_scale``.
    biases : float32 arrays by layer
    """
    result = rounded_model(with_biases(model.graph, biases), calibration, widths, one_scale)
    return replace(result, graph=model.graph, biases=biases)


def with_biases(graph: FloatGraph, biases: Mapping[str, Floats]) -> FloatGraph:
    """The graph with other biases."""
    nodes = [replace(n, bias=biases[n.name]) if isinstance(n, Conv) and n.name in biases else n for n in graph.nodes]
    return replace(graph, nodes=tuple(nodes))
