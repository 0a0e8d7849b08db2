"""Expected values of tensors that follow from batch normalizations alone, without samples.

Source
------
M. Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019, section 4.2.1 and
appendix C: what a batch normalization gives is normally distributed with its shift as mean and its scale as standard
deviation; behind ReLU or ReLU6 it is a clipped normal distribution, whose mean has a closed form. Beyond the paper,
means go through everything linear, the padding of windows included, and sums of two such tensors are normally
distributed as if these were independent.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

import numpy as np
import torch

from mapper.float_reference import compute
from mapper.graph import Add, AvgPool, Clamp, Concat, Conv, Flatten, FloatGraph, Node, Pad
from mapper.graph_attention import Respace, Slice
from mapper.graph_operators import MOVES
from mapper.normals import Normal

LINEAR = Add, AvgPool, Clamp, Concat, Conv, Flatten, Pad, Respace, Slice, *MOVES
"""Nodes of which the mean result is what they make of mean inputs, where they do not clamp."""


def expected_values(graph: FloatGraph) -> dict[str, torch.Tensor]:
    """Expected value of every element, float32 (1, C, H, W), of the tensors for which it is known.

    Nothing is known of the inputs of the graph, and behind maxima, products, functions, attention and signs.
    """
    means: dict[str, torch.Tensor] = {}
    normals: dict[str, Normal] = {}  # of tensors that are not clamped
    with torch.inference_mode():
        for node in graph.nodes:
            clamps, normal = node.low > -inf or node.high < inf, _normal(node, normals)
            if node.sign:
                continue
            if normal is not None:
                mean = torch.from_numpy(normal.clipped_mean(node.low, node.high).astype(np.float32))
                means[node.output] = mean[:, None, None].expand(1, *graph.shapes[node.output][1:])
                if not clamps:
                    normals[node.output] = normal
            elif isinstance(node, LINEAR) and not clamps and all(name in means for name in node.inputs):
                means[node.output] = compute(node, [means[name] for name in node.inputs])
    return means


def _normal(node: Node, normals: Mapping[str, Normal]) -> Normal | None:
    """Distribution of a result before its clamp."""
    match node:
        case Conv():
            return node.normal
        case Clamp():
            return normals.get(node.inputs[0])
        case Add():
            first, second = (normals.get(name) for name in node.inputs)
            return None if first is None or second is None else first.plus(second)
    return None
