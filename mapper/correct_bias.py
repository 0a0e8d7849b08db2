"""Bias correction: what rounding adds to the mean of an output channel is taken off its bias.

Source
------
M. Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019, section 4.2, in the
form of its appendix D: the means of a layer's sums in the float model and in the rounded one are compared on samples,
layer after layer, earlier ones corrected already.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from mapper.bit_widths import Widths
from mapper.calibrate import Calibration
from mapper.float_reference import bounded, compute
from mapper.graph import Conv, FloatGraph, Floats, Node
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


def corrected(
    model: RoundedModel, calibration: Calibration, widths: int | Widths, samples: Samples, one_scale: bool
) -> RoundedModel:
    """The rounded model with corrected biases; its float graph stays what it was.

    Parameters
    ----------
    model : RoundedModel
        As :func:`mapper.quantize.rounded_model` made it from the same ``calibration``, ``widths`` and ``one_scale``.
    samples : float array (samples, C, H, W) per input
    """
    biases = corrected_biases(model, samples)
    result = rounded_model(with_biases(model.graph, biases), calibration, widths, one_scale)
    return replace(result, graph=model.graph, biases=biases)


def with_biases(graph: FloatGraph, biases: Mapping[str, Floats]) -> FloatGraph:
    """The graph with other biases."""
    nodes = [replace(n, bias=biases[n.name]) if isinstance(n, Conv) and n.name in biases else n for n in graph.nodes]
    return replace(graph, nodes=tuple(nodes))
