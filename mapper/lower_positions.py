"""Layers that depend on the position of a run: new tokens go to caches, values of the model are taken from there."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, partial

from dataflows import isa
from dataflows.attention import Append, Positional
from mapper import loads
from mapper.context import Context
from mapper.halves import halved
from mapper.lower_copy import Passing
from mapper.pieces import Piece
from mapper.pipeline import Load, Step


class AppendLowering(Passing[Append]):
    """Steps of an append: new tokens are copied to the cache, from the position of the run on.

    Where the cache lies as two planes, each half is a pass of its own over the same operands.
    """

    def steps(self) -> Iterator[Step]:
        """One step per piece."""
        pieces = self.pieces(self.source.shape)
        for number, piece in enumerate(pieces):
            needed = self._operand_load(piece, number), self.identity()
            yield Step(self.index, needed, partial(self._run, piece, number == len(pieces) - 1))

    def _run(self, piece: Piece, last: bool, at: list[int]) -> None:
        if self.target.name not in halved(self.context.network):
            self.emit(piece, self.source.shape, None, at, last, positioned=True)
            return
        for half in (isa.Nibbles.HIGH, isa.Nibbles.LOW):
            self.emit(piece, self.source.shape, None, at, last and half is isa.Nibbles.LOW, positioned=True, half=half)

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
