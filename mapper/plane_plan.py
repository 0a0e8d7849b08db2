"""A plan for the array over the output plane: tiles of pixels, batches of output channels, slices of input channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import ceil

from dataflows.config import Config
from dataflows.network import Window
from dataflows.plane_order import PlaneOrder
from mapper.conv_shape import ConvShape
from mapper.search import Search
from mapper.tiles import Tile


@dataclass(frozen=True)
class Batch:
    """Output channels whose sums share an accumulator bank.

    They depend on ``inputs`` input channels from ``source``: all of one channel group, or those of ``groups`` whole
    ones.
    """

    number: int
    first: int
    count: int
    groups: int
    source: int
    inputs: int


@dataclass(frozen=True)
class Part:
    """The share of a slice of the input channels (counted in the batch) in the sums of a batch: one load of inputs."""

    first: int
    channels: int


@dataclass(frozen=True)
class Chunk:
    """Output channels of one job (counted in the batch), of ``groups`` channel groups if there are several."""

    first: int
    count: int
    groups: int


def order_of(cfg: Config, window: Window) -> PlaneOrder:
    """Which inputs neighbours hand on: where pixels lie a stride apart, as far back as PEs remember."""
    rows, cols = cfg.array.rows, cfg.array.cols
    kernel, depth = window.kernel, cfg.stores.input or 0
    fresh = [min(s, k) if d == 1 else k for s, k, d in zip(window.stride, kernel, window.dilation, strict=True)]
    if fresh[1] > depth:
        fresh[1] = kernel[1]
    if fresh[0] * kernel[1] > depth:
        fresh[0] = kernel[0]
    return PlaneOrder(rows, cols, *kernel, fresh[0], fresh[1])


@dataclass(frozen=True)
class PlanePlan:
    """One way to run a layer. Cycles and traffic are estimates for choosing.

    Attributes
    ----------
    shape : ConvShape
    order : PlaneOrder
        Inputs of a tile on chip.
    batch_channels : int
        Most output channels of a batch, of one channel group.
    together : int
        Whole channel groups in a batch; then ``batch_channels`` are those of one.
    slice_channels : int
        Most input channels of a channel group on chip at a time.
    chunk_channels : int
        Most output channels of a job (channel groups, if several are together).
    weights_resident : bool
        The weights of the whole layer stay on chip.
    """

    shape: ConvShape
    order: PlaneOrder
    batch_channels: int
    together: int
    slice_channels: int
    chunk_channels: int
    weights_resident: bool = False
    cycles: float = 0
    dram_bytes: int = 0
    search: Search | None = None
    on_chip: float = 0  # not estimated

    # -- channels ---------------------------------------------------------------------------------

    @property
    def group_inputs(self) -> int:
        """Input channels of a channel group."""
        return self.shape.channels // self.shape.layer.groups

    @property
    def group_outputs(self) -> int:
        """Output channels of a channel group."""
        return self.shape.out_channels // self.shape.layer.groups

    @cached_property
    def batches(self) -> tuple[Batch, ...]:
        """All output channels in order."""
        ins, outs = self.group_inputs, self.group_outputs
        result: list[Batch] = []
        for group in range(0, self.shape.layer.groups, self.together):
            groups = min(self.together, self.shape.layer.groups - group)
            step = outs if groups > 1 else self.batch_channels
            for first in range(0, outs, step):
                count = groups * outs if groups > 1 else min(step, outs - first)
                result.append(Batch(len(result), group * outs + first, count, groups, group * ins, groups * ins))
        return tuple(result)

    def parts(self, batch: Batch) -> list[Part]:
        """Loads of a batch: slices of one channel group's channels, or all channels of several."""
        if batch.groups > 1 or not self.sliced:
            return [Part(0, batch.inputs)]
        step = self.slice_channels
        return [Part(c, min(step, batch.inputs - c)) for c in range(0, batch.inputs, step)]

    def chunks(self, batch: Batch) -> Iterator[Chunk]:
        """Jobs of a batch for each of its parts."""
        each = self.group_outputs if batch.groups > 1 else 1  # output channels per unit of a chunk
        for first in range(0, batch.count, each * self.chunk_channels):
            count = min(each * self.chunk_channels, batch.count - first)
            yield Chunk(first, count, count // each if batch.groups > 1 else 1)

    @property
    def sliced(self) -> bool:
        """Whether not all channels that a sum depends on are on chip together."""
        return self.slice_channels < self.group_inputs

    # -- pixels -----------------------------------------------------------------------------------

    @property
    def folded(self) -> bool:
        """Whether pixels have no neighbours, so that any of them fill the array, row by row."""
        return folds(self.shape)

    @cached_property
    def tiles(self) -> tuple[Tile, ...]:
        """All tiles in order, of one image each."""
        s, rows, cols = self.shape, self.shape.cfg.array.rows, self.shape.cfg.array.cols
        if self.folded:
            rows, cols = 1, rows * cols
        return tuple(
            Tile((i, i + 1), (y, min(y + rows, s.out_height)), (x, min(x + cols, s.out_width)))
            for i in range(s.images)
            for y in range(0, s.out_height, rows)
            for x in range(0, s.out_width, cols)
        )

    # -- on chip ----------------------------------------------------------------------------------

    @property
    def channel_bytes(self) -> int:
        """Input buffer bytes of one channel of a tile."""
        return channel_bytes(self.shape.cfg, self.order)

    def weight_bytes(self, channels: int, inputs: int) -> int:
        """Weight bytes of some output channels."""
        return channels * inputs * self.order.steps * self.shape.cfg.act_bytes

    @property
    def layer_bytes(self) -> int:
        """Weight bytes of the layer."""
        return self.weight_bytes(self.shape.out_channels, self.group_inputs)

    # -- time -------------------------------------------------------------------------------------

    @property
    def steps(self) -> int:
        """Cycles of the array, but for fill and drain: the dataflow's cycle law."""
        rows, last = self.shape.cfg.array.rows, self.batches[-1]
        parts = [self.group_inputs] if last.groups > 1 else [part.channels for part in self.parts(last)]
        sums = len(self.tiles) * self.shape.out_channels
        return sums * sum(max(rows, channels * self.order.steps) for channels in parts)

    @property
    def new_elements(self) -> int:
        """Input elements that enter the array; every PE its own in every step would be ``steps`` times its PEs."""
        return len(self.tiles) * self.shape.out_channels * self.group_inputs * self.order.new_elements

    @property
    def summary(self) -> dict[str, object]:
        """What is worth telling about the plan."""
        return {
            "tiles": len(self.tiles), "batch_channels": self.batch_channels, "groups_together": self.together,
            "slice_channels": self.slice_channels, "chunk_channels": self.chunk_channels,
            "weights_resident": self.weights_resident, "inputs_entering": self.new_elements,
        }  # fmt: skip


def folds(shape: ConvShape) -> bool:
    """Whether the pixels of a layer are one row that can be broken anywhere."""
    window = shape.layer.window
    alone = window.kernel == window.stride == (1, 1) and not any(window.padding)
    return alone and shape.images == shape.height == 1


def channel_bytes(cfg: Config, order: PlaneOrder) -> int:
    """Input buffer bytes of one channel of a tile."""
    return order.words * order.elements * cfg.act_bytes


def spread(extent: int, most: int) -> int:
    """Size of the parts of an extent, of at most ``most`` each, that are as equal as they can be."""
    return ceil(extent / ceil(extent / most))
