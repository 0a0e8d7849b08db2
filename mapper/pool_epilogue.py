"""Pooling or a depthwise convolution in the epilogue of a convolution.

Its words stay in the operand buffer until the windows over them are complete.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import cached_property

from dataflows import isa
from dataflows.network import Add, AvgPool, Conv, MaxPool, Network, Tensor
from mapper import loads
from mapper.context import Context
from mapper.conv_plan import ConvPlan
from mapper.conv_search import cheapest, plan
from mapper.conv_shape import Block, ConvShape
from mapper.lower_window import WindowLowering
from mapper.pipeline import Load
from mapper.pooled_tiles import Pool, PooledTiles
from mapper.pooling import Pooling
from mapper.scoreboard import Access
from mapper.tiles import Tile
from mapper.vector_jobs import Kept

Group = tuple[Block, ...]


def fuse_pools(
    network: Network, fused: dict[str, Add], apart: Collection[str], windows: Collection[str] = ()
) -> dict[str, Pool]:
    """Convolutions whose result (with an addition, if that is fused) is only pooled: layer name to the pooling.

    Depthwise convolutions named in ``windows`` count as pooling. Layers named in ``apart`` pool nothing.
    """
    users: dict[str, list[object]] = {}
    for layer in network.layers:
        for name in layer.inputs:
            users.setdefault(name, []).append(layer)
    pools: dict[str, Pool] = {}
    for layer in network.layers:
        if isinstance(layer, Conv) and layer.name not in apart:
            result = fused[layer.name].output if layer.name in fused else layer.output
            behind = users.get(result, [])
            if len(behind) != 1 or result in network.outputs:
                continue
            pool = behind[0]
            if isinstance(pool, MaxPool | AvgPool) or (isinstance(pool, Conv) and pool.name in windows):
                pools[layer.name] = pool
    return pools


def epilogue(context: Context, pool: Pool, index: int, shape: ConvShape, *, residual: bool) -> PoolEpilogue | None:
    """The pooling in the epilogue of a convolution; None where that is impossible or would take longer.

    ``residual``: an addition is in the epilogue, too.
    """
    tensors, options = context.network.tensors, context.options
    source, target = tensors[pool.inputs[0]], tensors[pool.output]
    depthwise = isinstance(pool, Conv)
    inner = _by_rows(shape, tensors[shape.layer.inputs[0]], source) if depthwise else shape

    def legal(candidate: ConvPlan) -> bool:
        return PooledTiles(pool, source, target, candidate).legal

    def least(candidate: ConvPlan) -> float:
        """Cycles of the vector unit, in which narrow operands spend their time."""
        vector = depthwise or context.cfg.multiplier
        return PooledTiles(pool, source, target, candidate).vector_cycles if vector else 0

    divisors = pool.divisors.tobytes() if isinstance(pool, AvgPool) else b""
    behind = pool.op, pool.window, divisors, source.shape, source.bits, target.shape, target.bits
    inside = cheapest(inner, options, residual=residual, accept=legal, least=least, behind=behind)
    if inside is None:
        return None
    bus = min(context.cfg.bus_bytes, options.bytes_per_cycle)
    alone = max((source.bytes + target.bytes) / bus, source.size / context.cfg.lanes)
    together = max(inside.cycles, PooledTiles(pool, source, target, inside).vector_cycles)
    if together > plan(shape, options, residual=residual).cycles + alone:
        return None
    return PoolEpilogue(context, pool, index, inside)


def _by_rows(shape: ConvShape, source: Tensor, target: Tensor) -> ConvShape:
    """The shape with the rows of its tensors, which windows need."""
    (images, height, width, _), (_, out_height, out_width, _) = source.shape, target.shape
    return replace(
        shape, images=images, height=height, width=width, out_height=out_height, out_width=out_width
    )  # fmt: skip


class PoolEpilogue:
    """What a convolution's lowering needs to pool its tiles on chip.

    Parameters
    ----------
    pool : MaxPool, AvgPool or depthwise Conv
    index : int
        Number under which the convolution's jobs are marked.
    plan : ConvPlan
        Of the convolution.
    """

    def __init__(self, context: Context, pool: Pool, index: int, plan: ConvPlan):
        self.context, self.cfg, self.pool, self.index, self.plan = context, context.cfg, pool, index, plan
        tensors = context.network.tensors
        self.tiles = PooledTiles(pool, tensors[pool.inputs[0]], tensors[pool.output], plan)

    @cached_property
    def _windows(self) -> WindowLowering | None:
        """Lowering of the windows, if they slide."""
        if self.tiles.sliding is None or isinstance(self.pool, AvgPool):
            return None
        return WindowLowering(self.context, self.pool, self.index, self.tiles.sliding)

    @cached_property
    def _pooling(self) -> Pooling:
        assert not isinstance(self.pool, Conv)
        return Pooling(self.context, self.pool, self.index)

    def _layout(self, tile: Tile, group: Group) -> loads.Layout:
        """Where the words of a tile lie."""
        rows = self.tiles.rows(tile)
        _, _, pitch = self.tiles.region(rows)
        depth, size = self.tiles.depth(group), self.tiles.bytes(rows, group)
        return loads.Layout(depth, pitch * depth, size, size)

    def loads(self, tile: Tile, group: Group, number: int) -> list[Load]:
        """Room for the words, with its padding; parameters of the pooling."""
        source, layout = self.tiles.source, self._layout(tile, group)
        first, end, pitch = self.tiles.region(self.tiles.rows(tile))
        top, left, _, _ = self.pool.window.padding
        channels = group[0].first, group[-1].first + group[-1].count
        area = loads.Area((0, 1), (first - top, end - top), (-left, pitch - left), channels)
        padding = source.lowest if isinstance(self.pool, MaxPool) else source.zero

        def emit(address: int) -> None:
            to = loads.Destination(isa.Target.OPERAND, address, layout)
            loads.border(self.context, to, loads.View(source.name, source.shape), area, padding, self.index)

        size = layout.size + self.cfg.operand_word_bytes  # the last word reaches beyond the last channel
        room = Load((self.index, "kept", number), "operand", size, emit, layer_bound=True)
        # Where parameters of the convolution come group by group, one that stays would lie in their way.
        number = 0 if self.plan.parameters_stay else number
        if self._windows is not None:
            return [room, self._window_parameters(group, number)]
        return [room, *(self._pooling.parameter_load(divisor, number) for divisor in self._divisors(tile))]

    @property
    def reserve(self) -> int:
        """Bytes of parameters that are on chip together, the convolution's first; 0 where they need no care."""
        if not isinstance(self.pool, Conv):
            return 0
        entries = len(self.plan.shape.blocks) if self.plan.parameters_stay else self.plan.blocks
        return 2 * entries * self.cfg.param_entry_bytes

    def _window_parameters(self, group: Group, number: int) -> Load:
        """Entries of the windows: of all channels where those of the convolution are, or of a group."""
        assert self._windows is not None
        if isinstance(self.pool, MaxPool):
            return self._windows.load_entries(0, 1, number)
        if self.plan.parameters_stay:
            return self._windows.load_entries(0, len(self.plan.shape.blocks))
        return self._windows.load_entries(group[0].first // self.cfg.lanes, len(group), number)

    def kept(self, tile: Tile, group: Group, address: int) -> Kept:
        """Where the drain of a tile puts its words."""
        rows, layout = self.tiles.rows(tile), self._layout(tile, group)
        first, _, _ = self.tiles.region(rows)
        top, left, _, _ = self.pool.window.padding
        start = address + (rows[0] + top - first) * layout.row + left * layout.col
        return Kept(start, layout.col, layout.row, Access("operand", address, address + layout.size, write=True))

    def stores(self, tile: Tile) -> bool:
        """Whether a tile completes any output."""
        if self._windows is not None:
            return self.tiles.chunk(tile.rows).out_count > 0
        return bool(self._rectangles(tile))

    def emit(self, tile: Tile, group: Group, at: list[int], mark: bool) -> None:
        """The jobs that pool a tile, given where its words and the parameters are."""
        rows, layout = self.tiles.rows(tile), self._layout(tile, group)
        first, _, pitch = self.tiles.region(rows)
        channels = group[0].first, group[-1].first + group[-1].count
        if self._windows is not None:
            chunk = self.tiles.chunk(rows)
            if chunk.end > chunk.first:
                count = channels[1] - channels[0]
                if isinstance(self.pool, Conv) and self.plan.parameters_stay:
                    at = [at[0], at[1] + channels[0] // self.cfg.lanes * self.cfg.param_entry_bytes]
                self._windows.emit(chunk, tile.images[0], channels[0], count, at, last=mark, pitch=pitch)
            return
        rectangles, divisors, stride = self._rectangles(tile), self._divisors(tile), self.pool.window.stride
        for number, (rectangle, divisor) in enumerate(rectangles):
            row, col = rectangle.rows[0] * stride[0] - first, rectangle.cols[0] * stride[1]
            self._pooling.job(
                rectangle, channels, at[0] + row * layout.row + col * layout.col, layout,
                at[1 + divisors.index(divisor)], mark and number == len(rectangles) - 1,
            )  # fmt: skip

    def _rectangles(self, tile: Tile) -> list[tuple[Tile, int]]:
        """Output pixels that a tile completes, of one divisor each."""
        low, high = self.tiles.completed(self.tiles.rows(tile))
        images = (0, 1) if self.tiles.folded else tile.images
        found = []
        for rectangle, divisor in self._pooling.rectangles():
            rows = max(low, rectangle.rows[0]), min(high, rectangle.rows[1])
            if rows[0] < rows[1]:
                found.append((Tile(images, rows, rectangle.cols), divisor))
        return found

    def _divisors(self, tile: Tile) -> list[int]:
        """Divisors of a tile's windows."""
        return sorted({divisor for _, divisor in self._rectangles(tile)})
