"""A convolution as the array sees it: blocks of output channels, reduction words, and what a tile takes on chip.

Layouts of an input tile in the input buffer (``docs/architecture.md``, section 4):

``rows``     dense NHWC rows; the reduction runs over (kernel column, channel) without a break per kernel row
``taps``     the same bytes, one run per tap: for dilation, channel groups and channel slices
``stacked``  the kernel's rows of a pixel side by side, so that the whole kernel is one run: for few channels
``strips1``, ``strips2``, ...  columns of one or more outputs, row after row, likewise (:mod:`mapper.strips`)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import ceil, prod

from dataflows.config import Config
from dataflows.errors import InputError
from dataflows.formats import pitch
from dataflows.multipliers import Reduction
from dataflows.network import Conv, Tensor
from dataflows.vocabulary import Dim, Kind
from mapper.packed import granule, weight_bits
from mapper.strips import OUTPUTS, PREFIX, Strips
from mapper.tiles import Grid, window_extent


@dataclass(frozen=True)
class Block:
    """One block of at most ``lanes`` output channels, and the input channels it depends on."""

    first: int  # output channel
    count: int
    source: int  # first input channel


@dataclass(frozen=True)
class ConvShape:
    """Geometry of one convolution layer; without a codec, pixels of 1x1 layers are folded into one row.

    ``bits`` are the widths of inputs and weights, ``result_bits`` that of what leaves the vector unit,
    ``residual_bits`` that of an addition's other operand; ``in_granule`` and ``out_granule`` are the channels that make
    whole bytes of the input, and of all tensors that the results meet on their way out.
    """

    cfg: Config
    layer: Conv
    images: int
    height: int
    width: int
    channels: int  # input channels in the tensor
    out_height: int
    out_width: int
    out_channels: int
    bits: tuple[int, int]
    result_bits: int
    residual_bits: int
    in_granule: int = 1
    out_granule: int = 1

    @staticmethod
    def of(
        cfg: Config, layer: Conv, source: Tensor, target: Tensor, *behind: Tensor, residual: Tensor | None = None
    ) -> ConvShape:
        """Geometry of ``layer`` between two tensors.

        In its epilogue come ``residual``, added to ``target``, and the results ``behind``: of the addition, then of a
        pooling.
        """
        n, h, w, c = source.shape
        _, oh, ow, oc = target.shape
        window = layer.window
        pointwise = window.kernel == (1, 1) and window.stride == (1, 1) and not any(window.padding)
        matrix = cfg.dataflow.input.kind not in (Kind.BUS, Kind.NEIGHBOUR)  # others arrange pixels themselves
        if pointwise and not (cfg.codec and matrix and h * w > 1):  # compressed tensors want whole rows
            n, h, w, oh, ow = 1, 1, n * h * w, 1, n * oh * ow
        bits = source.bits, weight_bits(cfg, layer)
        result = behind[0] if residual else target
        granules = granule(source), granule(target, *behind, residual or target)
        widths = result.bits, (residual or target).bits
        return ConvShape(cfg, layer, n, h, w, c, oh, ow, oc, bits, *widths, *granules)

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
        whole = [m for m in range(1, groups + 1) if groups % m == 0 and self._whole_bytes(m, per_in, per_out)]
        if self.binary:
            if whole[0] > 1:
                raise InputError(
                    f"layer {self.layer.name}: its groups of {per_in} to {per_out} channels are no whole bytes of one "
                    "bit; one-bit layers need groups of a multiple of 8 channels, or none"
                )
            return 1
        most = max(1, min(self.reduction.depth // per_in, self.cfg.lanes // per_out))
        return max((m for m in whole if m <= most), default=whole[0])

    def _whole_bytes(self, merged: int, per_in: int, per_out: int) -> bool:
        """Whether all products of ``merged`` groups begin at whole bytes of all tensors."""
        aligned = merged * per_in % self.in_granule == 0 and merged * per_out % self.out_granule == 0
        return aligned or merged == self.layer.groups

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

    @cached_property
    def reduction(self) -> Reduction:
        """What a reduction word is."""
        return self.cfg.reduction(*self.bits)

    @property
    def binary(self) -> bool:
        """Whether operands are +1 and -1: then no weight is zero."""
        return self.bits[1] == 1

    def padded(self, channels: int) -> int:
        """Channels, counting what is left of a pixel's last byte."""
        return -(-channels // self.in_granule) * self.in_granule

    def pixel_bytes(self, channels: int) -> int:
        """Bytes of ``channels`` input channels."""
        return pitch(channels, self.bits[0])

    def layouts(self) -> tuple[str, ...]:
        """Layouts this layer can use."""
        dense = self.layer.groups == 1 and self.layer.window.dilation[1] == 1
        if self.binary and self.padded(self.channels) > self.channels:  # no weight is zero: nothing between pixels
            dense = False
        if not dense:
            return ("taps",)
        window = self.layer.window  # with one kernel row, stacking leaves out the rows between strides
        if window.kernel[0] > 1 or window.stride[0] > 1:
            return "rows", "stacked", *self._strips()
        return ("rows",)

    def _strips(self) -> Iterator[str]:
        """Layouts in strips, where reduction words are so long that they spare some."""
        window = self.layer.window
        if self.cfg.multiplier is None or window.kernel[0] == 1 or window.dilation[0] > 1:
            return
        words = prod(self.nest("rows", self.channels))
        for outputs in OUTPUTS if self.cfg.dataflow.temporal is Dim.PIXEL else OUTPUTS[:1]:
            layout = f"{PREFIX}{outputs}"
            between = Strips.of(window, outputs).columns > window.kernel[1]
            if self.binary and between:  # no weight is zero
                continue
            if self.out_width % outputs == 0 and self.nest(layout, self.channels)[0] < words:
                yield layout

    def strips(self, layout: str) -> Strips | None:
        """Strips of a layout that has them."""
        return Strips.named(self.layer.window, layout)

    def nest(self, layout: str, channels: int) -> tuple[int, int, int]:
        """Reduction words as (word, kernel_x, kernel_y) counts for ``channels`` input channels."""
        kh, kw = self.layer.window.kernel
        words = ceil(self.run(layout, channels) / self.reduction.depth)
        return {"rows": (words, 1, kh), "taps": (words, kw, kh)}.get(layout, (words, 1, 1))

    def run(self, layout: str, channels: int) -> int:
        """Consecutive reduction indices: what is left of a pixel's last byte lies between pixels."""
        kh, kw = self.layer.window.kernel
        if layout == "taps":
            return channels
        strips = self.strips(layout)
        row = strips.columns if strips else kw
        return self.padded(channels) * (kw if layout == "rows" else (kh - 1) * row + kw)

    def word_bytes(self, blocks: int) -> int:
        """Weight bytes of one reduction word of one job, of ``blocks`` blocks where channels run in time."""
        return self.reduction.weight_bytes * (blocks if self.channels_in_time else 1)

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
        strips = self.strips(layout)
        if strips:
            width = ceil(cols / strips.outputs) * strips.columns
        stacked = rows * self.layer.window.kernel[0]
        return images * (stacked if layout == "stacked" else height) * width * self.pixel_bytes(channels)
