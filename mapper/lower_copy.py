"""Layers that pass codes through the vector unit: lookups on their own, slices of several samples, embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from math import ceil

from dataflows import isa
from dataflows.attention import Embedding, Lookup, Slice
from dataflows.config import INDEX_BYTES
from dataflows.network import Window
from dataflows.pruning import Select
from mapper import loads
from mapper.lowering import LayerT, Lowering
from mapper.nests import Loops, levels
from mapper.pieces import Piece, cut
from mapper.pipeline import Load, Step
from mapper.scoreboard import Access
from mapper.selections import lists_from
from mapper.tables import Table
from mapper.tiles import Tile
from mapper.vector_jobs import Pass, operand_pass


class Passing(Lowering[LayerT]):
    """Operand words that leave as they are, or looked up in a table."""

    def pieces(self, shape: tuple[int, int, int, int]) -> list[Piece]:
        """Pieces of a result seen under a shape."""
        images, rows, cols, channels = shape
        whole = Tile((0, images), (0, rows), (0, cols))
        return list(cut(self.cfg, self.layer.name, whole, channels, Window(), lambda n: n, self.cfg.lanes))

    @staticmethod
    def layout(piece: Piece) -> loads.Layout:
        """Where the operands of a piece lie: dense."""
        images, rows, cols = piece.tile.size
        depth = piece.channels[1] - piece.channels[0]
        return loads.Layout(depth, cols * depth, rows * cols * depth, images * rows * cols * depth)

    def room(self, piece: Piece) -> int:
        """Bytes of a piece: the last word may reach beyond the last channel."""
        return self.layout(piece).size + self.cfg.lanes

    def through(
        self, pieces: Sequence[Piece], view: tuple[int, int, int, int], load: Callable[[Piece, int], Load]
    ) -> Iterator[Step]:
        """A step per piece of a result seen under ``view``; ``load`` brings the operands of a piece, by its number."""
        for number, piece in enumerate(pieces):
            needed, last = (load(piece, number), self.identity()), number == len(pieces) - 1
            yield Step(self.index, needed, partial(self.emit, piece, view, None, last=last))

    def gather(
        self, piece: Piece, address: int, source: Mapping[str, int], gather: Mapping[str, int],
        accesses: Sequence[Access], note: str,
    ) -> None:  # fmt: skip
        """LOAD job of a piece whose tokens are chosen by indices; ``source`` is its first channel of token 0."""
        (first, end), (c0, c1) = piece.tile.cols, piece.channels
        size = (end - first) * (c1 - c0)
        registers = {
            "source": source, "row": {"bytes": c1 - c0}, **levels(loads.ROWS, []),
            "row_c": {"count": end - first, "step": self.target.shape[3]},
            "destination": {"address": address, "target": isa.Target.OPERAND}, "segment": {"bytes": size},
            **levels(loads.SEGMENTS, []), "gather": {"indexed": 1, **gather},
        }  # fmt: skip
        written = loads.written(isa.Target.OPERAND, address, size)
        self.context.builder.add(isa.Unit.LOAD, registers, [*accesses, written], layer=self.index, note=note)

    def emit(
        self, piece: Piece, view: tuple[int, int, int, int], slot: int | None, at: list[int], last: bool
    ) -> None:
        """VECTOR and STORE jobs of a piece; ``at`` is where operands and the parameter entry are."""
        (images, rows, cols), layout = piece.tile.size, self.layout(piece)
        (first, end), lanes = piece.channels, self.cfg.lanes
        loops: Loops = [
            (1, 0), (1, 0), (ceil((end - first) / lanes), lanes), (cols, layout.col), (rows, layout.row),
            (images, layout.image),
        ]  # fmt: skip
        operand_pass(
            self.context,
            Pass(
                source=self.target.name, address=at[0], size=self.room(piece), loops=loops, tile=piece.tile,
                first=first, count=end - first, output=self.target.name, view=view, param_at=at[1],
                reduce=isa.Reduce.NONE, requantize={"zero": 0, "low": -128, "high": 127}, index=self.index,
                name=self.layer.name, last=last, slot=slot,
            ),
        )  # fmt: skip


class CopyLowering(Passing[Lookup | Slice]):
    """Steps of a layer whose results are codes of its input: those of some tokens, or looked up in a table."""

    def steps(self) -> Iterator[Step]:
        """One step per piece."""
        pieces = self.pieces(self.target.shape)
        table = Table(self.context, self.layer, self.index) if isinstance(self.layer, Lookup) else None
        for number, piece in enumerate(pieces):
            needed = (self._operand_load(piece, number), self.identity(), *([table.load()] if table else []))
            yield Step(self.index, needed, partial(self._run, piece, number == len(pieces) - 1))

    def _run(self, piece: Piece, last: bool, at: list[int]) -> None:
        self.emit(piece, self.target.shape, at[2] if len(at) > 2 else None, at, last)

    def _operand_load(self, piece: Piece, number: int) -> Load:
        tile, layout = piece.tile, self.layout(piece)
        start = self.layer.start if isinstance(self.layer, Slice) else 0
        cols = tile.cols[0] + start, tile.cols[1] + start
        area = loads.Area(tile.images, tile.rows, cols, piece.channels)

        def emit(address: int) -> None:
            to = loads.Destination(isa.Target.OPERAND, address, layout)
            loads.rectangle(self.context, to, loads.View(self.source.name, self.source.shape), area, 0, self.index)

        return Load((self.index, "operand", number), "operand", self.room(piece), emit, layer_bound=True)


class EmbeddingLowering(Passing[Embedding]):
    """Steps of an embedding: lists of ids, by which LOAD gathers rows of the table; results are copies of them."""

    @cached_property
    def _table(self) -> int:
        """Constant-region offset of the table."""
        return self.context.constants.add(self.layer.table)

    @property
    def _beat(self) -> int:
        """Ids of a beat: lists are written in whole ones."""
        return self.cfg.bus_bytes // INDEX_BYTES

    @property
    def _half(self) -> int:
        """Indices of half of the list memory: one list is written while rows are gathered by the other."""
        assert self.cfg.attention is not None
        selects = any(isinstance(layer, Select) for layer in self.context.network.layers)
        room = lists_from(self.cfg, self.context.network) if selects else self.cfg.attention.indices
        return room // (2 * self._beat) * self._beat

    def steps(self) -> Iterator[Step]:
        """One step per piece of tokens, those of all samples in a row."""
        samples, height, width, channels = self.target.shape
        view = 1, 1, samples * height * width, channels
        pieces = [part for piece in self.pieces(view) for part in self._listed(piece)]
        return self.through(pieces, view, self._rows_load)

    def _listed(self, piece: Piece) -> Iterator[Piece]:
        """Parts of a piece whose ids fit a list."""
        beat, (first, end) = self._beat, piece.tile.cols
        while first < end:
            last = min(end, first // beat * beat + max(self._half, beat))
            yield Piece(Tile((0, 1), (0, 1), (first, last)), piece.channels)
            first = last

    def _rows_load(self, piece: Piece, number: int) -> Load:
        """Rows of the table by a list that is loaded before."""
        (first, end), (c0, _) = piece.tile.cols, piece.channels
        beat, listed = self._beat, number % 2 * self._half
        aligned = first // beat * beat

        def emit(address: int) -> None:
            self._load_list(aligned, -(-end // beat) * beat, listed)
            source = {"address": self._table + c0, "region": isa.Region.CONSTANT}
            place = {"first": listed + first - aligned}
            self.gather(piece, address, source, place, [], f"rows of tokens {first}..{end - 1}")

        return Load((self.index, "operand", number), "operand", self.room(piece), emit, layer_bound=True)

    def _load_list(self, first: int, end: int, listed: int) -> None:
        """Ids ``first`` to ``end - 1``, whole beats, to the list memory from index ``listed`` on."""
        source, start, size = self.source.name, first * INDEX_BYTES, (end - first) * INDEX_BYTES
        registers = {
            "source": self.context.source(source, start), "row": {"bytes": size}, **levels(loads.ROWS, []),
            "destination": {"address": listed * INDEX_BYTES, "target": isa.Target.INDEX},
            "segment": {"bytes": size}, **levels(loads.SEGMENTS, []),
        }  # fmt: skip
        access = self.context.dram(source, start, start + size)
        self.context.builder.add(isa.Unit.LOAD, registers, [access], layer=self.index, note="ids")
