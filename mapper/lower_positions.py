"""Layers that depend on the position of a run: new tokens go to caches, values of the model are taken from there."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, partial
from math import ceil

from dataflows import isa
from dataflows.attention import Append, Positional
from mapper import loads
from mapper.caches import CacheLayout
from mapper.context import Context
from mapper.lower_copy import Passing
from mapper.nests import Loops, levels
from mapper.pieces import Piece
from mapper.pipeline import Load, Step
from mapper.vector_jobs import Pass, operand_pass

Span = tuple[int, int]
"""Half-open range."""


class AppendLowering(Passing[Append]):
    """Steps of an append: new tokens are copied to the cache, from the position of the run on, head by head.

    Where the cache lies by halves, each half is a pass of its own over the same operands.
    """

    def __init__(self, context: Context, layer: Append, index: int):
        super().__init__(context, layer, index)
        cache = CacheLayout.of(context.network, layer.output)
        assert cache is not None
        self._cache = cache

    def steps(self) -> Iterator[Step]:
        """One step per piece."""
        pieces = self.pieces(self.source.shape)
        for number, piece in enumerate(pieces):
            needed = self._operand_load(piece, number), self.identity()
            yield Step(self.index, needed, partial(self._run, piece, number == len(pieces) - 1))

    def _run(self, piece: Piece, last: bool, at: list[int]) -> None:
        halves = (isa.Nibbles.HIGH, isa.Nibbles.LOW) if self._cache.halves else (isa.Nibbles.NONE,)
        passes = [(half, part) for half in halves for part in self._cache.together(piece.channels, self.cfg.lanes)]
        for number, (half, channels) in enumerate(passes):
            self._pass(piece, channels, half, at, last and number == len(passes) - 1)

    def _pass(self, piece: Piece, channels: Span, half: isa.Nibbles, at: list[int], last: bool) -> None:
        """VECTOR and STORE jobs of some channels of a piece."""
        layout, count, shift = self.layout(piece), channels[1] - channels[0], channels[0] - piece.channels[0]
        tokens = piece.tile.size[2]
        loops: Loops = [(1, 0), (1, 0), (ceil(count / self.cfg.lanes), self.cfg.lanes), (tokens, layout.col)]
        operand_pass(
            self.context,
            Pass(
                source=self.target.name, address=at[0] + shift, size=self.room(piece) - shift, loops=loops,
                tile=piece.tile, first=channels[0], count=count, output=self.target.name, view=self.source.shape,
                param_at=at[1], reduce=isa.Reduce.NONE, requantize={"zero": 0, "low": -128, "high": 127},
                index=self.index, name=self.layer.name, last=last, half=half,
                stored=partial(self._store, piece.tile.cols, channels, half, last),
            ),
        )  # fmt: skip

    def _store(self, tokens: Span, channels: Span, half: isa.Nibbles, last: bool, note: str) -> None:
        """STORE job of channels of some tokens: of several whole heads, or of one."""
        cache, name, (first, end) = self._cache, self.target.name, channels
        unit, head, count = cache.depth // cache.pitch, first // cache.depth, tokens[1] - tokens[0]
        plane = cache.plane if half is isa.Nibbles.LOW else 0
        size = (min(end, (head + 1) * cache.depth) - first) // unit
        heads = ceil((end - first) / cache.depth)
        loops: Loops = [(heads, cache.start(1)), (count, cache.pitch)]
        if heads == 1 and size == cache.pitch:
            size, loops = count * size, []
        start = plane + cache.start(head) + tokens[0] * cache.pitch + first % cache.depth // unit
        used = (plane, plane + cache.plane) if cache.halves else (0, self.target.bytes)
        self.context.builder.add(
            isa.Unit.STORE,
            {
                "target": self.context.source(name, start), "row": {"bytes": size}, **levels(loads.ROWS, loops),
                "mode": {"pitch": cache.pitch},
            },
            [self.context.dram(name, *used, write=True)], layer=self.index, note=note, mark=last,
        )  # fmt: skip

    def _operand_load(self, piece: Piece, number: int) -> Load:
        tile, layout = piece.tile, self.layout(piece)
        area = loads.Area(tile.images, tile.rows, tile.cols, piece.channels)

        def emit(address: int) -> None:
            to = loads.Destination(isa.Target.OPERAND, address, layout)
            loads.rectangle(self.context, to, loads.View(self.source.name, self.source.shape), area, 0, self.index)

        return Load((self.index, "operand", number), "operand", self.room(piece), emit, layer_bound=True)


class PositionalLowering(Passing[Positional]):
    """Steps of a value by position: its tokens from the position of the run on are gathered from the constants."""

    def __init__(self, context: Context, layer: Positional, index: int):
        self.context, self.cfg, self.layer, self.index = context, context.cfg, layer, index
        self.target = self.source = context.network.tensors[layer.output]

    @cached_property
    def _value(self) -> int:
        """Constant-region offset of the values of all positions."""
        return self.context.constants.add(self.layer.value)

    def steps(self) -> Iterator[Step]:
        """One step per piece."""
        return self.through(self.pieces(self.target.shape), self.target.shape, self._rows_load)

    def _rows_load(self, piece: Piece, number: int) -> Load:
        (first, end), (c0, _) = piece.tile.cols, piece.channels

        def emit(address: int) -> None:
            start = self._value + first * self.target.shape[3] + c0
            source = {"address": start, "region": isa.Region.CONSTANT}
            self.gather(piece, address, source, {"positioned": 1}, [], f"tokens {first}..{end - 1} behind the position")

        return Load((self.index, "operand", number), "operand", self.room(piece), emit)
