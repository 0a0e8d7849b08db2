"""Windows of convolutions and pooling: from the framework's arguments to padding and divisors as counted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dataflows.network import Window

Pair = tuple[int, int]


def pair(value: int | Sequence[int]) -> Pair:
    """One number for both axes, or one each."""
    if isinstance(value, int):
        return value, value
    values = [int(v) for v in value]
    return (values[0], values[0]) if len(values) == 1 else (values[0], values[1])


def same_padding(kernel: Pair, dilation: Pair) -> tuple[int, int, int, int]:
    """Padding 'same': the odd element goes to the bottom and to the right."""
    total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    top, left = total[0] // 2, total[1] // 2
    return top, left, total[0] - top, total[1] - left


def pool_window(kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool, size: Pair) -> Window:
    """Pooling window over a map of ``size``; with ``ceil_mode`` the padding is extended to the last window."""
    after = list(padding)
    for axis in range(2):
        span = dilation[axis] * (kernel[axis] - 1) + 1
        room = size[axis] + 2 * padding[axis] - span
        count = room // stride[axis] + 1
        if ceil_mode:
            count = -(-room // stride[axis]) + 1
            if (count - 1) * stride[axis] >= size[axis] + padding[axis]:
                count -= 1  # a window may not start beyond the map
            after[axis] += max(0, (count - 1) * stride[axis] - room)
    return Window(kernel, stride, (padding[0], padding[1], after[0], after[1]), dilation)


def divisors(window: Window, size: Pair, padding: Pair, count_padding: bool) -> NDArray[np.int32]:
    """What PyTorch divides each window's sum by: elements of the map, and of ``padding`` if counted."""
    counts = []
    for axis, length in enumerate(window.output_size(*size)):
        start = np.arange(length) * window.stride[axis] - padding[axis]
        end = np.minimum(start + window.kernel[axis], size[axis] + padding[axis])
        if not count_padding:
            start, end = np.maximum(start, 0), np.minimum(end, size[axis])
        counts.append(np.maximum(end - start, 0))
    # A window without any element sums to zero: what it is divided by does not matter.
    return np.maximum(np.outer(*counts), 1).astype(np.int32)


def adaptive_window(size: Pair, output: Pair) -> Window | None:
    """Adaptive pooling as a plain window, or None where its windows are not all alike."""
    kernel, stride = [], []
    for length, count in zip(size, output, strict=True):
        index = np.arange(count)
        start, end = index * length // count, -(-(index + 1) * length // count)
        sizes, steps = set((end - start).tolist()), set(np.diff(start).tolist())
        if len(sizes) > 1 or len(steps) > 1 or 0 in steps:
            return None
        kernel.append(sizes.pop())
        stride.append(steps.pop() if steps else length)
    return Window((kernel[0], kernel[1]), (stride[0], stride[1]))
