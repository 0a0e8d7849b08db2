"""A convolution as the array sees it: blocks of output channels, reduction words, and what a tile takes on chip.

Three layouts of an input tile in the input buffer (``docs/architecture.md``, section 4):

``rows``     dense NHWC rows; the reduction runs over (kernel column, channel) without a break per kernel row
``taps``     the same bytes, one run per tap: for dilation, channel groups and channel slices
``stacked``  the kernel's rows of a pixel side by side, so that the whole kernel is one run: for few channels
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import ceil

from dataflows.config import Config
from dataflows.network import Conv, Tensor
from dataflows.vocabulary import Dim, Kind
from mapper.tiles import Grid, window_extent


@dataclass(frozen=True)
class Block:
    """One block of at most ``lanes`` output channels, and the input channels it depends on."""

    first: int  # output channel
    count: int
    source: int  # first input channel


@dataclass(frozen=True)
class ConvShape:
    """Geometry of one convolution layer; without a codec, pixels of 1x1 layers are folded into one row."""

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
        pointwise = window.kernel == (1, 1) and window.stride == (1, 1) and not any(window.padding)
        matrix = cfg.dataflow.input.kind not in (Kind.BUS, Kind.NEIGHBOUR)  # others arrange pixels themselves
        if pointwise and not (cfg.codec and matrix and h * w > 1):  # compressed tensors want whole rows
            n, h, w, oh, ow = 1, 1, n * h * w, 1, n * oh * ow
        return ConvShape(cfg, layer, n, h, w, c, oh, ow, oc)

    @property
    def source_view(self) -> tuple[int, int, int, int]:
        """(images, rows, columns, channels) of the input."""
        return self.images, self.height, self.width, self.channels

    @property
    def target_view(self) -> tuple[int, int, int, int]:
        """(images, rows, columns, channels) of the output."""
        return self.images, self.out_height, self.out_width, self.out_channels

    # -- output channels --------------------------------------------------------------------------

    @property
    def channels_in_time(self) -> bool:
        """Whether output channels run in time, so that one job computes all blocks of a group."""
        return self.cfg.dataflow.temporal is Dim.CHANNEL

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
        """Whether neighbouring blocks can share jobs.

        All but the last must be full and, where channels run in time, depend on the same input channels.
        """
        full = all(b.count == self.cfg.lanes for b in self.blocks[:-1])
        return full and (self.layer.groups == 1 or not self.channels_in_time)

    # -- reduction --------------------------------------------------------------------------------

    def layouts(self) -> tuple[str, ...]:
        """Layouts this layer can use."""
        dense = self.layer.groups == 1 and self.layer.window.dilation[1] == 1
        if not dense:
            return ("taps",)
        window = self.layer.window  # with one kernel row, stacking leaves out the rows between strides
        return ("rows", "stacked") if window.kernel[0] > 1 or window.stride[0] > 1 else ("rows",)

    def nest(self, layout: str, channels: int) -> tuple[int, int, int]:
        """Reduction words as (word, kernel_x, kernel_y) counts for ``channels`` input channels."""
        kh, kw = self.layer.window.kernel
        run = {"rows": kw * channels, "taps": channels, "stacked": kh * kw * channels}[layout]
        words = ceil(run / self.cfg.array.rows)
        return {"rows": (words, 1, kh), "taps": (words, kw, kh), "stacked": (words, 1, 1)}[layout]

    def word_bytes(self, blocks: int) -> int:
        """Weight bytes of one reduction word of one job, of ``blocks`` blocks where channels run in time."""
        return self.cfg.act_bytes * self.cfg.array.rows * self.cfg.lanes * (blocks if self.channels_in_time else 1)

    # -- tiles: sizes are (images, rows, columns) of output pixels ---------------------------------

    def grid(self, size: tuple[int, int, int]) -> Grid:
        """Places of a tile's pixels in the accumulator."""
        images, rows, cols = size
        flow, array = self.cfg.dataflow, self.cfg.array
        group = array.rows if flow.rows is Dim.PIXEL else array.cols if flow.cols is Dim.PIXEL else 1
        across = next(d for d in range(min(cols, group), group + 1) if group % d == 0)
        down = group // across
        return Grid(group, across, down, ceil(cols / across) * across, ceil(rows / down) * down, images)

    def extent(self, rows: int, cols: int) -> tuple[int, int]:
        """Input rows and columns under ``rows`` x ``cols`` output pixels, padding included.

        With a codec, tiles of whole output rows have whole input rows, be their last columns used or not: blocks end
        where rows do.
        """
        height, width = window_extent(self.layer.window, rows, cols)
        if self.cfg.codec and cols == self.out_width:
            width = max(width, self.layer.window.padding[1] + self.width)
        return height, width

    def input_bytes(self, layout: str, size: tuple[int, int, int], channels: int) -> int:
        """Bytes of one tile, ``channels`` deep, in the input buffer."""
        images, rows, cols = size
        height, width = self.extent(rows, cols)
        stacked = rows * self.layer.window.kernel[0]
        return images * (stacked if layout == "stacked" else height) * width * channels * self.cfg.act_bytes
