"""Levels that the model gives to tensors around operators that keep them: what is rounded twice stays so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mapper.fake_quantize import PASS_ON
from mapper.graph import Clamp, Concat, FloatGraph, Node, Pad, Quantized
from mapper.graph_operators import Spread

KEEPS = *PASS_ON, Pad, Spread
"""Operators whose results have the levels of their input."""


def keep_levels(graph: FloatGraph) -> FloatGraph:
    """Make explicit where values move from one set of levels to another.

    A maximum, clamp or the like of a rounded tensor is on the same levels; where the model rounds its result to
    others, a concatenation of this one tensor does that. A clamp is such a concatenation itself.
    """
    levels, shapes, nodes = dict(graph.quantized), dict(graph.shapes), list[Node]()
    for node in graph.nodes:
        before = levels.get(node.inputs[0]) if isinstance(node, KEEPS) else None
        after = levels.get(node.output)
        if before is None or after is None or _same(before, after):
            if before is not None:
                levels[node.output] = before if after is None else _both(before, after)
            nodes.append(node)
        elif isinstance(node, Clamp):
            nodes.append(Concat(node.name, node.inputs, node.output, node.low, node.high, node.where))
        else:
            between = f"{node.output}.before"
            nodes.append(replace(node, output=between))
            nodes.append(Concat(f"{node.name}.requantize", (between,), node.output, where=node.where))
            shapes[between], levels[between] = shapes[node.output], before
    return replace(graph, nodes=tuple(nodes), shapes=shapes, quantized=levels)


def may_merge(levels: Mapping[str, Quantized], first: Node, node: Node) -> bool:
    """Whether ``node`` may become part of its producer: not if it computes with what that has rounded."""
    return first.output not in levels or isinstance(node, Clamp) or isinstance(first, Pad)


def _same(a: Quantized, b: Quantized) -> bool:
    return (a.scale, a.zero) == (b.scale, b.zero)


def _both(a: Quantized, b: Quantized) -> Quantized:
    """Levels that are in both, of which the integers are the same."""
    return replace(b, least=max(a.least, b.least), most=min(a.most, b.most))
