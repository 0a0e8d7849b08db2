"""Depthwise convolutions and maxima over 3x3 windows: layers that run in the vector unit's windows.

Rows of the padded image go through the operand buffer once, in their order in DRAM; the vector unit keeps what windows
need of earlier rows, from job to job.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dataflows import isa
from dataflows.network import Conv, MaxPool
from dataflows.sections import WINDOW_TAPS
from mapper import loads, packed
from mapper.context import Context, parameters
from mapper.lowering import Lowering
from mapper.nests import Loops, levels
from mapper.numbers import IDENTITY
from mapper.pipeline import Load, Step
from mapper.requantization import Requantization
from mapper.scoreboard import Access
from mapper.tiles import Tile
from mapper.vector_jobs import OPERAND_LEVELS, store
from mapper.window_plan import Chunk, WindowPlan
from mapper.window_shape import SIDE

PARTS = 3
"""Parameters, taps 0 to 7, tap 8: the parts of the PARAM target."""


class WindowLowering(Lowering[Conv | MaxPool]):
    """Steps of one layer: per slice of channels, image and chunk of rows a vector job, and a store of its outputs."""

    def __init__(self, context: Context, layer: Conv | MaxPool, index: int, plan: WindowPlan):
        super().__init__(context, layer, index)
        self.plan = plan
        self.shared = isinstance(layer, MaxPool)  # one entry serves all channels

    # -- constants --------------------------------------------------------------------------------

    @cached_property
    def _entries(self) -> list[NDArray[np.uint8]]:
        """Per part the bytes of all entries, (entries, bytes of an entry)."""
        cfg, layer = self.cfg, self.layer
        ones = np.ones(cfg.lanes, np.int64)
        if isinstance(layer, MaxPool):
            first = [parameters(cfg, 0 * ones, IDENTITY[0] * ones, IDENTITY[1] * ones)]
            weights = np.ones((1, cfg.lanes, WINDOW_TAPS), np.int8)
        else:
            channels = self.source.shape[3]
            requantization = Requantization.of(layer, self.source, self.target)
            blocks = range(0, channels, cfg.lanes)
            first = [requantization.entry(cfg, c, min(cfg.lanes, channels - c)) for c in blocks]
            kernel = np.zeros((len(blocks) * cfg.lanes, SIDE, SIDE), np.int8)
            rows, cols = layer.window.kernel
            kernel[:channels, :rows, :cols] = layer.weight[:, 0]
            weights = kernel.reshape(len(blocks), cfg.lanes, WINDOW_TAPS)
        parts = np.zeros((PARTS - 1, len(first), cfg.param_entry_bytes // 8, 8), np.int8)
        parts[0, :, : cfg.lanes] = weights[..., :8]
        parts[1, :, : cfg.lanes, 0] = weights[..., 8]
        return [np.stack(first), *(p.reshape(len(first), -1).view(np.uint8) for p in parts)]

    @cached_property
    def _offsets(self) -> list[int]:
        """Constant-region offset of each part."""
        return [self.context.constants.add(part) for part in self._entries]

    def load_entries(self, first: int, count: int, number: int = 0) -> Load:
        """All parts of ``count`` entries from ``first``; loaded again for another ``number``."""
        size = count * self.cfg.param_entry_bytes

        def load(address: int) -> None:
            for part, offset in enumerate(self._offsets):
                what = "window weights" if part else "parameters"
                loads.constant(
                    self.context, isa.Target.PARAM, address + part * self.cfg.window_weights_address,
                    offset + first * self.cfg.param_entry_bytes, size, self.index, what,
                )  # fmt: skip

        return Load((self.index, "window param", first, number), "param", size, load)

    # -- steps ------------------------------------------------------------------------------------

    def steps(self) -> Iterator[Step]:
        """All steps in program order."""
        images, _, _, channels = self.source.shape
        chunks = list(self.plan.chunks())
        for first in range(0, channels, self.plan.channels):
            count = min(self.plan.channels, channels - first)
            for image in range(images):
                for chunk in chunks:
                    last = (first + count, image + 1, chunk) == (channels, images, chunks[-1])
                    yield self._step(chunk, image, first, count, last=last)

    def _step(self, chunk: Chunk, image: int, first: int, count: int, *, last: bool) -> Step:
        context, lanes, plan = self.context, self.cfg.lanes, self.plan
        rows = chunk.end - chunk.first
        _, pixel = packed.span(self.source, first, count)
        size = rows * plan.width * pixel
        top, left = chunk.first - self.layer.window.padding[0], -self.layer.window.padding[1]
        area = loads.Area((image, image + 1), (top, top + rows), (left, left + plan.width), (first, first + count))
        layout = loads.Layout(pixel, plan.width * pixel, size, size)
        view = loads.View(self.source.name, self.source.shape)
        padding = self.source.lowest if self.shared else self.source.zero

        def load(address: int) -> None:
            to = loads.Destination(isa.Target.OPERAND, address, layout)
            loads.rectangle(context, to, view, area, padding, self.index)

        gap = self.cfg.operand_word_bytes  # the last word reaches beyond the last channel
        blocks = -(-count // lanes)
        needed = (
            Load((self.index, "rows", first, image, chunk.first), "operand", size + gap, load, layer_bound=True),
            self.load_entries(0, 1) if self.shared else self.load_entries(first // lanes, blocks),
        )
        return Step(self.index, needed, lambda at: self.emit(chunk, image, first, count, at, last=last))

    def emit(
        self, chunk: Chunk, image: int, first: int, count: int, at: list[int], *, last: bool, pitch: int | None = None
    ) -> None:
        """The vector job of a chunk, and the store of its outputs.

        ``at`` holds the byte addresses of rows and parameters; rows lie ``pitch`` pixels apart (default: side by side).
        """
        cfg, width, target = self.cfg, self.plan.width, self.target
        rows, blocks = chunk.end - chunk.first, -(-count // cfg.lanes)
        _, pixel = packed.span(self.source, first, count)
        row = (width if pitch is None else pitch) * pixel
        word = packed.word_bytes(cfg, self.source)
        loops: Loops = [(1, 0), (1, 0), (blocks, word), (width, pixel), (rows, row), (1, 0)]
        registers = {
            "mode": {"from_operand": 1, "reduce": isa.Reduce.WINDOW, "broadcast": int(self.shared)},
            "param": {
                "entry": at[1] // cfg.param_entry_bytes, "blocks": blocks, "tail": count - (blocks - 1) * cfg.lanes
            },
            "requantize": {
                "zero": 0 if self.shared else target.zero, "low": self.layer.low, "high": self.layer.high
            },
            "window": {
                "stride_x": self.plan.stride[1], "stride_y": self.plan.stride[0], "skip": chunk.skip,
                "max": int(self.shared),
            },
            "operand_base": {"address": at[0]},
            **levels(OPERAND_LEVELS, loops, "operand_"),
            **packed.formats(cfg, source=self.source, result=target),
        }  # fmt: skip
        size = (1 if self.shared else blocks) * cfg.param_entry_bytes
        places = [at[1] + part * cfg.window_weights_address for part in range(PARTS)]
        accesses = [Access("operand", at[0], at[0] + rows * row)]
        accesses += [Access("param", place, place + size) for place in places]
        note = f"{self.layer.name}: padded rows {chunk.first}..{chunk.end - 1}, channels {first}..{first + count - 1}"
        self.context.builder.add(isa.Unit.VECTOR, registers, accesses, layer=self.index, note=note)
        if chunk.out_count:
            ys = chunk.out_first, chunk.out_first + chunk.out_count
            tile = Tile((image, image + 1), ys, (0, target.shape[2]))
            store(self.context, target.name, target.shape, tile, first, count, self.index, note, mark=last)
