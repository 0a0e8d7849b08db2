"""Pruning: weights of the float graph that matter least become zero (Deep Compression, Han et al., 2016)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from mapper.graph import Conv, FloatGraph
from mapper.layer_specs import LayerSpec
from mapper.prune_masks import Mask, Weights, by_channel, by_magnitude, by_pattern, check_density, check_finite


@dataclass(frozen=True)
class PruneSpec:
    """What to prune, by layer; what is not given leaves layers alone.

    Attributes
    ----------
    density : share of all weights that stay, the largest
    pattern : (N, M): at most N of M consecutive input channels stay, in the order of the model's inputs
    channels : share of output channels that stay, those of the largest norm; the others become zero, with their biases
    """

    density: LayerSpec[float] = field(default_factory=LayerSpec)
    pattern: LayerSpec[tuple[int, int]] = field(default_factory=LayerSpec)
    channels: LayerSpec[float] = field(default_factory=LayerSpec)


def prune(graph: FloatGraph, spec: PruneSpec) -> FloatGraph:
    """The graph with pruned weights: whole channels first, then patterns, then the smallest weights.

    Each step sees what the one before left, so densities are shares of all weights of a layer. Layers that nothing is
    pruned in are the same objects as before. Without names, densities and patterns hold for every layer with weights
    (a batch normalization that stands alone has none), channels for those that are no output of the network.

    Raises
    ------
    InputError
        For unknown layers, densities out of range, weights that are not finite.
    """
    layers = weighted(graph)
    names, usual = list(layers), [name for name, node in layers.items() if not is_scaling(node)]
    inner = [name for name in usual if layers[name].output not in graph.outputs]
    for name, density in spec.channels.resolve(names, "--prune-channels", inner).items():
        check_density(name, density)
        layers[name] = _masked(layers[name], partial(by_channel, density=density), biases=True)
    for name, (most, group) in spec.pattern.resolve(names, "--prune-pattern", usual).items():
        layers[name] = _masked(layers[name], partial(by_pattern, most=most, group=group))
    for name, density in spec.density.resolve(names, "--prune", usual).items():
        check_density(name, density)
        layers[name] = _masked(layers[name], partial(by_magnitude, density=density))
    return replace(graph, nodes=tuple(layers.get(node.name, node) for node in graph.nodes))


def weighted(graph: FloatGraph) -> dict[str, Conv]:
    """Layers with weights, by name."""
    return {node.name: node for node in graph.nodes if isinstance(node, Conv)}


def is_scaling(node: Conv) -> bool:
    """Whether a layer only scales channels: a batch normalization, or arithmetic with constants."""
    return node.groups == len(node.weight) and node.weight[0].size == 1


def changed(before: FloatGraph, after: FloatGraph) -> set[str]:
    """Names of layers that pruning or clustering has changed."""
    return {old.name for old, new in zip(before.nodes, after.nodes, strict=True) if old is not new}


def _masked(node: Conv, choose: Callable[[Weights], Mask], biases: bool = False) -> Conv:
    """A layer with the weights that ``choose`` keeps; ``biases``: and biases only of channels that keep any."""
    check_finite(node.name, node.weight)
    mask = choose(node.weight)
    if np.array_equal(mask, node.weight != 0):
        return node
    bias = np.where(mask.reshape(len(mask), -1).any(1), node.bias, 0) if biases else node.bias
    unfolded = node.unfolded and replace(node.unfolded, weight=np.where(mask, node.unfolded.weight, 0))
    return replace(node, weight=np.where(mask, node.weight, 0), bias=bias, unfolded=unfolded, normal=None)
