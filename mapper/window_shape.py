"""Shapes that the windows of the vector unit compute."""

from __future__ import annotations

from dataflows.network import Window
from mapper.graph import Conv

SIDE = 3
"""Rows and columns of a window in hardware; smaller kernels have weights of zero."""

MOST_STRIDE = 3


def fits(window: Window) -> bool:
    """Whether windows compute it in no more words than the taps it has."""
    taps, words = window.kernel[0] * window.kernel[1], window.stride[0] * window.stride[1]
    small = max(window.kernel) <= SIDE and max(window.stride) <= MOST_STRIDE and 1 < taps >= words
    return small and not any(k > 1 and d > 1 for k, d in zip(window.kernel, window.dilation, strict=True))


def is_window(node: Conv, channels: int) -> bool:
    """Whether a layer of ``channels`` input channels is depthwise and of such a shape."""
    return node.groups == channels == len(node.weight) and fits(node.window)
