"""Bias correction: what rounding adds to the mean of an output channel is taken off its bias.

Source
------
M. Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019, section 4.2, in the
form of its appendix D: the means of a layer's sums in the float model and in the rounded one are compared on samples,
layer after layer, earlier ones corrected already.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from mapper.float_reference import bounded, compute
from mapper.graph import Conv, FloatGraph, Floats, Node
from mapper.rounded_model import RoundedModel, Samples, Values

COUNT = 64
"""Samples that means are taken over, at most."""


def correct_bias(model: RoundedModel, samples: Samples) -> FloatGraph:
    """The graph with biases that make up for the mean error of every output channel on the samples.

    Layers whose result is a sign are left alone.
    """
    corrected: dict[str, Floats] = {}

    def visit(node: Node, exact: Values, found: Values) -> torch.Tensor:
        result = compute(model.rounded(node), found)
        if isinstance(node, Conv) and not node.sign:
            error = (result.double() - compute(node, exact).double()).mean((0, 2, 3))
            corrected[node.name] = (node.bias - error.numpy()).astype(np.float32)
            result = result - error.float()[:, None, None]
        return model.on_levels(node.output, bounded(node, result))

    graph = model.graph
    model.walk({name: values[:COUNT] for name, values in samples.items()}, visit)
    nodes = [replace(n, bias=corrected[n.name]) if isinstance(n, Conv) and n.name in corrected else n
             for n in graph.nodes]  # fmt: skip
    return replace(graph, nodes=tuple(nodes))
