"""Scales that a quantized model came with: what of them cannot be kept, and whether any are missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mapper.bit_widths import Widths, groups
from mapper.fake_quantize import early
from mapper.graph import Conv, FloatGraph
from mapper.integers import Integers
from mapper.quantize_attention import symmetric

NAMED = 4
"""So many names of layers and tensors are told."""


def not_kept(graph: FloatGraph, widths: Widths) -> Iterator[str]:
    """Notes about tensors and layers whose scales are chosen anew, though the model gives them some."""
    levels, centered = early(graph), symmetric(graph)
    wide = [name for name, found in levels.items() if found.bits > widths.tensors[name]]
    if wide:
        yield f"{_listed(wide)}: the model's levels need more bits than the accelerator has there; scales are new"
    shifted = [name for name, found in levels.items() if name in centered and found.zero and name not in wide]
    if shifted:
        yield f"{_listed(shifted)}: operands of attention have the zero point 0, not the model's; scales are new"
    layers = [node.name for node in graph.nodes if isinstance(node, Conv) and not _kept(node, widths)]
    if layers:
        yield f"{_listed(layers)}: the model's weights (less zero points) do not fit the bits there; rounded anew"


def all_given(graph: FloatGraph) -> bool:
    """Whether the model gives the levels of every tensor, so that no samples are needed to find any."""
    levels = early(graph)
    return all(first in levels or name in levels for name, first in groups(graph).items())


def _kept(node: Conv, widths: Widths) -> bool:
    precision = widths.layers[node.name]
    if node.steps is None or precision.scheme != "linear":
        return True
    weight = node.weight.reshape(len(node.weight), -1).astype(np.float64)
    return Integers.given(weight, node.steps, precision.w_bits) is not None


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
