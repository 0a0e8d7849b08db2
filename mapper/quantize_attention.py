"""Quantization of the layers of transformers (``docs/numerics.md``, section 9)."""

from __future__ import annotations

from math import inf

import numpy as np
import torch
from numpy.typing import NDArray

from dataflows import attention as ints
from dataflows.errors import InputError
from dataflows.network import Layer, Tensor
from mapper import graph_attention as floats
from mapper.bit_widths import ROWS, groups
from mapper.functions import function
from mapper.graph import FloatGraph, Floats, Node
from mapper.weights import check_scale

BITS = 8
"""Width of operands of attention, norms, tables and embeddings."""

Common = tuple[str, tuple[str, ...], str, int, int]


def symmetric(graph: FloatGraph) -> set[str]:
    """Tensors that have the zero point 0: queries, keys and values, and what has their scale."""
    root = groups(graph)
    wanted = {root[name] for node in graph.nodes if isinstance(node, floats.Attention) for name in node.inputs}
    return {name for name, first in root.items() if first in wanted}


def around_zero(low: float, high: float) -> tuple[float, int]:
    """Scale and zero point of an 8-bit tensor of -127 to 127 with values in ``low``..``high``."""
    scale = np.float32(max(-low, high, 0.0) / 127)
    return (1.0, 0) if scale < 1e-30 else (float(scale), 0)


def attention_layer(node: Node, common: Common, sources: list[Tensor], target: Tensor) -> Layer | None:
    """The integer layer of a node of a transformer; None for other nodes.

    Parameters
    ----------
    common : name, inputs, output, least and largest code of the layer
    """
    if isinstance(node, ROWS) and target.bits != BITS:
        raise InputError(
            f"layer {node.name}: {node.op} has operands of {BITS} bits, not {target.bits}; map transformers on a "
            "configuration with numbers of 8 bits"
        )
    match node:
        case floats.Attention():
            q, k, v = sources
            check_scale(node.name, q.scale * k.scale * node.factor * 256 / np.log(2))
            check_scale(node.name, v.scale / target.scale)
            factor = float(np.float32(node.factor))
            return ints.Attention(*common, node.heads, factor, node.causal, node.lengths)
        case floats.Norm():
            return ints.Norm(*common, node.centered, float(np.float32(node.epsilon)), node.gain, node.bias)
        case floats.Lookup():
            return ints.Lookup(*common, node.function, lookup_table(node, sources[0], target))
        case floats.Embedding():
            return ints.Embedding(*common, codes(node.table, target))
        case floats.Constant():
            return ints.Constant(*common, codes(node.value.transpose(0, 2, 3, 1), target))
        case floats.Slice():
            return ints.Slice(*common, node.start, node.stop)
    return None


def lookup_table(node: floats.Lookup, source: Tensor, target: Tensor) -> NDArray[np.int8]:
    """The result for every code, -128 first."""
    real = source.scale * (np.arange(-128, 128, dtype=np.float64) - source.zero)
    result: NDArray[np.float64] = function(node.function)(torch.from_numpy(real)).numpy()
    if node.low > -inf or node.high < inf:
        result = result.clip(node.low, node.high)
    return codes(result, target)


def codes(values: Floats | NDArray[np.float64], target: Tensor) -> NDArray[np.int8]:
    """Values as integers of a tensor."""
    found = np.rint(values.astype(np.float64) / target.scale) + target.zero
    return np.ascontiguousarray(np.clip(found, target.lowest, target.highest).astype(np.int8))
