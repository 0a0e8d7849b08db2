"""Which layers run as windows in the vector unit, and how they are cut into jobs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import ceil, inf

from dataflows.config import Config
from dataflows.errors import InputError
from dataflows.formats import pitch
from dataflows.network import Conv, Layer, MaxPool, Tensor
from dataflows.sections import WINDOW_TAPS
from mapper.array_plan import array_plan
from mapper.conv_plan import Options
from mapper.window_shape import SIDE, fits

CHUNK_BYTES = 2048
"""Jobs of less than this are not worth their commands."""


@dataclass(frozen=True)
class Chunk:
    """Padded rows [first, end) of an image in one job, and the output rows that they complete.

    ``skip`` rows pass before the first that completes one.
    """

    first: int
    end: int
    skip: int
    out_first: int
    out_count: int


@dataclass(frozen=True)
class WindowPlan:
    """A layer as jobs of whole padded rows, slice of channels after slice.

    ``height`` and ``width`` are those of the padded image as far as windows reach; ``channels`` are those of all slices
    but the last, ``rows`` those of all jobs but the last of an image.
    """

    height: int
    width: int
    channels: int
    rows: int
    stride: tuple[int, int]

    def chunks(self) -> Iterator[Chunk]:
        """Jobs of one image."""
        for first in range(0, self.height, self.rows):
            yield self.chunk(first, min(first + self.rows, self.height))

    def chunk(self, first: int, end: int) -> Chunk:
        """The job of padded rows [first, end)."""
        stride = self.stride[0]
        skip = SIDE - 1 - first if first < SIDE else (SIDE - 1 - first) % stride
        count = max(0, ceil((end - first - skip) / stride))
        return Chunk(first, end, skip, (first + skip - SIDE + 1) // stride, count)


def suits(layer: Layer, source: Tensor, target: Tensor) -> bool:
    """Whether windows compute a layer in no more words than the taps it has."""
    if isinstance(layer, Conv):
        depthwise = layer.groups == source.shape[3] == target.shape[3]
    elif isinstance(layer, MaxPool):
        depthwise = layer.window.kernel == (SIDE, SIDE)
    else:
        return False
    return depthwise and fits(layer.window)


def window_plan(cfg: Config, options: Options, layer: Layer, source: Tensor, target: Tensor) -> WindowPlan | None:
    """How ``layer`` runs as windows; None if it does not, if its rows are too long or its slices too thin."""
    if cfg.vector is None or not isinstance(layer, Conv | MaxPool) or not suits(layer, source, target):
        return None
    (_, out_rows, out_cols, channels), stride = target.shape, layer.window.stride
    height, width = ((n - 1) * s + SIDE for n, s in zip((out_rows, out_cols), stride, strict=True))
    most_blocks = min(cfg.param_entries, cfg.vector.window_words // width)
    blocks = ceil(channels / cfg.lanes)
    # Three rows on chip keep loads far enough ahead to hide the latency of the memory; one is better than none.
    for slices, share in [*product(range(1, blocks + 1), (3, 2)), *((slices, 1) for slices in range(1, blocks + 1))]:
        depth = min(channels, ceil(blocks / slices) * cfg.lanes)
        room = cfg.memory.operand_bytes // share - cfg.operand_word_bytes
        row = width * pitch(depth, source.bits)
        if ceil(depth / cfg.lanes) > most_blocks or row > room:
            continue
        if depth < channels and _loads(cfg, options, source, depth) > _without(cfg, options, layer, source, target):
            return None
        rows = min(max(CHUNK_BYTES, cfg.memory.operand_bytes // 8), room) // row
        return WindowPlan(height, width, depth, min(max(1, rows), height), stride)
    return None


def _loads(cfg: Config, options: Options, source: Tensor, depth: int) -> float:
    """Cycles to read a tensor in slices of ``depth`` channels, a burst per pixel and slice."""
    images, height, width, channels = source.shape
    beats = pitch(depth, source.bits) / min(cfg.bus_bytes, options.bytes_per_cycle) + 1
    return images * height * width * ceil(channels / depth) * max(beats, options.latency / cfg.bus.reads_in_flight)


def _without(cfg: Config, options: Options, layer: Conv | MaxPool, source: Tensor, target: Tensor) -> float:
    """Cycles without windows."""
    if isinstance(layer, MaxPool):
        images, height, width, channels = target.shape
        return images * height * width * ceil(channels / cfg.lanes) * WINDOW_TAPS
    try:
        return array_plan(cfg, layer, source, target, options).cycles
    except InputError:
        return inf
