"""The vector jobs of a pooling layer: windows reduced from words of the operand buffer, wherever they come from."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import ceil

import numpy as np
from numpy.typing import NDArray

from dataflows import isa
from dataflows.errors import InputError
from dataflows.network import AvgPool, MaxPool
from mapper import loads, packed
from mapper.context import Context, parameters
from mapper.nests import Loops
from mapper.numbers import IDENTITY, significand
from mapper.pipeline import Load
from mapper.tiles import Tile
from mapper.vector_jobs import Pass, operand_pass


class Pooling:
    """One pooling layer: its parameter entries, its rectangles, its jobs.

    Parameters
    ----------
    layer : MaxPool or AvgPool
    index : int
        Number under which its jobs are marked.
    """

    def __init__(self, context: Context, layer: MaxPool | AvgPool, index: int):
        self.context, self.layer, self.index = context, layer, index
        self.maximum = isinstance(layer, MaxPool)
        tensors = context.network.tensors
        self.source, self.target = tensors[layer.inputs[0]], tensors[layer.output]
        if not self.maximum and self.source.bits == 1 and any(layer.window.padding):
            raise InputError(
                f"layer {layer.name}: an average over the border of one-bit tensor {self.source.name} needs zeros, "
                "which it does not have; leave its padding out, or give the tensor more bits"
            )
        divisors = sorted({divisor for _, divisor in self.rectangles()})
        self._entries = {d: context.constants.add(self._entry(d)) for d in divisors}

    @property
    def stays(self) -> bool:
        """Whether the entries of all divisors fit on chip together."""
        return len(self._entries) <= self.context.cfg.param_entries

    @property
    def padding(self) -> int:
        """What lies outside of the image."""
        return self.source.lowest if self.maximum else self.source.zero

    def rectangles(self) -> Iterator[tuple[Tile, int]]:
        """Output pixels of one divisor each."""
        images, rows, cols, _ = self.target.shape
        if isinstance(self.layer, MaxPool):
            yield Tile((0, images), (0, rows), (0, cols)), 1
            return
        d = self.layer.divisors
        ys = [0, *(y for y in range(1, rows) if (d[y] != d[y - 1]).any()), rows]
        xs = [0, *(x for x in range(1, cols) if (d[:, x] != d[:, x - 1]).any()), cols]
        for y in pairwise(ys):
            for x in pairwise(xs):
                yield Tile((0, images), y, x), int(d[y[0], x[0]])

    def _entry(self, divisor: int) -> NDArray[np.uint8]:
        """Parameter entry of one divisor; the zero points of all elements of a window are subtracted as a bias."""
        multiplier, shift, bias = *IDENTITY, 0
        if not self.maximum:
            scale = np.float32(self.source.scale) / (np.float32(divisor) * np.float32(self.target.scale))
            multiplier, shift = significand(scale, self.layer.name)
            bias = -self.layer.window.kernel[0] * self.layer.window.kernel[1] * self.source.zero
        lanes = np.ones(self.context.cfg.lanes, np.int64)
        return parameters(self.context.cfg, lanes * bias, lanes * multiplier, lanes * shift)

    def parameter_load(self, divisor: int, number: int) -> Load:
        """The entry of a divisor; loaded again for another ``number``."""
        key = (self.index, "param", divisor, number)
        return loads.parameter_load(self.context, key, self._entries[divisor], 1, self.index)

    def job(
        self, tile: Tile, channels: tuple[int, int], address: int, layout: loads.Layout, param_at: int, mark: bool
    ) -> None:
        """VECTOR and STORE jobs of a tile of output pixels.

        ``address`` is the byte address of the first window's first element; ``layout`` tells where the others lie.
        """
        layer, window, cfg = self.layer, self.layer.window, self.context.cfg
        images, rows, cols = tile.size
        first, end = channels
        loops: Loops = [
            (window.kernel[1], window.dilation[1] * layout.col),
            (window.kernel[0], window.dilation[0] * layout.row),
            (ceil((end - first) / cfg.lanes), packed.word_bytes(cfg, self.source)),
            (cols, window.stride[1] * layout.col),
            (rows, window.stride[0] * layout.row),
            (images, layout.image),
        ]
        reach = sum((n - 1) * stride for n, stride in loops[:2] + loops[3:])  # from the first to the last pixel read
        reach += packed.span(self.source, first, end - first)[1]
        operand_pass(
            self.context,
            Pass(
                source=self.source.name,
                address=address, size=reach, loops=loops, tile=tile, first=first, count=end - first,
                output=self.target.name, view=self.target.shape, param_at=param_at,
                reduce=isa.Reduce.MAX if self.maximum else isa.Reduce.SUM,
                requantize={"zero": 0 if self.maximum else self.target.zero, "low": layer.low, "high": layer.high},
                index=self.index, name=layer.name, last=mark,
            ),
        )  # fmt: skip
