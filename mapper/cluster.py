"""Clustering: weights of a layer of the float graph come to share few values."""

from __future__ import annotations

from dataclasses import replace

from dataflows.errors import InputError
from mapper.graph import Conv, FloatGraph
from mapper.layer_specs import LayerSpec
from mapper.prune import is_scaling, weighted
from mapper.prune_masks import check_finite
from mapper.weight_sharing import MOST, distinct, share


def cluster(graph: FloatGraph, spec: LayerSpec[int]) -> FloatGraph:
    """The graph with shared weights.

    Parameters
    ----------
    graph : FloatGraph
        Simplified, and pruned if it is to be.
    spec : LayerSpec of int
        Values that the weights of a layer may take, zero included (2 to 256). Without names it holds for every layer
        with weights. Layers that have as few values already are the same objects as before.

    Raises
    ------
    InputError
        For unknown layers, numbers of clusters out of range, weights that are not finite.
    """
    layers = weighted(graph)
    usual = [name for name, node in layers.items() if not is_scaling(node)]
    for name, clusters in spec.resolve(list(layers), "--cluster", usual).items():
        if not 2 <= clusters <= MOST:
            raise InputError(f"layer {name}: clusters must be 2 to {MOST}, zero among them, not {clusters}")
        layers[name] = _shared(layers[name], clusters)
    return replace(graph, nodes=tuple(layers.get(node.name, node) for node in graph.nodes))


def _shared(node: Conv, clusters: int) -> Conv:
    check_finite(node.name, node.weight)
    if distinct(node.plain, clusters - 1) is not None:
        return node
    return replace(node, weight=share(node.weight, clusters).weight, unfolded=None, steps=None, normal=None)
