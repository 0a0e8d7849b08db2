"""Neighbours of the float graph change places, where the result is the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf

from mapper.graph import FloatGraph, Node


def exchange(graph: FloatGraph, wanted: Callable[[Node, Node], bool]) -> FloatGraph:
    """Exchange each node for which ``wanted(producer, node)`` with its producer, as long as there are any.

    Only where nobody else reads the producer. Tensors keep their names; what was the producer does not clamp any more.
    """
    while True:
        changed = _once(graph, wanted)
        if changed is None:
            return graph
        graph = changed


def _once(graph: FloatGraph, wanted: Callable[[Node, Node], bool]) -> FloatGraph | None:
    uses, nodes = graph.uses(), list(graph.nodes)
    place = {node.output: index for index, node in enumerate(nodes)}
    for index, node in enumerate(nodes):
        before = place.get(node.inputs[0]) if node.inputs else None
        if before is None or uses[nodes[before].output] > 1 or not wanted(nodes[before], node):
            continue
        first = nodes[before]
        nodes[before] = replace(node, inputs=first.inputs, output=first.output)
        nodes[index] = replace(first, inputs=(first.output,), output=node.output, low=-inf, high=inf)
        shapes = {**graph.shapes, first.output: graph.shapes[first.inputs[0]]}
        return replace(graph, nodes=tuple(nodes), shapes=shapes)
    return None
