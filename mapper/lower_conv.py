"""A convolution as steps: loads of tiles, weights and parameters, array jobs, vector and store jobs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dataflows import isa
from dataflows.network import Add, Conv
from dataflows.vocabulary import Dim
from mapper import loads
from mapper.context import Context, parameters
from mapper.conv_plan import ConvPlan, Grid, Tile, grid, input_bytes, plan, window_extent, word_bytes
from mapper.conv_shape import ConvShape
from mapper.nests import levels, split
from mapper.numbers import significand
from mapper.pipeline import Load, Step
from mapper.scoreboard import Access
from mapper.vector_jobs import Drain, addend_registers, drain

Box = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Chunk:
    """Consecutive reduction words of one group of blocks: a box of one channel slice's nest."""

    first_channel: int
    channels: int
    box: Box
    word: int  # first reduction word
    words: int


class ConvLowering:
    """Steps of one convolution, with an optional residual addition in its epilogue.

    Parameters
    ----------
    layer : Conv
        The layer.
    index : int
        Number under which its jobs are marked.
    add : Add, optional
        Addition whose other operand is read from DRAM while the accumulators drain.
    """

    def __init__(self, context: Context, layer: Conv, index: int, add: Add | None = None):
        self.context, self.layer, self.index, self.add = context, layer, index, add
        self.cfg = context.cfg
        net = context.network
        self.source, self.target = net.tensors[layer.inputs[0]], net.tensors[layer.output]
        self.shape = ConvShape.of(self.cfg, layer, self.source, self.target)
        self.plan: ConvPlan = plan(self.shape, context.options)
        step = self.plan.blocks
        blocks = self.shape.blocks
        self.groups = [blocks[i : i + step] for i in range(0, len(blocks), step)]

    # -- constants --------------------------------------------------------------------------------

    @cached_property
    def chunks(self) -> list[Chunk]:
        """Reduction of one group, cut into pieces that the weight buffer can hold several of."""
        p, chunks, word = self.plan, [], 0
        sliced = p.slice_channels < self.shape.channels
        for first in range(0, self.shape.channels if sliced else 1, p.slice_channels):
            channels = min(p.slice_channels, self.shape.channels - first) if sliced else self.shape.depth
            for box in split(self.shape.nest(p.layout, channels), p.chunk_words):
                words = box[0][1] * box[1][1] * box[2][1]
                chunks.append(Chunk(first, channels, box, word, words))
                word += words
        return chunks

    @cached_property
    def weight_offset(self) -> int:
        """Constant-region offset of the layer's weights: groups of blocks, then reduction words, as the array takes them."""
        kh, kw = self.layer.window.kernel
        lanes = self.cfg.lanes
        slices = sorted({(c.first_channel, c.channels) for c in self.chunks})
        parts = []
        for group in self.groups:
            matrices = [self.shape.matrix(block) for block in group]
            for first, channels in slices:
                order = self.shape.order(self.plan.layout, channels)
                flat = [m[:, :, first : first + channels].reshape(kh * kw * channels, lanes) for m in matrices]
                picked = [np.where((order >= 0)[..., None], f[order], 0) for f in flat]  # (words, rows, lanes)
                if self.cfg.dataflow.temporal is Dim.CHANNEL:
                    joined = np.concatenate(picked, axis=2)  # (words, rows, lanes of all blocks)
                    parts.append(joined.transpose(0, 2, 1).reshape(-1))
                else:
                    parts.append(np.stack(picked).reshape(len(group), -1))
            if self.cfg.dataflow.temporal is not Dim.CHANNEL:
                slabs = parts[-len(slices) :]
                del parts[-len(slices) :]
                parts.append(np.concatenate(slabs, axis=1).reshape(-1))
        return self.context.constants.add(np.concatenate(parts).astype(np.int8))

    @cached_property
    def parameter_offset(self) -> int:
        """Constant-region offset of the layer's parameter entries, one per block."""
        layer, net = self.layer, self.context.network
        scales = (np.float32(self.source.scale) * layer.weight_scale.astype(np.float32)) / np.float32(self.target.scale)
        pairs = [significand(s, layer.name) for s in scales]
        sums = layer.weight.astype(np.int64).sum(axis=(1, 2, 3))
        bias = layer.bias.astype(np.int64) - net.tensors[layer.inputs[0]].zero * sums
        entries = []
        for block in self.shape.blocks:
            part = slice(block.first, block.first + block.count)
            multiplier = np.array([m for m, _ in pairs[part]], np.int64)
            shift = np.array([s for _, s in pairs[part]], np.int64)
            entries.append(parameters(self.cfg, bias[part], multiplier, shift))
        return self.context.constants.add(np.concatenate(entries))

    # -- loads ------------------------------------------------------------------------------------

    def _load_input(self, tile: Tile, first: int, channels: int, address: int) -> None:
        p, shape, window = self.plan, self.shape, self.layer.window
        images, rows, cols = tile.size
        height, width = window_extent(shape, rows, cols)
        y0 = tile.rows[0] * window.stride[0] - window.padding[0]
        x0 = tile.cols[0] * window.stride[1] - window.padding[1]
        size = input_bytes(shape, p.layout, tile.size, channels)
        memory, tensor = "input", self._source_view
        if p.layout == "stacked":
            kernel_rows = window.kernel[0]
            pitch = kernel_rows * channels
            layout = loads.Layout(pitch, width * pitch, rows * width * pitch, size)
            for ky in range(kernel_rows):
                top = y0 + ky * window.dilation[0]
                area = loads.Area(tile.images, (top, top + rows), (x0, x0 + width), (0, channels))
                loads.rectangle(
                    self.context, memory, isa.Target.INPUT, address, tensor, area, layout, self.source.zero, self.index,
                    row_stride=window.stride[0], shift=ky * channels,
                )  # fmt: skip
            return
        layout = loads.Layout(channels, width * channels, height * width * channels, size)
        area = loads.Area(tile.images, (y0, y0 + height), (x0, x0 + width), (first, first + channels))
        loads.rectangle(
            self.context, memory, isa.Target.INPUT, address, tensor, area, layout, self.source.zero, self.index
        )

    @cached_property
    def _resident_bytes(self) -> int:
        """Bytes of all input tiles, where they stay on chip together."""
        p = self.plan
        count = len(p.tiles()) if p.input_resident else 1
        return count * input_bytes(self.shape, p.layout, p.tile, p.slice_channels)

    @cached_property
    def _source_view(self) -> loads.View:
        shape = self.shape
        return loads.View(self.layer.inputs[0], (shape.images, shape.height, shape.width, shape.channels))

    def _group_bytes(self) -> int:
        """Weight bytes of one full group in the constant region."""
        words = sum(c.words for c in self.chunks)
        return words * word_bytes(self.shape, self.plan.blocks) * self._block_factor(self.plan.blocks)

    def _block_factor(self, blocks: int) -> int:
        return 1 if self.cfg.dataflow.temporal is Dim.CHANNEL else blocks

    def _weight_load(self, group: int, block: int, chunk: Chunk, key: tuple[object, ...]) -> Load:
        """Weights of a chunk: of one block, or of a whole group where channels run in time."""
        together = self.cfg.dataflow.temporal is Dim.CHANNEL
        per_word = word_bytes(self.shape, len(self.groups[group]))
        words = sum(c.words for c in self.chunks)
        offset = group * self._group_bytes() + (0 if together else block * words * per_word) + chunk.word * per_word
        size = chunk.words * per_word

        def emit(address: int) -> None:
            note = f"weights of channels from {self.groups[group][block].first}, words {chunk.word}..{chunk.word + chunk.words - 1}"
            loads.constant(
                self.context, "weight", isa.Target.WEIGHT, address, self.weight_offset + offset, size, self.index, note
            )

        first = offset == group * self._group_bytes() and self.plan.weights_resident
        reserve = 0
        if first and self.plan.channels_outer:
            reserve = self._group_bytes()
        elif first and group == 0:
            reserve = words * per_word * (len(self.shape.blocks) if not together else 1) * (len(self.groups) if together else 1)
        return Load(key, "weight", size, emit, reserve=reserve)

    # -- steps ------------------------------------------------------------------------------------

    def steps(self) -> Iterator[Step]:
        """All steps in program order."""
        p, tiles = self.plan, self.plan.tiles()
        if p.channels_outer:
            pairs = [(t, g) for g in range(len(self.groups)) for t in range(len(tiles))]
        else:
            pairs = [(t, g) for t in range(len(tiles)) for g in range(len(self.groups))]
        for number, (t, g) in enumerate(pairs):
            yield from self._accumulate(t, tiles[t], g, number)
            yield self._drain(tiles[t], t, g, number, last=number == len(pairs) - 1)

    def _bank(self, number: int) -> int:
        return (self.context.bank + number) % 2

    def _accumulate(self, t: int, tile: Tile, g: int, number: int) -> Iterator[Step]:
        """One step per block (or per group where channels run in time) and chunk."""
        p, group = self.plan, self.groups[g]
        together = self.cfg.dataflow.temporal is Dim.CHANNEL
        bank = self._bank(number)
        places = grid(self.shape, tile.size)
        for block in range(1 if together else len(group)):
            for c, chunk in enumerate(self.chunks):
                repeat = 0 if p.weights_resident else number
                weights = self._weight_load(g, block, chunk, (self.index, "weight", g, block, c, repeat))
                reload = 0 if p.input_resident else (number if p.slice_channels < self.shape.channels or p.channels_outer else 0)
                key = (self.index, "input", t, chunk.first_channel, reload, block if p.slice_channels < self.shape.channels else 0)
                channels = chunk.channels if p.slice_channels < self.shape.channels else self.shape.channels
                source = Load(
                    key, "input", input_bytes(self.shape, p.layout, tile.size, channels),
                    lambda a, f=chunk.first_channel, n=channels: self._load_input(tile, f, n, a), layer_bound=True,
                    reserve=self._resident_bytes if t == 0 else 0,
                )  # fmt: skip
                yield Step(
                    self.index, (weights, source),
                    lambda at, b=block, k=chunk, keep=c > 0: self._execute(tile, places, group, b, k, at, bank, keep),
                )  # fmt: skip

    def _execute(
        self, tile: Tile, places: Grid, group: tuple, block: int, chunk: Chunk, at: list[int], bank: int, keep: bool
    ) -> None:  # fmt: skip
        cfg, shape, p = self.cfg, self.shape, self.plan
        rows, lanes = cfg.array.rows, cfg.lanes
        together = cfg.dataflow.temporal is Dim.CHANNEL
        weight_at, input_at = at
        images, out_rows, out_cols = tile.size
        sliced = p.slice_channels < shape.channels
        depth = chunk.channels if sliced else shape.channels  # channels of a pixel on chip
        height, width = window_extent(shape, out_rows, out_cols)
        window = self.layer.window
        kh = window.kernel[0]
        if p.layout == "stacked":
            col = kh * depth
            row, image = width * col, out_rows * width * col
            x, y, kernel_x, kernel_y = window.stride[1] * col, row, 0, 0
        else:
            col, row = depth, width * depth
            image = height * row
            x, y = window.stride[1] * col, window.stride[0] * row
            kernel_x, kernel_y = window.dilation[1] * col, window.dilation[0] * row
        (word0, word_n), (kx0, kx_n), (ky0, ky_n) = chunk.box
        source = 0 if sliced else group[block].source
        start = input_at + source + word0 * rows + kx0 * kernel_x + ky0 * kernel_y
        taps = [(word_n, rows), (kx_n, kernel_x), (ky_n, kernel_y)]
        if cfg.dataflow.temporal is Dim.PIXEL:
            loops = [(out_cols, x), (out_rows, y), (images, image), *taps]
        else:
            across, down = places.across, places.down
            loops = [
                (across, x), (down, y), (1, 0), *taps,
                (places.pitch // across, across * x), (places.height // down, down * y), (images, image),
            ]  # fmt: skip
        layer, index = self.layer.name, self.index
        size = input_bytes(shape, p.layout, tile.size, depth)
        note = f"{layer}: rows {tile.rows[0]}..{tile.rows[1] - 1}, channels from {group[block].first}, words {chunk.word}..{chunk.word + chunk.words - 1}"
        build = self.context.builder.add
        count = places.words // places.group  # pixel groups, or pixels
        per_word = word_bytes(shape, len(group))
        weight_access = [Access("weight", weight_at, weight_at + chunk.words * per_word)]
        flow = cfg.dataflow
        if flow.temporal is Dim.PIXEL:
            nest = [(rows, lanes), (chunk.words, rows * lanes)]
            sums = [(count, 1), (1, 0), (chunk.words, 0)]
            acc = 0
        elif flow.temporal is Dim.REDUCTION:
            nest = [(chunk.words * rows, lanes), (1, 0), (count, 0)]
            sums = [(places.group, -1), (1, 0), (1, 0), (count, places.group)]
            acc = places.group - 1
        else:
            nest = [(len(group) * lanes, rows), (chunk.words, per_word), (count, 0)]
            sums = [(places.group, 1), (len(group), places.words), (chunk.words, 0), (count, places.group)]
            acc = 0
        acc += bank * cfg.acc_bank_words + (0 if together else block * places.words)
        build(
            isa.Unit.ACC,
            {"base": {"address": acc}, "mode": {"keep": keep}, **levels(("word", "block", "pass", "group"), sums)},
            [Access("acc", bank, bank + 1, write=True)], layer=index, note=note,
        )  # fmt: skip
        build(
            isa.Unit.WEIGHT, {"base": {"address": weight_at}, **levels(flow.weight_nest.levels, nest)},
            weight_access, layer=index, note=note,
        )  # fmt: skip
        build(
            isa.Unit.INPUT, {"base": {"address": start}, **levels(flow.input_nest.levels, loops)},
            [Access("input", input_at, input_at + size)], layer=index, note=note,
        )  # fmt: skip

    def _drain(self, tile: Tile, t: int, g: int, number: int, *, last: bool) -> Step:
        """Accumulators of a group to DRAM; groups of uneven blocks take one vector job per block."""
        cfg, shape, group = self.cfg, self.shape, self.groups[g]
        bank, places = self._bank(number), grid(shape, tile.size)
        images, rows, cols = tile.size
        first, count = group[0].first, group[-1].first + group[-1].count - group[0].first
        pixels = images * rows * cols
        per_layer = len(shape.blocks) * 2 <= cfg.param_entries
        entry_bytes = cfg.param_entry_bytes
        block0 = g * self.plan.blocks
        key = (self.index, "param") if per_layer else (self.index, "param", number)
        entries = len(shape.blocks) if per_layer else len(group)
        start = self.parameter_offset + (0 if per_layer else block0 * entry_bytes)

        def load_parameters(address: int) -> None:
            loads.constant(
                self.context, "param", isa.Target.PARAM, address, start, entries * entry_bytes, self.index, "parameters"
            )

        needed = [Load(key, "param", entries * entry_bytes, load_parameters)]
        if self.add is not None:
            other = self._other(self.add)
            view = loads.View(other, (shape.images, shape.out_height, shape.out_width, shape.out_channels))
            layout = loads.Layout(count, cols * count, rows * cols * count, pixels * count)
            area = loads.Area(tile.images, tile.rows, tile.cols, (first, first + count))
            needed.append(
                Load(
                    (self.index, "residual", number), "operand", pixels * count,
                    lambda a: loads.rectangle(
                        self.context, "operand", isa.Target.OPERAND, a, view, area, layout, 0, self.index
                    ),
                    layer_bound=True,
                )
            )  # fmt: skip

        def emit(at: list[int]) -> None:
            entry = at[0] // entry_bytes + (block0 if per_layer else 0)
            residual = at[1] if self.add is not None else None
            result = self.add.output if self.add is not None else self.layer.output
            drain(
                self.context,
                Drain(
                    bank=bank, places=places, tile=tile, first=first, count=count, blocks=len(group), entry=entry,
                    entries=entries, param_at=at[0], output=result,
                    view=(shape.images, shape.out_height, shape.out_width, shape.out_channels),
                    residual=residual, index=self.index, name=self.layer.name, last=last,
                    zero=self.target.zero, low=self.layer.low, high=self.layer.high,
                    addition=None if self.add is None else addend_registers(self.context, self.add, self.layer.output),
                ),
            )  # fmt: skip

        return Step(self.index, tuple(needed), emit)

    def _other(self, add: Add) -> str:
        """The operand of the addition that does not come from this layer."""
        a, b = add.inputs
        return b if a == self.layer.output else a

    @property
    def drains(self) -> int:
        """Accumulator banks used, one after the other."""
        return len(self.plan.tiles()) * len(self.groups)

