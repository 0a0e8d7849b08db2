"""Tokens by a list that the accelerator has selected."""

from __future__ import annotations

from collections.abc import Iterator

from dataflows.pruning import Gather, Select
from mapper.context import Context
from mapper.lower_copy import Passing
from mapper.pieces import Piece
from mapper.pipeline import Load, Step
from mapper.scoreboard import Access
from mapper.selections import list_places, lists_from, select_once


class GatherLowering(Passing[Gather]):
    """Steps of a gather: rows of the sequence by the list. What goes by a list first brings its selection, too."""

    def __init__(self, context: Context, layer: Gather, index: int):
        super().__init__(context, layer, index)
        layers = context.network.layers
        self.select = next(x for x in layers if isinstance(x, Select) and x.output == layer.inputs[1])
        self._place = lists_from(self.cfg, context.network) + list_places(context.network)[0][layer.inputs[1]]

    def steps(self) -> Iterator[Step]:
        """One step per piece of tokens."""
        return self.through(self.pieces(self.target.shape), self.target.shape, self._rows_load)

    def _rows_load(self, piece: Piece, number: int) -> Load:
        (first, end), (c0, _) = piece.tile.cols, piece.channels

        def emit(address: int) -> None:
            select_once(self.context, self.select, self.index)
            source, place = self.source, self._place + first
            accesses = [
                self.context.dram(source.name, 0, source.bytes), Access("index", place, self._place + end),
            ]  # fmt: skip
            note = f"tokens {first}..{end - 1} of those that stay"
            self.gather(piece, address, self.context.source(source.name, c0), {"first": place}, accesses, note)

        return Load((self.index, "operand", number), "operand", self.room(piece), emit, layer_bound=True)
