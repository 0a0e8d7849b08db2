"""Rewrites of the float graph: batch normalization, activations and padding move into their neighbours.

Every rewrite keeps the result (up to float rounding).  What cannot move stays a node of its own; a batch
normalization that stands alone becomes a depthwise 1x1 convolution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from dataflows.network import Window
from mapper.exchange import exchange
from mapper.fake_quantize import absorb
from mapper.graph import Add, Affine, AvgPool, Clamp, Concat, Conv, Flatten, FloatGraph, MaxPool, Node, Pad, Unfolded
from mapper.graph_attention import Constant, Embedding, Norm, Respace, Slice
from mapper.graph_operators import MOVES, Multiply, Spread
from mapper.keep_levels import keep_levels, may_merge
from mapper.normals import Normal
from mapper.simplify_sign import alone, merge_sign, sign_early

_CHOOSE = Flatten, Respace, Slice, *MOVES
"""Nodes whose results are elements of their input (and zeros)."""

POWER = 64
"""The integer weight of multiplication by powers of two: with one, too, these stay exact."""

Merge = Callable[[Node, Node], Node | None]


def simplify(graph: FloatGraph) -> FloatGraph:
    """The same function with fewer nodes, no :class:`Affine`, and every tensor named after its node."""
    graph = keep_levels(absorb(_remove_dead(graph)))
    graph = _fuse(graph, _merge_affine)
    graph = replace(graph, nodes=tuple(_depthwise(n) if isinstance(n, Affine) else n for n in graph.nodes))
    graph = exchange(graph, _clamp_before_flatten)
    graph = _fuse(graph, _merge_clamp)
    graph = alone(_fuse(exchange(graph, sign_early), merge_sign))
    graph = _fuse(graph, _pad_merger(graph))
    return _name_tensors(_copy_forwarded_inputs(graph))


def _fuse(graph: FloatGraph, merge: Merge) -> FloatGraph:
    """Offer every node and its producer, where it is the producer's only reader, to ``merge``."""
    uses = graph.uses()
    made: dict[str, Node] = {}  # in execution order
    for node in graph.nodes:
        first = made.get(node.inputs[0]) if node.inputs else None
        alone = first is not None and len(node.inputs) == 1 and uses[first.output] == 1
        if first is not None and alone and may_merge(graph.quantized, first, node):
            merged = merge(first, node)
            if merged is not None:
                del made[first.output]
                node = merged
        made[node.output] = node
    return replace(graph, nodes=tuple(made.values()))


def _merge_affine(first: Node, node: Node) -> Node | None:
    if not isinstance(node, Affine) or _clamps(first):
        return None
    scale, shift = node.scale.astype(np.float64), node.shift.astype(np.float64)
    if isinstance(first, Conv):
        weight = (first.weight * scale[:, None, None, None]).astype(np.float32)
        bias = (first.bias * scale + shift).astype(np.float32)
        factor = scale if first.unfolded is None else first.unfolded.factor * scale
        return replace(
            first, weight=weight, bias=bias, output=node.output, low=node.low, high=node.high,
            unfolded=Unfolded(first.plain, factor), steps=None if first.steps is None else first.steps * np.abs(scale),
            normal=_normal(first, node),
        )  # fmt: skip
    if isinstance(first, Affine):
        both = (first.scale * scale).astype(np.float32), (first.shift * scale + shift).astype(np.float32)
        return replace(
            first, scale=both[0], shift=both[1], output=node.output, low=node.low, high=node.high,
            normal=_normal(first, node),
        )  # fmt: skip
    if isinstance(first, Norm):
        gain, bias = (first.gain * scale).astype(np.float32), (first.bias * scale + shift).astype(np.float32)
        return replace(first, gain=gain, bias=bias, output=node.output, low=node.low, high=node.high)
    if isinstance(first, Embedding):
        table = (first.table * scale + shift).astype(np.float32)
        return replace(first, table=table, output=node.output, low=node.low, high=node.high)
    return None


def _normal(first: Conv | Affine, node: Affine) -> Normal | None:
    """How the result of two nodes in one is distributed."""
    if node.normal is not None or first.normal is None:
        return node.normal
    return first.normal.moved(node.scale.astype(np.float64), node.shift.astype(np.float64))


def _depthwise(node: Affine) -> Conv:
    weight = node.scale.reshape(-1, 1, 1, 1)
    exact = bool((np.abs(np.frexp(node.scale)[0]) == 0.5).all())
    return Conv(
        node.name, node.inputs, node.output, node.low, node.high, node.where, weight, node.shift, groups=len(weight),
        steps=np.abs(node.scale.astype(np.float64)) / POWER if exact else None, normal=node.normal,
    )  # fmt: skip


