"""Rewrites of the float graph that bring signs to the layers whose results they are taken of.

The sign of a maximum is the maximum of signs, and a clamp around zero (hardtanh) changes no sign.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np

from mapper.graph import Clamp, Conv, Flatten, FloatGraph, MaxPool, Node, Sign


def sign_early(first: Node, node: Node) -> bool:
    """A sign changes places with the maxima and flattenings before it."""
    return isinstance(node, Sign) and isinstance(first, Flatten | MaxPool) and keeps_sign(first)


def keeps_sign(node: Node) -> bool:
    """Whether the clamp of a node leaves signs as they are."""
    return not node.sign and node.low < 0 <= node.high


def merge_sign(first: Node, node: Node) -> Node | None:
    """A sign becomes part of the layer before; a clamp before it goes."""
    if not isinstance(node, Sign) or not keeps_sign(first):
        return None
    if isinstance(first, Conv):
        return replace(first, output=node.output, low=-inf, high=inf, sign=True)
    if isinstance(first, Clamp):
        return replace(node, inputs=first.inputs)
    return None


def alone(graph: FloatGraph) -> FloatGraph:
    """Signs that are left become layers of their own, which multiply by 1."""
    return replace(graph, nodes=tuple(_layer(n, graph) if isinstance(n, Sign) else n for n in graph.nodes))


def _layer(node: Sign, graph: FloatGraph) -> Conv:
    channels = graph.shapes[node.inputs[0]][1]
    weight, bias = np.ones((channels, 1, 1, 1), np.float32), np.zeros(channels, np.float32)
    return Conv(
        node.name, node.inputs, node.output, where=node.where, sign=True, weight=weight, bias=bias, groups=channels
    )
