"""The sliding window that convolution and pooling share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from dataflows.network import Window

Element = TypeVar("Element", bound=np.generic)


def pad(x: NDArray[Element], window: Window, value: int) -> NDArray[Element]:
    """``x`` (N, H, W, C) with the window's border, filled with ``value``."""
    top, left, bottom, right = window.padding
    return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=value)


def taps(padded: NDArray[Element], window: Window) -> Iterator[tuple[int, int, NDArray[Element]]]:
    """For each kernel position (row, column): the elements (N, OH, OW, C) it sees, as a view."""
    _, height, width, _ = padded.shape
    rows, cols = Window(window.kernel, window.stride, dilation=window.dilation).output_size(height, width)
    (row_stride, col_stride), (row_dilation, col_dilation) = window.stride, window.dilation
    for row in range(window.kernel[0]):
        top = row * row_dilation
        for col in range(window.kernel[1]):
            left = col * col_dilation
            bottom, right = top + row_stride * (rows - 1) + 1, left + col_stride * (cols - 1) + 1
            yield row, col, padded[:, top:bottom:row_stride, left:right:col_stride]