def _merge_clamp(first: Node, node: Node) -> Node | None:
    if not isinstance(node, Clamp) or isinstance(first, (*_CHOOSE, Embedding, Constant)):
        return None
    if first.sign:
        return replace(first, output=node.output) if node.low <= -1 and node.high >= 1 else None
    low, high = (min(max(bound, node.low), node.high) for bound in (first.low, first.high))
    return replace(first, output=node.output, low=low, high=high)


def _clamp_before_flatten(first: Node, node: Node) -> bool:
    """What only chooses elements and the clamp after it change places, so that the clamp can join what came before."""
    zeros = not isinstance(first, Spread) or node.low <= 0 <= node.high
    return isinstance(node, Clamp) and isinstance(first, _CHOOSE) and zeros


def _pad_merger(graph: FloatGraph) -> Merge:
    """Padding joins the window that reads it; before a maximum only where nothing is below it."""
    bounds = {0.0: _not_negative(graph), -1.0: {node.output for node in graph.nodes if node.sign}}

    def merge(first: Node, node: Node) -> Node | None:
        if not isinstance(first, Pad) or _clamps(first):
            return None
        if isinstance(node, Pad) and node.value == first.value:
            padding = _sum(first.padding, node.padding)
            return replace(node, inputs=first.inputs, padding=padding)
        if isinstance(node, MaxPool):
            _, _, height, width = graph.shapes[first.inputs[0]]
            window = _padded(node.window, first.padding)
            if first.inputs[0] not in bounds[first.value] or not always_hits(window, height, width):
                return None
            return replace(node, inputs=first.inputs, window=window)
        if isinstance(node, Conv) and (not any(node.window.padding) or node.padding_value == first.value):
            window = _padded(node.window, first.padding)
            return replace(node, inputs=first.inputs, window=window, padding_value=first.value)
        if isinstance(node, AvgPool) and not first.value:
            return replace(node, inputs=first.inputs, window=_padded(node.window, first.padding))
        return None

    return merge


def always_hits(window: Window, height: int, width: int) -> bool:
    """Whether every position of the window has an element of the map in it."""
    sizes = window.output_size(height, width)
    for axis, size in enumerate((height, width)):
        taps = np.arange(window.kernel[axis]) * window.dilation[axis] - window.padding[axis]
        at = np.arange(sizes[axis])[:, None] * window.stride[axis] + taps
        if not ((at >= 0) & (at < size)).any(1).all():
            return False
    return True


def _padded(window: Window, padding: tuple[int, int, int, int]) -> Window:
    return replace(window, padding=_sum(window.padding, padding))


def _sum(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]


def _clamps(node: Node) -> bool:
    return node.sign or node.low > -np.inf or node.high < np.inf


def _not_negative(graph: FloatGraph) -> set[str]:
    """Tensors that hold no negative value, whatever the input."""
    known: set[str] = set()
    for node in graph.nodes:
        keeps = isinstance(node, (Add, Multiply, Concat, MaxPool, AvgPool, Pad, Clamp, *_CHOOSE))
        keeps = keeps and not (isinstance(node, Pad) and node.value < 0)
        if node.low >= 0 or (keeps and node.high >= 0 and all(name in known for name in node.inputs)):
            known.add(node.output)
    return known


def _remove_dead(graph: FloatGraph) -> FloatGraph:
    needed, kept = set(graph.outputs), []
    for node in reversed(graph.nodes):
        if node.output in needed:
            needed.update(node.inputs)
            kept.append(node)
    return replace(graph, nodes=tuple(reversed(kept)))


def _copy_forwarded_inputs(graph: FloatGraph) -> FloatGraph:
    """An input that is an output too gets a layer of its own: every output is made by a layer."""
    nodes, outputs, shapes, ranks = list(graph.nodes), list(graph.outputs), dict(graph.shapes), dict(graph.ranks)
    for index, name in enumerate(outputs):
        if name in graph.inputs:
            copy = f"{name}.copy"
            nodes.append(Clamp(copy, (name,), copy, where=f"output {index}"))
            outputs[index], shapes[copy], ranks[copy] = copy, shapes[name], ranks[name]
    return replace(graph, nodes=tuple(nodes), outputs=tuple(outputs), shapes=shapes, ranks=ranks)


def _name_tensors(graph: FloatGraph) -> FloatGraph:
    """Give every node's output the node's name; forget shapes of tensors that are gone."""
    names = {name: name for name in graph.inputs} | {node.output: node.name for node in graph.nodes}
    nodes = tuple(replace(n, inputs=tuple(names[i] for i in n.inputs), output=n.name) for n in graph.nodes)
    signs = {node.output for node in graph.nodes if node.sign}  # they have levels of their own
    return FloatGraph(
        graph.name,
        graph.inputs,
        tuple(names[name] for name in graph.outputs),
        {new: graph.shapes[old] for old, new in names.items()},
        {names[old]: rank for old, rank in graph.ranks.items() if old in names},
        nodes,
        {names[old]: levels for old, levels in graph.quantized.items() if old in names and old not in signs},
        graph.notes,
    )
