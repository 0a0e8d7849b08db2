"""Tokens by a list that the accelerator has selected."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from dataflows import isa
from dataflows.pruning import Gather, Select
from mapper import loads
from mapper.context import Context
from mapper.lower_copy import Passing
from mapper.nests import levels
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
        pieces = self.pieces(self.target.shape)
        for number, piece in enumerate(pieces):
            needed = self._rows_load(piece, number), self.identity()
            yield Step(self.index, needed, partial(self._run, piece, number == len(pieces) - 1))

    def _run(self, piece: Piece, last: bool, at: list[int]) -> None:
        self.emit(piece, self.target.shape, None, at, last)

    def _rows_load(self, piece: Piece, number: int) -> Load:
        (first, end), (c0, c1) = piece.tile.cols, piece.channels
        size, channels = (end - first) * (c1 - c0), self.target.shape[3]

        def emit(address: int) -> None:
            select_once(self.context, self.select, self.index)
            registers = {
                "source": self.context.source(self.source.name, c0), "row": {"bytes": c1 - c0},
                **levels(loads.ROWS, []), "row_c": {"count": end - first, "step": channels},
                "destination": {"address": address, "target": isa.Target.OPERAND}, "segment": {"bytes": size},
                **levels(loads.SEGMENTS, []),
                "gather": {"indexed": 1, "first": self._place + first},
            }  # fmt: skip
            accesses = [
                self.context.dram(self.source.name, 0, self.source.bytes),
                Access("index", self._place + first, self._place + end),
                loads.written(isa.Target.OPERAND, address, size),
            ]
            note = f"tokens {first}..{end - 1} of those that stay"
            self.context.builder.add(isa.Unit.LOAD, registers, accesses, layer=self.index, note=note)

        return Load((self.index, "operand", number), "operand", self.room(piece), emit, layer_bound=True)
