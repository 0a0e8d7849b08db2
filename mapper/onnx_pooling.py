"""ONNX operators: pooling and means."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflows.network import Window
from mapper.graph import AvgPool, MaxPool
from mapper.import_registry import activation, windowed
from mapper.onnx_layers import window
from mapper.onnx_registry import Call, onnx_operator
from mapper.simplify import always_hits

Around = tuple[int, int, int, int]


def _window(call: Call) -> tuple[Window, Around]:
    """The window of a pooling node, and the padding that the node has; with ``ceil_mode`` the window's has more."""
    kernel = call.ints("kernel_shape")
    if kernel is None:
        raise call.error(f"{call.op} lacks the attribute kernel_shape")
    strides, around, dilation = window(call, kernel)
    size, after = call.shape(0)[2:], list(around[2:])
    for axis in range(2):
        span = dilation[axis] * (kernel[axis] - 1) + 1
        room = size[axis] + around[axis] + around[2 + axis] - span
        count = room // strides[axis] + 1
        if call.attribute("ceil_mode", 0):
            count = -(-room // strides[axis]) + 1
            if (count - 1) * strides[axis] >= size[axis] + around[axis]:
                count -= 1  # a window may not start beyond the map
            after[axis] += max(0, (count - 1) * strides[axis] - room)
    padding = around[0], around[1], after[0], after[1]
    made = Window((kernel[0], kernel[1]), (strides[0], strides[1]), padding, (dilation[0], dilation[1]))
    return made, (around[0], around[1], around[2], around[3])


def _divisors(window: Window, size: tuple[int, int], around: Around, count_padding: bool) -> NDArray[np.int32]:
    """What each window's sum is divided by: elements of the map, and of the node's padding if that counts."""
    counts = []
    for axis, length in enumerate(window.output_size(*size)):
        start = np.arange(length) * window.stride[axis] - around[axis]
        end = np.minimum(start + window.kernel[axis], size[axis] + around[2 + axis])
        if not count_padding:
            start, end = np.maximum(start, 0), np.minimum(end, size[axis])
        counts.append(np.maximum(end - start, 1))
    return np.outer(*counts).astype(np.int32)


@onnx_operator("MaxPool")
def max_pool(call: Call) -> Any:
    """Max pooling whose indices nobody reads."""
    x = activation(call.builder, call.value(0), call.op, 4)
    found, _ = _window(call)
    if not always_hits(found, x.shape[2], x.shape[3]):
        raise call.error(f"a window of {call.op} covers nothing but padding (map {x.shape[2:]}, {found})")
    return windowed(call.builder, MaxPool, x, x.shape[1], found)


def average(call: Call) -> Any:
    """Average pooling."""
    x = activation(call.builder, call.value(0), call.op, 4)
    found, around = _window(call)
    if found.dilation != (1, 1):
        raise call.error(f"{call.op} is supported without dilation only, not with {found.dilation}")
    by = _divisors(found, (x.shape[2], x.shape[3]), around, bool(call.attribute("count_include_pad", 0)))
    return windowed(call.builder, AvgPool, x, x.shape[1], found, divisors=by)


@onnx_operator("AveragePool")
def average_pool(call: Call) -> Any:
    """Average pooling."""
    return average(call)


@onnx_operator("GlobalAveragePool")
def global_average_pool(call: Call) -> Any:
    """Mean of the map."""
    return call.run("mean", self=call.value(0), dim=[2, 3], keepdim=True)


@onnx_operator("GlobalMaxPool")
def global_max_pool(call: Call) -> Any:
    """Maximum of the map."""
    return call.run("adaptive_max_pool2d", self=call.value(0), output_size=[1, 1])[0]


@onnx_operator("ReduceMean")
def reduce_mean(call: Call) -> Any:
    """Mean over some dimensions."""
    axes = call.ints("axes", 1)
    return call.run("mean", self=call.value(0), dim=axes, keepdim=bool(call.attribute("keepdims", 1)))
