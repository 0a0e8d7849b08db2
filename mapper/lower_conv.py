"""A convolution as steps: loads of tiles, weights and parameters, array jobs, vector and store jobs."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from functools import cached_property, partial

from dataflows import isa
from dataflows.attention import Lookup
from dataflows.network import Add, Conv
from mapper import loads, packed
from mapper.context import Context
from mapper.conv_jobs import Chunk, Run, array_jobs, chunks, tile_layout
from mapper.conv_search import plan
from mapper.conv_shape import ConvShape
from mapper.conv_weights import packed_parameters, packed_weights
from mapper.lowering import Lowering
from mapper.pipeline import Load, Step
from mapper.pool_epilogue import epilogue
from mapper.pooled_tiles import Pool
from mapper.strip_loads import StripLoad, load_strips
from mapper.tables import Table
from mapper.tiles import Tile
from mapper.vector_jobs import Drain, Registers, addend_registers, drain, other_operand


class ConvLowering(Lowering[Conv]):
    """Steps of one convolution, with an optional residual addition in its epilogue.

    Parameters
    ----------
    layer : Conv
        The layer.
    index : int
        Number under which its jobs are marked.
    add : Add, optional
        Addition whose other operand is read from DRAM while the accumulators drain.
    pool : MaxPool, AvgPool or depthwise Conv, optional
        Windows over the result, which then stays on chip where that is possible and pays.
    lookup : Lookup, optional
        Table through which results leave; not with a pooling.

    Raises
    ------
    InputError
        When no tiling fits the buffers.
    """

    def __init__(
        self, context: Context, layer: Conv, index: int, add: Add | None = None, pool: Pool | None = None,
        lookup: Lookup | None = None,
    ):  # fmt: skip
        super().__init__(context, layer, index)
        self.add = add
        self.table = None if lookup is None else Table(context, lookup, index)
        self._pooled = () if pool is None else (context.network.tensors[pool.output],)
        self.shape = self._shape()
        self.pool = epilogue(context, pool, index, self.shape, residual=add is not None) if pool else None
        self.plan = self.pool.plan if self.pool else plan(self.shape, context.options, residual=add is not None)
        self.shape = self.plan.shape
        self.chunks = list(chunks(self.plan))
        self.tiles = self.plan.tiles()

    def _shape(self) -> ConvShape:
        """Geometry of the layer with what is in its epilogue."""
        tensors, add = self.context.network.tensors, self.add
        if add is None:
            return ConvShape.of(self.cfg, self.layer, self.source, self.target, *self._pooled)
        residual = tensors[other_operand(add, self.layer.output)]
        behind = tensors[add.output], *self._pooled
        return ConvShape.of(self.cfg, self.layer, self.source, self.target, *behind, residual=residual)

    @property
    def drains(self) -> int:
        """Accumulator banks used, one after the other."""
        return len(self.tiles) * len(self.plan.groups)

    def steps(self) -> Iterator[Step]:
        """All steps in program order."""
        tiles, groups = range(len(self.tiles)), range(len(self.plan.groups))
        if self.plan.channels_outer:
            pairs = [(t, g) for g in groups for t in tiles]
        else:
            pairs = [(t, g) for t in tiles for g in groups]
        storing = [n for n, (t, _) in enumerate(pairs) if self.pool is None or self.pool.stores(self.tiles[t])]
        for number, (t, g) in enumerate(pairs):
            yield from self._accumulate(t, g, number)
            yield self._drain(t, g, number, last=number == storing[-1])

    def _bank(self, number: int) -> int:
        """Accumulator bank of the layer's ``number``-th tile and group."""
        return (self.context.bank + number) % 2

    # -- array ------------------------------------------------------------------------------------

    def _accumulate(self, t: int, g: int, number: int) -> Iterator[Step]:
        """One step per block (per group where channels run in time) and chunk."""
        blocks = range(1 if self.shape.channels_in_time else len(self.plan.groups[g]))
        pairs = [(block, c) for block in blocks for c in range(len(self.chunks))]
        if self.plan.slices_outer:
            pairs = [(block, c) for c in range(len(self.chunks)) for block in blocks]
        for block, c in pairs:
            chunk = self.chunks[c]
            needed = (self._weight_load(g, block, c, number), self._input_load(t, chunk, block, number))
            yield Step(self.index, needed, partial(self._run, t, g, block, chunk, self._bank(number)))

    def _run(self, t: int, g: int, block: int, chunk: Chunk, bank: int, at: list[int]) -> None:
        """Array jobs, given where weights and input tile are."""
        weight_at, input_at = at
        tile, group = self.tiles[t], self.plan.groups[g]
        blocks = group if self.shape.channels_in_time else group[block : block + 1]
        place = block * self.shape.grid(tile.size).words
        run = Run(self.plan, tile, blocks, chunk, input_at, weight_at, bank, place)
        array_jobs(self.context.builder, run, self.index)

    # -- weights ----------------------------------------------------------------------------------

    @cached_property
    def _weight_offset(self) -> int:
        """Constant-region offset of the layer's weights."""
        return self.context.constants.add(packed_weights(self.plan))

    def _weight_load(self, g: int, block: int, c: int, number: int) -> Load:
        """Weights of a chunk: of one block, or of a whole group where channels run in time."""
        p, group, chunk = self.plan, self.plan.groups[g], self.chunks[c]
        per_word = self.shape.word_bytes(len(group))
        inside = (block * p.words + chunk.word) * per_word  # offset in the group; block is 0 if it is all of the group
        reserve = 0
        if p.weights_resident and inside == 0:
            if p.channels_outer:
                reserve = p.group_bytes
            elif g == 0:
                reserve = p.words * per_word * p.runs
        key = (self.index, "weight", g, block, c, 0 if p.weights_resident else number)
        emit = partial(self._load_weights, g * p.group_bytes + inside, chunk, per_word, group[block].first)
        return Load(key, "weight", chunk.words * per_word, emit, reserve=reserve)

    def _load_weights(self, offset: int, chunk: Chunk, per_word: int, channel: int, address: int) -> None:
        note = f"weights of channels from {channel}, words {chunk.word}..{chunk.word + chunk.words - 1}"
        loads.constant(
            self.context, isa.Target.WEIGHT, address, self._weight_offset + offset, chunk.words * per_word,
            self.index, note,
        )  # fmt: skip

    # -- input ------------------------------------------------------------------------------------

    def _input_load(self, t: int, chunk: Chunk, block: int, number: int) -> Load:
        """The input tile, or the slice of its channels that a chunk needs."""
        p, tile = self.plan, self.tiles[t]
        channels = chunk.channels if p.sliced else self.shape.channels
        key: Hashable = (self.index, "input", t)
        if p.sliced:
            key = (self.index, "input", number, 0 if p.slices_outer else block, chunk.first_channel)
        elif p.channels_outer and not p.input_resident:
            key = (self.index, "input", number)
        stay = len(self.tiles) if p.input_resident else 1  # tiles that are on chip together
        return Load(
            key, "input", tile_layout(p, tile.size, channels).size,
            partial(self._load_input, tile, chunk.first_channel, channels),
            layer_bound=not self.context.network.caches, since=self.context.made(self.source.name),
            reserve=stay * p.tile_bytes if t == 0 else 0,
        )  # fmt: skip

    def _load_input(self, tile: Tile, first: int, channels: int, address: int) -> None:
        """LOAD jobs of a tile: the whole area at once, or one kernel row after the other if these are side by side."""
        window, layout = self.layer.window, tile_layout(self.plan, tile.size, channels)
        _, rows, cols = tile.size
        height, width = self.shape.extent(rows, cols)
        top = tile.rows[0] * window.stride[0] - window.padding[0]
        left = tile.cols[0] * window.stride[1] - window.padding[1]
        strips = self.shape.strips(self.plan.layout)
        if strips:
            view = loads.View(self.source.name, self.shape.source_view)
            pixel = self.shape.pixel_bytes(channels)
            load_strips(
                self.context,
                StripLoad(self.source, view, window, tile, strips, address, pixel, height, self.index),
            )
            return
        stacked = self.plan.layout == "stacked"
        for ky in range(window.kernel[0] if stacked else 1):
            y = top + ky * window.dilation[0]
            area = loads.Area(
                tile.images, (y, y + (rows if stacked else height)), (left, left + width), (first, first + channels)
            )
            to = loads.Destination(isa.Target.INPUT, address, layout, ky * self.shape.pixel_bytes(channels))
            loads.rectangle(
                self.context, to, loads.View(self.source.name, self.shape.source_view), area, self.source.zero,
                self.index, row_stride=window.stride[0] if stacked else 1,
            )  # fmt: skip

    # -- epilogue ---------------------------------------------------------------------------------

    @cached_property
    def _parameter_offset(self) -> int:
        """Constant-region offset of the layer's parameter entries, one per block."""
        return self.context.constants.add(packed_parameters(self.plan, self.source, self.target))

    def _drain(self, t: int, g: int, number: int, *, last: bool) -> Step:
        """Accumulators of a group to DRAM."""
        needed = [self._parameter_load(g, number)]
        if self.add is not None:
            needed.append(self._residual_load(self.add, t, g, number))
        if self.pool is not None:
            needed += self.pool.loads(self.tiles[t], self.plan.groups[g], number)
        if self.table is not None:
            needed.append(self.table.load())
        return Step(self.index, tuple(needed), partial(self._store, t, g, self._bank(number), last))

    def _parameter_load(self, g: int, number: int) -> Load:
        """Entries of the whole layer, or of one group."""
        entry = self.cfg.param_entry_bytes
        offset, count, key = self._parameter_offset, len(self.shape.blocks), (self.index, "param", 0)
        if not self.plan.parameters_stay:
            offset, count = offset + g * self.plan.blocks * entry, len(self.plan.groups[g])
            key = (self.index, "param", number)
        reserve = 0 if self.pool is None else self.pool.reserve
        return loads.parameter_load(self.context, key, offset, count, self.index, reserve)

    @property
    def _output(self) -> str:
        """The tensor that is stored."""
        if self.table is not None:
            return self.table.layer.output
        return self.layer.output if self.add is None else self.add.output

    def _channels(self, g: int) -> tuple[int, int]:
        """(first, end) of a group's output channels."""
        group = self.plan.groups[g]
        return group[0].first, group[-1].first + group[-1].count

    def _residual_load(self, add: Add, t: int, g: int, number: int) -> Load:
        """The addition's other operand, dense, for the pixels and channels of one drain."""
        tile, (first, end) = self.tiles[t], self._channels(g)
        images, rows, cols = tile.size
        other = self.context.network.tensors[other_operand(add, self.layer.output)]
        view = loads.View(other.name, self.shape.target_view)
        _, size = packed.span(other, first, end - first)  # of a pixel
        layout = loads.Layout(size, cols * size, rows * cols * size, images * rows * cols * size)
        area = loads.Area(tile.images, tile.rows, tile.cols, (first, end))

        def emit(address: int) -> None:
            to = loads.Destination(isa.Target.OPERAND, address, layout)
            loads.rectangle(self.context, to, view, area, 0, self.index)

        return Load((self.index, "residual", number), "operand", layout.size, emit, layer_bound=True)

    @cached_property
    def _addition(self) -> Registers | None:
        """Registers of the addition, the same in all jobs."""
        return None if self.add is None else addend_registers(self.context, self.add, self.layer.output)

    def _store(self, t: int, g: int, bank: int, last: bool, at: list[int]) -> None:
        """VECTOR and STORE jobs, given where parameters and residual are."""
        add, tile, (first, end), group = self.add, self.tiles[t], self._channels(g), self.plan.groups[g]
        entry = at[0] // self.cfg.param_entry_bytes
        pooled = at[1 if add is None else 2 :]  # where words stay, and parameters of the pooling
        if self.plan.parameters_stay:
            entry, entries = entry + g * self.plan.blocks, len(self.shape.blocks)
        else:
            entries = len(group)
        drain(
            self.context,
            Drain(
                bank=bank, places=self.shape.grid(tile.size), tile=tile, first=first, count=end - first,
                blocks=len(group), entry=entry, entries=entries, param_at=at[0],
                output=self._output, view=self.shape.target_view,
                slot=None if self.table is None else at[-1],
                residual=None if add is None else at[1], index=self.index, name=self.layer.name, last=last,
                zero=self.target.zero, low=self.layer.low, high=self.layer.high,
                addition=self._addition,
                addend=None if add is None else other_operand(add, self.layer.output),
                kept=None if self.pool is None else self.pool.kept(tile, group, pooled[0]),
            ),
        )  # fmt: skip
        if self.pool is not None:
            self.pool.emit(tile, group, pooled, last)
