"""A convolution as the array sees it: blocks of output channels, reduction order, on-chip layout.

Three layouts of an input tile in the input buffer (``docs/architecture.md``, section 4):

``rows``     dense NHWC rows; the reduction runs over (kernel column, channel) without a break per kernel row
``taps``     the same bytes, one run per tap: for dilation, channel groups and channel slices
``stacked``  the kernel's rows of a pixel side by side, so that the whole kernel is one run: for few channels
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dataflows.config import Config
from dataflows.network import Conv, Tensor
from dataflows.vocabulary import Dim


@dataclass(frozen=True)
class Block:
    """One block of at most ``lanes`` output channels, and the input channels it depends on."""

    first: int  # output channel
    count: int
    source: int  # first input channel


@dataclass(frozen=True)
class ConvShape:
    """Geometry of one convolution layer; pixels of 1x1 layers are folded into one row."""

    cfg: Config
    layer: Conv
    images: int
    height: int
    width: int
    channels: int  # input channels in the tensor
    out_height: int
    out_width: int
    out_channels: int

    @staticmethod
    def of(cfg: Config, layer: Conv, source: Tensor, target: Tensor) -> ConvShape:
        """Geometry of ``layer`` between two tensors."""
        n, h, w, c = source.shape
        _, oh, ow, oc = target.shape
        window = layer.window
        if window.kernel == (1, 1) and window.stride == (1, 1) and not any(window.padding):
            n, h, w, oh, ow = 1, 1, n * h * w, 1, n * oh * ow
        return ConvShape(cfg, layer, n, h, w, c, oh, ow, oc)

    @cached_property
    def merged(self) -> int:
        """Channel groups computed together as one block-diagonal product."""
        groups = self.layer.groups
        if groups == 1:
            return 1
        per_in, per_out = self.channels // groups, self.out_channels // groups
        most = max(1, min(self.cfg.array.rows // per_in, self.cfg.lanes // per_out))
        return next(m for m in range(min(most, groups), 0, -1) if groups % m == 0)

    @cached_property
    def depth(self) -> int:
        """Input channels one block depends on."""
        return self.channels // self.layer.groups * self.merged

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """Blocks of output channels in channel order."""
        per = self.out_channels // self.layer.groups * self.merged
        return tuple(
            Block(g * per + first, min(self.cfg.lanes, per - first), g * self.depth)
            for g in range(self.layer.groups // self.merged)
            for first in range(0, per, self.cfg.lanes)
        )

    @property
    def uniform(self) -> bool:
        """Whether neighbouring blocks can share jobs: all but the last full and, where channels run in time, of one source."""
        full = all(b.count == self.cfg.lanes for b in self.blocks[:-1])
        return full and (self.layer.groups == 1 or self.cfg.dataflow.temporal is not Dim.CHANNEL)

    def nest(self, layout: str, channels: int) -> tuple[int, int, int]:
        """Reduction words as (word, kernel_x, kernel_y) counts for ``channels`` input channels."""
        kh, kw = self.layer.window.kernel
        run = {"rows": kw * channels, "taps": channels, "stacked": kh * kw * channels}[layout]
        words = -(-run // self.cfg.array.rows)
        return {"rows": (words, 1, kh), "taps": (words, kw, kh), "stacked": (words, 1, 1)}[layout]

    def layouts(self) -> tuple[str, ...]:
        """Layouts this layer can use."""
        dense = self.layer.groups == 1 and self.layer.window.dilation[1] == 1
        if not dense:
            return ("taps",)
        return ("rows", "stacked") if self.layer.window.kernel[0] > 1 else ("rows",)

    def order(self, layout: str, channels: int) -> NDArray[np.int64]:
        """For every row of every reduction word: index into (kernel row, kernel column, channel), or -1."""
        kh, kw = self.layer.window.kernel
        index = np.arange(kh * kw * channels).reshape(kh, kw, channels)
        runs = {
            "rows": index.reshape(kh, kw * channels),
            "taps": index.reshape(kh * kw, channels),
            "stacked": index.transpose(1, 0, 2).reshape(1, -1),
        }[layout]
        rows = self.cfg.array.rows
        words = -(-runs.shape[1] // rows)
        padded = np.full((runs.shape[0], words * rows), -1, np.int64)
        padded[:, : runs.shape[1]] = runs
        return padded.reshape(-1, rows)

    def matrix(self, block: Block) -> NDArray[np.int8]:
        """Weights of one block as (kernel row, kernel column, depth, lanes), zero where there is none."""
        layer, groups = self.layer, self.layer.groups
        per_in, per_out = self.channels // groups, self.out_channels // groups
        kh, kw = layer.window.kernel
        dense = np.zeros((kh, kw, self.depth, self.cfg.lanes), np.int8)
        for channel in range(block.count):
            first = (block.first + channel) // per_out * per_in - block.source
            dense[:, :, first : first + per_in, channel] = layer.weight[block.first + channel].transpose(1, 2, 0)
        return dense
