"""A convolution on the row-stationary array as steps: loads of tiles, weights and parameters, array jobs, drains."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from dataflows import isa
from dataflows.network import Conv
from mapper import loads
from mapper.context import Context
from mapper.lowering import Lowering
from mapper.pipeline import Load, Step
from mapper.requantization import Requantization
from mapper.row_jobs import RowRun, array_jobs, tile_layout
from mapper.row_plan import FilterTile, Part
from mapper.row_search import row_plan
from mapper.row_weights import packed_filters
from mapper.tiles import Tile
from mapper.turned import TurnedDrain, turned_drain


@dataclass(frozen=True)
class Block:
    """At most ``lanes`` output channels of one side of the array, with a parameter entry of their own.

    ``place`` counts them in the side's channels.
    """

    filters: int  # number of the filter tile
    side: int
    place: int
    first: int
    count: int
    entry: int


class RowLowering(Lowering[Conv]):
    """Steps of one convolution.

    Parameters
    ----------
    layer : Conv
        The layer.
    index : int
        Number under which its jobs are marked.

    Raises
    ------
    InputError
        When no plan fits the buffers.
    """

    def __init__(self, context: Context, layer: Conv, index: int):
        super().__init__(context, layer, index)
        self.plan = row_plan(self.cfg, layer, self.source, self.target, context.options)
        self.shape, self.tiles, self.filters = self.plan.shape, self.plan.tiles(), self.plan.filter_tiles
        self.blocks = list(self._blocks())

    @property
    def drains(self) -> int:
        """Accumulator banks used, one after the other."""
        return len(self.tiles) * len(self.filters)

    def steps(self) -> Iterator[Step]:
        """All steps in program order."""
        tiles, filters = range(len(self.tiles)), range(len(self.filters))
        if self.plan.channels_outer:
            pairs = [(t, f) for f in filters for t in tiles]
        else:
            pairs = [(t, f) for t in tiles for f in filters]
        for number, (t, f) in enumerate(pairs):
            yield from self._accumulate(t, f, number)
            yield from self._drain(t, f, number, last=number == len(pairs) - 1)

    def _bank(self, number: int) -> int:
        """Accumulator bank of the layer's ``number``-th tile of pixels and filters."""
        return (self.context.bank + number) % 2

    # -- array ------------------------------------------------------------------------------------

    def _accumulate(self, t: int, f: int, number: int) -> Iterator[Step]:
        """One step per job of the array."""
        filters = self.filters[f]
        for i, part in enumerate(self.plan.parts(filters.groups)):
            needed = (self._weight_load(f, i, part, number), self._input_load(t, filters, part, number))
            run = partial(self._run, t, filters, part, self._bank(number), i == 0)
            yield Step(self.index, needed, run)

    def _run(self, t: int, filters: FilterTile, part: Part, bank: int, first: bool, at: list[int]) -> None:
        """Array jobs, given where weights and input tile are."""
        weight_at, input_at = at
        run = RowRun(self.plan, self.tiles[t], filters, part, input_at, weight_at, bank, first)
        array_jobs(self.context.builder, run, self.index)

    # -- weights ----------------------------------------------------------------------------------

    @cached_property
    def _weight_offset(self) -> int:
        """Constant-region offset of the layer's weights."""
        return self.context.constants.add(packed_filters(self.plan))

    def _weight_load(self, f: int, number: int, part: Part, pair: int) -> Load:
        """Weights of one job."""
        p = self.plan
        size, inside = part.words * p.word_bytes, part.word * p.word_bytes
        reserve = 0
        if p.weights_resident and inside == 0:
            if p.channels_outer:
                reserve = p.filter_bytes
            elif f == 0:
                reserve = p.filter_bytes * len(self.filters)
        key = (self.index, "weight", f, number, 0 if p.weights_resident else pair)
        note = f"weights of channels from {self.filters[f].first}, passes {part.first}..{part.first + part.passes - 1}"

        def emit(address: int) -> None:
            offset = self._weight_offset + f * p.filter_bytes + inside
            loads.constant(self.context, isa.Target.WEIGHT, address, offset, size, self.index, note)

        return Load(key, "weight", size, emit, reserve=reserve)

    # -- input ------------------------------------------------------------------------------------

    def _input_load(self, t: int, filters: FilterTile, part: Part, pair: int) -> Load:
        """The input tile of a filter tile's channels, or the slice of them that a job needs."""
        p, tile = self.plan, self.tiles[t]
        first, channels = filters.source + part.slice[0], part.slice[1]
        key: Hashable = (self.index, "input", t, first)
        if p.sliced or (p.channels_outer and not p.input_resident):
            key = (self.index, "input", t, first, pair)
        reserve = 0
        if p.input_resident and t == 0 and filters.number == 0:
            reserve = p.input_bytes
        emit = partial(self._load_input, tile, first, channels)
        size = tile_layout(p, tile.size, channels).size
        return Load(key, "input", size, emit, layer_bound=True, reserve=reserve)

    def _load_input(self, tile: Tile, first: int, channels: int, address: int) -> None:
        """LOAD jobs of a tile."""
        window = self.layer.window
        height, width = self.shape.extent(*tile.size[1:])
        top = tile.rows[0] * window.stride[0] - window.padding[0]
        left = tile.cols[0] * window.stride[1] - window.padding[1]
        area = loads.Area(tile.images, (top, top + height), (left, left + width), (first, first + channels))
        layout = tile_layout(self.plan, tile.size, channels)
        loads.rectangle(
            self.context, loads.Destination(isa.Target.INPUT, address, layout),
            loads.View(self.source.name, self.shape.source_view), area, self.source.zero, self.index,
        )  # fmt: skip

    # -- epilogue ---------------------------------------------------------------------------------

    def _blocks(self) -> Iterator[Block]:
        """Blocks of output channels in the order of their parameter entries."""
        lanes, entry = self.cfg.lanes, 0
        for tile in self.filters:
            size = tile.count if tile.groups > 1 else self.plan.sets.side_filters
            for side in range(self.plan.sets.across):
                count = min(size, tile.count - side * size)
                for place in range(0, count, lanes):
                    first = tile.first + side * size + place
                    yield Block(tile.number, side, place, first, min(lanes, count - place), entry)
                    entry += 1

    @cached_property
    def _parameter_offset(self) -> int:
        """Constant-region offset of the layer's parameter entries, one per block."""
        requantization = Requantization.of(self.layer, self.source, self.target)
        entries = [requantization.entry(self.cfg, block.first, block.count) for block in self.blocks]
        return self.context.constants.add(np.concatenate(entries))

    @property
    def _parameters_stay(self) -> bool:
        """Whether all entries are loaded once, leaving as much room for the next layer's."""
        return 2 * len(self.blocks) <= self.cfg.param_entries

    def _drain(self, t: int, f: int, number: int, *, last: bool) -> Iterator[Step]:
        """Accumulators of a tile to DRAM: a step for all blocks whose parameters are on chip together."""
        blocks = [block for block in self.blocks if block.filters == f]
        size = len(blocks) if self._parameters_stay else max(1, self.cfg.param_entries // 2)
        for start in range(0, len(blocks), size):
            part = blocks[start : start + size]
            offset, count, key = self._parameter_offset, len(self.blocks), (self.index, "param", 0, 0)
            if not self._parameters_stay:
                offset, count = offset + part[0].entry * self.cfg.param_entry_bytes, len(part)
                key = (self.index, "param", number, start)
            needed = loads.parameter_load(self.context, key, offset, count, self.index)
            end = last and start + size >= len(blocks)
            emit = partial(self._store, t, part, self._bank(number), end)
            yield Step(self.index, (needed,), emit)

    def _store(self, t: int, blocks: list[Block], bank: int, last: bool, at: list[int]) -> None:
        """VECTOR and STORE jobs of some blocks, given where their parameters are."""
        first, entries = blocks[0].entry, len(blocks)
        if self._parameters_stay:
            first, entries = 0, len(self.blocks)
        jobs = [(block, unit) for block in blocks for unit in self._units(t)]
        for block, unit in jobs:
            entry = at[0] // self.cfg.param_entry_bytes + block.entry - first
            end = last and (block, unit) == jobs[-1]
            turned_drain(self.context, self._turned(t, block, unit, bank, entry, at[0], entries, mark=end))

    def _units(self, t: int) -> range:
        """Units with output rows of their own in a tile."""
        sets = self.plan.sets
        return range(-(-self.tiles[t].size[1] // sets.columns) if sets.folded else 1)

    def _turned(
        self, t: int, block: Block, unit: int, bank: int, entry: int, param_at: int, entries: int, *, mark: bool
    ) -> TurnedDrain:
        """The drain of a block's rows of one unit."""
        tile, sets, groups = self.tiles[t], self.plan.sets, self.filters[block.filters].groups
        step = sets.units if sets.folded and self.plan.together > 1 else 1
        (image, _), (x, _) = tile.images, tile.cols
        y = tile.rows[0] + unit * sets.columns
        rows = min(sets.columns, tile.rows[1] - y)
        _, height, width, channels = self.shape.target_view
        what = f"rows {y}..{y + rows - 1}, channels {block.first}..{block.first + block.count - 1}"
        return TurnedDrain(
            bank=bank, address=block.place * step + unit * sets.filters, step=step,
            words=[(tile.size[2], sets.sums * groups)], pixels=(block.side * sets.columns, rows),
            channels=block.count, entry=entry, param_at=param_at, entries=entries, output=self.target.name,
            start=((image * height + y) * width + x) * channels + block.first,
            pitches=[width * channels, channels],
            requantize={"zero": self.target.zero, "low": self.layer.low, "high": self.layer.high},
            index=self.index, note=f"{self.layer.name}: {what}", mark=mark,
        )  # fmt: skip
