"""Cross-layer equalization: channels between two layers are scaled so that the weights of both have equal ranges.

Source
------
M. Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019, section 4.1. With
``W1`` row ``i`` and ``W2`` column ``i`` of largest magnitudes ``r1`` and ``r2``, ``s = sqrt(r1 r2) / r2``: row and bias
are divided by ``s``, the column is multiplied. What is between may be anything that a positive factor passes: ReLU,
pooling, zero padding. Pairs are repeated until nothing moves. Deviation: channels whose weights are (as good as) zero
on either side are left alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf

import numpy as np
from numpy.typing import NDArray

from mapper.graph import AvgPool, Clamp, Conv, FloatGraph, Floats, MaxPool, Node, Pad
from mapper.graph_attention import Respace, Slice
from mapper.graph_operators import Upsample

PASSES = MaxPool, AvgPool, Clamp, Pad, Slice, Respace, Upsample
"""Operators that take channels one by one and pass a positive factor on."""

ROUNDS = 20
"""Passes over all pairs, at most."""

SETTLED = 1e-3
"""Largest relative change of a channel that counts as none."""

DEAD = 1e-6
"""Share of a layer's largest weight below which a channel is left alone."""

Factors = NDArray[np.float64]


@dataclass(frozen=True)
class Pair:
    """Two layers, by name, and the nodes from the first one to the one before the second."""

    first: str
    second: str
    way: tuple[str, ...]


def equalize(graph: FloatGraph, unclamp: bool = False) -> tuple[FloatGraph, list[Pair]]:
    """The same function with weights of equal ranges, and what was equalized.

    Parameters
    ----------
    graph : FloatGraph
        Simplified, not yet pruned or clustered.
    unclamp : bool
        Also take pairs with a ceiling between them (ReLU6), and take the ceiling away, as the paper does: that changes
        the model where values reached it.
    """
    found = list(pairs(graph, unclamp))
    between = {name for pair in found for name in pair.way}
    nodes = {node.name: replace(node, high=inf) if node.name in between else node for node in graph.nodes}
    layers = {name: node for name, node in nodes.items() if isinstance(node, Conv)}
    for _ in range(ROUNDS):
        moved = 0.0
        for pair in found:
            factor = factors(layers[pair.first], layers[pair.second])
            both = rescaled(layers[pair.first], layers[pair.second], factor)
            layers[pair.first], layers[pair.second] = both
            moved = max(moved, float(np.abs(np.log(factor)).max()))
        if moved < SETTLED:
            break
    return replace(graph, nodes=tuple(layers.get(name, node) for name, node in nodes.items())), found


def pairs(graph: FloatGraph, unclamp: bool = False) -> Iterator[Pair]:
    """Layers whose result only one other layer reads, with nothing between that a factor does not pass.

    Layers that came with scales, and tensors that came with levels, are left alone.
    """
    uses = graph.uses()
    readers = {name: node for node in graph.nodes for name in node.inputs}
    for first in graph.nodes:
        node, way = first, [first.name]
        while isinstance(first, Conv) and first.steps is None and _passes(node, unclamp):
            if uses[node.output] != 1 or node.output in graph.outputs or node.output in graph.quantized:
                break
            node = readers[node.output]
            if isinstance(node, Conv):
                if node.steps is None and not node.padding_value:
                    yield Pair(first.name, node.name, tuple(way))
                break
            if not isinstance(node, PASSES) or (isinstance(node, Pad) and node.value):
                break
            way.append(node.name)


def _passes(node: Node, unclamp: bool) -> bool:
    """Whether the clamp of a node passes a positive factor."""
    return not node.sign and node.low in (-inf, 0.0) and (node.high == inf or (unclamp and node.low == 0.0))


def factors(first: Conv, second: Conv) -> Factors:
    """``s`` of every channel between two layers."""
    rows = np.abs(first.weight.astype(np.float64)).reshape(len(first.weight), -1).max(1)
    columns = np.abs(_by_input(second.weight, second.groups)).max((1, 3, 4)).reshape(-1)
    alive = (rows > DEAD * rows.max()) & (columns > DEAD * columns.max())
    safe = np.where(alive, rows * columns, 1.0)
    return np.where(alive, np.sqrt(safe) / np.where(alive, columns, 1.0), 1.0)


def rescaled(first: Conv, second: Conv, factor: Factors) -> tuple[Conv, Conv]:
    """Two layers with the channels between them divided by factors; what they compute stays the same."""
    return _divided(first, factor), _multiplied(second, factor)


def _by_input(weight: Floats, groups: int) -> Factors:
    """Weights as (groups, out channels of one, in channels of one, rows, columns)."""
    out, channels, *kernel = weight.shape
    return weight.astype(np.float64).reshape(groups, out // groups, channels, *kernel)


def _divided(node: Conv, factor: Factors) -> Conv:
    weight = (node.weight / factor[:, None, None, None]).astype(np.float32)
    unfolded = node.unfolded and replace(node.unfolded, factor=node.unfolded.factor / factor)
    normal = node.normal and node.normal.moved(1 / factor)
    return replace(node, weight=weight, bias=(node.bias / factor).astype(np.float32), unfolded=unfolded, normal=normal)


def _multiplied(node: Conv, factor: Factors) -> Conv:
    by_group = factor.reshape(node.groups, 1, -1, 1, 1)

    def scaled(weight: Floats) -> Floats:
        return (_by_input(weight, node.groups) * by_group).astype(np.float32).reshape(weight.shape)

    unfolded = node.unfolded and replace(node.unfolded, weight=scaled(node.unfolded.weight))
    return replace(node, weight=scaled(node.weight), unfolded=unfolded)
