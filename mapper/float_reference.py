"""Execution of a float graph with PyTorch's own operators: the reference for calibration and SQNR."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from dataflows.network import Window
from mapper.functions import function
from mapper.graph import Add, Affine, AvgPool, Clamp, Concat, Conv, Flatten, FloatGraph, MaxPool, Node, Pad, Sign
from mapper.graph_attention import Attention, Constant, Embedding, Lookup, Norm, Respace, Slice
from mapper.graph_operators import ChannelSlice, Multiply, Spread, Upsample

Visit = Callable[[str, torch.Tensor], None]


def run(graph: FloatGraph, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Every tensor of the graph, inputs included.

    Parameters
    ----------
    inputs : mapping from input name to float array (samples, C, H, W), or as the model takes it:
        (samples, F), (samples, L, C). Any number of samples, the same for all inputs.

    Returns
    -------
    dict from tensor name to float32 array (samples, C, H, W)
    """
    values: dict[str, NDArray[np.float32]] = {}

    def keep(name: str, value: torch.Tensor) -> None:
        values[name] = value.numpy()

    execute(graph, inputs, keep)
    return values


def outputs(graph: FloatGraph, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """The outputs of the graph; otherwise as :func:`run`."""
    values: dict[str, NDArray[np.float32]] = {}

    def keep(name: str, value: torch.Tensor) -> None:
        if name in graph.outputs:
            values[name] = value.numpy()

    execute(graph, inputs, keep)
    return values


def execute(graph: FloatGraph, inputs: Mapping[str, NDArray[np.float32]], visit: Visit) -> None:
    """Run the graph, show every tensor to ``visit`` and forget it after its last use."""
    uses = graph.uses()
    live: dict[str, torch.Tensor] = {}
    with torch.inference_mode():
        for name in graph.inputs:
            live[name] = given(graph, name, inputs[name])
            visit(name, live[name])
        for node in graph.nodes:
            result = finished(graph, node, [live[name] for name in node.inputs], len(inputs[graph.inputs[0]]))
            visit(node.output, result)
            live[node.output] = result
            for name in node.inputs:
                uses[name] -= 1
                if not uses[name]:
                    live.pop(name, None)


def _rounded(graph: FloatGraph, name: str, value: torch.Tensor) -> torch.Tensor:
    """Values on the levels that the model gives a tensor."""
    levels = graph.quantized.get(name)
    if levels is None:
        return value
    return torch.fake_quantize_per_tensor_affine(value, levels.scale, levels.zero, levels.least, levels.most)


def given(graph: FloatGraph, name: str, values: NDArray[np.float32]) -> torch.Tensor:
    """An input as its readers see it, (samples, C, H, W)."""
    return _rounded(graph, name, torch.tensor(graph.held(name, values), dtype=torch.float32))


def finished(graph: FloatGraph, node: Node, inputs: list[torch.Tensor], samples: int) -> torch.Tensor:
    """Result of one node as its readers see it, (samples, C, H, W)."""
    result = bounded(node, compute(node, inputs))
    if not node.inputs:
        result = result.expand(samples, *result.shape[1:])
    return _rounded(graph, node.output, result)


def bounded(node: Node, result: torch.Tensor) -> torch.Tensor:
    """The clamp of a node, or its sign."""
    if node.sign:
        return torch.where(result >= 0, 1.0, -1.0)
    return result.clamp(node.low, node.high) if node.low > -inf or node.high < inf else result


def compute(node: Node, inputs: list[torch.Tensor]) -> torch.Tensor:
    """Result of one node before its clamp."""
    if isinstance(node, Constant):
        return torch.from_numpy(node.value)
    x = inputs[0]
    match node:
        case Conv():
            return _conv(node, x)
        case Affine():
            return x * torch.from_numpy(node.scale)[:, None, None] + torch.from_numpy(node.shift)[:, None, None]
        case Clamp() | Sign():
            return x
        case Pad():
            return _padded(x, node.padding, node.value)
        case MaxPool():
            window = node.window
            padded = _padded(x, window.padding, -inf)
            return functional.max_pool2d(padded, window.kernel, window.stride, dilation=window.dilation)
        case AvgPool():
            padded = _padded(x, node.window.padding, 0.0)
            total = functional.avg_pool2d(padded, node.window.kernel, node.window.stride, divisor_override=1)
            return total / torch.from_numpy(node.divisors)
        case Add():
            return x + inputs[1]
        case Concat():
            return torch.cat(inputs, node.axis)
        case Multiply():
            return x * inputs[1]
        case Upsample():
            return x.repeat_interleave(node.factor[0], 2).repeat_interleave(node.factor[1], 3)
        case Spread():
            (rows, columns), (n, c, h, w) = node.stride, x.shape
            y = x.new_zeros(n, c, (h - 1) * rows + 1, (w - 1) * columns + 1)
            y[:, :, ::rows, ::columns] = x
            return y
        case ChannelSlice():
            return x[:, node.start : node.stop]
        case Flatten():
            return x.reshape(x.shape[0], -1, 1, 1)
        case Attention():
            return _attention(node, *inputs)
        case Norm():
            return _norm(node, x)
        case Lookup():
            return function(node.function)(x)
        case Embedding():
            return torch.from_numpy(node.table)[x[:, 0, 0].long()].transpose(1, 2)[:, :, None]
        case Slice():
            return x[..., node.start : node.stop]
        case Respace():
            return x.reshape(*x.shape[:2], node.height, node.width)
    raise TypeError(f"unknown node {type(node).__name__}")


def _conv(node: Conv, x: torch.Tensor) -> torch.Tensor:
    window: Window = node.window
    top, left, bottom, right = window.padding
    padding = (top, left)
    if (top, left) != (bottom, right) or node.padding_value:
        x, padding = _padded(x, window.padding, node.padding_value), (0, 0)
    weight, bias = torch.from_numpy(node.weight), torch.from_numpy(node.bias)
    return functional.conv2d(x, weight, bias, window.stride, padding, window.dilation, node.groups)


def _padded(x: torch.Tensor, padding: tuple[int, int, int, int], value: float) -> torch.Tensor:
    if not any(padding):
        return x
    top, left, bottom, right = padding
    return functional.pad(x, (left, right, top, bottom), value=value)


def _attention(node: Attention, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Attention of (N, C, 1, L) each."""
    queries, keys = q.shape[3], k.shape[3]
    q, k, v = (x.reshape(len(x), node.heads, -1, x.shape[3]).transpose(2, 3) for x in (q, k, v))
    allowed = torch.ones(len(q), 1, queries, keys, dtype=torch.bool)
    if node.causal:
        allowed = allowed.tril(keys - queries)
    if node.lengths is not None:
        counts = torch.tensor(node.lengths)[torch.arange(len(q)) % len(node.lengths)]
        allowed = allowed & (torch.arange(keys) < counts[:, None, None, None])
    result = functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed, scale=node.factor)
    return result.transpose(2, 3).reshape(len(q), -1, 1, queries)


def _norm(node: Norm, x: torch.Tensor) -> torch.Tensor:
    """Norm over the channels of (N, C, H, W)."""
    rows, gain = x.permute(0, 2, 3, 1), torch.from_numpy(node.gain)
    if node.centered:
        result = functional.layer_norm(rows, gain.shape, gain, torch.from_numpy(node.bias), node.epsilon)
    else:
        result = functional.rms_norm(rows, gain.shape, gain, node.epsilon) + torch.from_numpy(node.bias)
    return result.permute(0, 3, 1, 2)
