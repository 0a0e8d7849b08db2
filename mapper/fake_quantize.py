"""Fake quantization in a float model: scales and ranges that it was trained with, and that it keeps."""

from __future__ import annotations

from dataclasses import replace

from dataflows.errors import InputError
from mapper.graph import Clamp, Concat, FakeQuantize, Flatten, FloatGraph, MaxPool, Node, Quantized
from mapper.graph_attention import Respace, Slice
from mapper.graph_operators import ChannelSlice, Upsample

PASS_ON = MaxPool, Clamp, Flatten, Respace, Slice, ChannelSlice, Upsample
"""Operators whose input may be quantized instead of their result."""


def quantized(scale: float, zero: int, least: int, most: int) -> Quantized:
    """Levels of ``torch.fake_quantize_per_tensor_affine``. Raises ``ValueError`` for those that cannot be used."""
    bits = (most - least).bit_length()
    if not 2 <= bits <= 16 or not scale > 0 or not least <= zero <= most:
        raise ValueError(f"{least}..{most} with zero point {zero} and scale {scale:g}")
    lowest = -(1 << bits - 1)
    shift = 0 if lowest <= least and most < -lowest else lowest - least
    return Quantized(bits, scale, zero + shift, least + shift, most + shift)


def absorb(graph: FloatGraph) -> FloatGraph:
    """Note the levels of every tensor instead of nodes that round it.

    Raises
    ------
    InputError
        When one tensor is rounded to different levels, side by side; one after the other is a layer of its own.
    """
    names: dict[str, str] = {}
    found: dict[str, Quantized] = {}
    rounded: set[str] = set()
    nodes: list[Node] = []
    for original in graph.nodes:
        node = replace(original, inputs=tuple(names.get(name, name) for name in original.inputs))
        if not isinstance(node, FakeQuantize):
            nodes.append(node)
            continue
        source = node.inputs[0]
        if original.inputs[0] in rounded and found[source] != node.levels:  # rounded twice, one after the other
            nodes.append(Concat(node.name, node.inputs, node.output, where=node.where))
            source = node.output
        names[node.output] = source
        rounded.add(node.output)
        if found.setdefault(source, node.levels) != node.levels:
            raise InputError(f"{node.where or node.name}: its input is rounded to other levels elsewhere")
    outputs = tuple(names.get(name, name) for name in graph.outputs)
    ranks = {**graph.ranks, **{names[name]: rank for name, rank in graph.ranks.items() if name in names}}
    return replace(graph, nodes=tuple(nodes), outputs=outputs, ranks=ranks, quantized={**graph.quantized, **found})


def early(graph: FloatGraph) -> dict[str, Quantized]:
    """Levels by tensor, those of maxima, clamps and flattened maps also for what these are made of.

    Rounding keeps the order of values, so it may as well come first.
    """
    levels = dict(graph.quantized)
    uses = graph.uses()
    for node in reversed(graph.nodes):
        if isinstance(node, PASS_ON) and node.output in levels and uses[node.inputs[0]] == 1:
            levels.setdefault(node.inputs[0], levels[node.output])
    return levels
