"""Layers of generation: tokens to caches, values by position, and attention of one query to the keys of a cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cached_property, partial
from typing import Any

import numpy as np

from dataflows import isa
from dataflows.attention import Append, Attention, Positional
from mapper import loads
from mapper.attention_jobs import Counted, Product
from mapper.attention_loads import load_half, load_queries, turn_query
from mapper.attention_plan import Part, Span, spans
from mapper.context import Context
from mapper.halves import halved
from mapper.lower_attention import AttentionLowering
from mapper.lower_copy import Passing
from mapper.nests import levels
from mapper.pieces import Piece
from mapper.pipeline import AHEAD, Load, Step

BANKS = 2
"""Accumulator banks that scores of a query may take: rows that are not complete keep them."""

LARGEST = 127
"""Numerator of the largest score."""

INPUT_PARTS = 4
"""Keys are loaded in parts of at most this fraction of the input buffer."""


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
        pieces = self.pieces(self.target.shape)
        for number, piece in enumerate(pieces):
            needed = self._rows_load(piece, number), self.identity()
            yield Step(self.index, needed, partial(self._run, piece, number == len(pieces) - 1))

    def _run(self, piece: Piece, last: bool, at: list[int]) -> None:
        self.emit(piece, self.target.shape, None, at, last)

    def _rows_load(self, piece: Piece, number: int) -> Load:
        (first, end), (c0, c1), channels = piece.tile.cols, piece.channels, self.target.shape[3]
        size = (end - first) * (c1 - c0)

        def emit(address: int) -> None:
            start = self._value + first * channels + c0
            registers = {
                "source": {"address": start, "region": isa.Region.CONSTANT}, "row": {"bytes": c1 - c0},
                **levels(loads.ROWS, []), "row_c": {"count": end - first, "step": channels},
                "destination": {"address": address, "target": isa.Target.OPERAND}, "segment": {"bytes": size},
                **levels(loads.SEGMENTS, []), "gather": {"indexed": 1, "positioned": 1},
            }  # fmt: skip
            access = loads.written(isa.Target.OPERAND, address, size)
            note = f"tokens {first}..{end - 1} behind the position"
            self.context.builder.add(isa.Unit.LOAD, registers, [access], layer=self.index, note=note)

        return Load((self.index, "operand", number), "operand", self.room(piece), emit)


class QueryLowering(AttentionLowering):
    """Steps of attention where a sample has one query: it is the weight, in one column, and the keys move.

    Keys and values pass once, as they lie. Sums come one per word and key, and are one row of the softmax.
    """

    def __init__(self, context: Context, layer: Attention, index: int):
        super().__init__(context, layer, index)
        self.softmax = self.softmax.of_column()
        self.plan = replace(self.plan, queries_stay=False)  # keys are in the input buffer


    @staticmethod
    def suits(context: Context, layer: Attention) -> bool:
        """Whether a layer has one query per sample, and its scores fit the accumulators."""
        queries, keys = (context.network.tensors[name].shape[2] for name in layer.inputs[:2])
        return queries == 1 and keys <= BANKS * context.cfg.acc_bank_words

    def _scores(self, part: Part, behind: Part | None) -> Iterator[Step]:
        """A step per piece of keys, and the drain of one or two banks through the row engine.

        With a threshold these are the upper halves of the keys, and the same follows for the lower ones, predicated.
        """
        banks = [(self._bank(), *span) for span in spans(self.plan.keys, self.cfg.acc_bank_words)]
        if not self.layer.threshold:
            yield from self._pass(part, banks, isa.Nibbles.NONE)
            return
        yield from self._pass(part, banks, isa.Nibbles.HIGH)
        yield from self._pass(part, banks, isa.Nibbles.LOW)

    def _pass(self, part: Part, banks: list[tuple[int, int, int]], half: isa.Nibbles) -> Iterator[Step]:
        plan = self.plan
        most = max(1, min(self.cfg.acc_bank_words, self.cfg.memory.input_bytes // INPUT_PARTS // plan.depth))
        for bank, first, end in banks:
            for start, stop in spans(end - first, most):
                keys = first + start, first + stop
                operands = self._query_weight(part), self._moving_load(part, keys, half)
                yield Step(self.index, operands, self._when(half, partial(self._meet, part, keys, bank, start, half)))
        needed = (self._parameter_load(), self._scale_load(part), self._scratch_load(part))
        yield Step(self.index, needed, self._when(half, partial(self._collect, part, banks, half)))

    def _when(self, half: isa.Nibbles, emit: Callable[..., None]) -> Callable[..., None]:
        """Jobs of lower halves are predicated."""
        builder = self.context.builder

        def predicated(*at: Any) -> None:
            with builder.predicated():
                emit(*at)

        return predicated if half is isa.Nibbles.LOW else emit

    def _query_weight(self, part: Part) -> Load:
        plan = self.plan
        return Load(
            (self.index, "query", part), "weight", plan.key_words * plan.word_bytes,
            lambda at: turn_query(self._head(0, part), plan, part.sample, at),
            since=self.context.made(self.source.name),
        )  # fmt: skip

    def _moving_load(self, part: Part, keys: Span, half: isa.Nibbles) -> Load:
        source, first, most = self._head(1, part), part.sample * self.plan.keys, self.plan.keys
        tokens = first + keys[0], first + keys[1]

        def emit(address: int) -> None:
            if half is isa.Nibbles.NONE:
                load_queries(source, tokens, address, "keys")
            else:
                load_half(source, tokens, address, half, most)

        return Load(
            (self.index, "moving", part, keys, half), "input", (keys[1] - keys[0]) * self.plan.depth,
            self._when(half, emit), since=self.context.made(self.keys.name),
            ahead=0 if half is isa.Nibbles.LOW else AHEAD,
        )  # fmt: skip

    def _meet(self, part: Part, keys: Span, bank: int, place: int, half: isa.Nibbles, at: list[int]) -> None:
        """Array jobs of a piece of keys and the query; lower halves are added to what upper ones have left."""
        count, depth = keys[1] - keys[0], self.plan.depth
        weight_at, input_at = at
        Product(
            rows=count, pitch=depth, words=self.plan.key_words, blocks=1, input_from=input_at, input_at=input_at,
            input_bytes=count * depth, weight_at=weight_at, bank=bank, place=place, keep=half is isa.Nibbles.LOW,
            note=f"{self._name(part)}: scores of keys {keys[0]}..{keys[1] - 1}",
        ).emit(self.context.builder, self.index)  # fmt: skip

    def _collect(self, part: Part, banks: list[tuple[int, int, int]], half: isa.Nibbles, at: list[int]) -> None:
        """Scores of all banks as one row through the row engine to DRAM; those of upper halves decide."""
        param_at, scale_at, scratch_at = at
        note = f"{self._name(part)}: softmax"
        for bank, first, end in banks:
            self._score(bank, [(1, 0), (end - first, 1)], 1, param_at, note)
        if self.layer.cached:
            sure = self._sure if half is isa.Nibbles.HIGH else None
            self._normalize(Counted(0, 1, 1, causal=False), scale_at, note, sure)
        else:
            for some in self._counted(part, (0, 1)):
                self._normalize(some, scale_at, note)
        self._keep(scratch_at, self.plan.keys, note)
        if half is isa.Nibbles.LOW:
            self.context.builder.use_up()

    @property
    def _sure(self) -> int:
        """Largest sum of a row whose largest probability is at least the threshold."""
        return int(LARGEST / Fraction(float(np.float32(self.layer.threshold))))
