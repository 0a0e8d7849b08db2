"""Attention of one query, to the keys of a cache above all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

from dataflows import isa
from dataflows.attention import Attention
from dataflows.pruning import Select
from mapper.attention_drains import keep, score
from mapper.attention_jobs import Counted, Product
from mapper.attention_loads import Source, load_half, load_queries, turn_query
from mapper.attention_plan import Part, Span, even, spans
from mapper.check_transformers import BANKS
from mapper.context import Context
from mapper.lower_attention import AttentionLowering
from mapper.pipeline import Load, Step
from mapper.selections import numbers_at, select_once

LARGEST = 127
"""Numerator of the largest score."""

INPUT_PARTS = 8
"""Keys are loaded in parts of at most this fraction of the input buffer."""

WEIGHT_PARTS = 8
"""Values are loaded in parts of at most this fraction of the weight buffer."""


class QueryLowering(AttentionLowering):
    """Steps of attention where a sample has one query: it is the weight, in one column, and the keys move.

    Keys and values pass once, as they lie. Sums come one per word and key, and are one row of the softmax.
    """

    def __init__(self, context: Context, layer: Attention, index: int):
        super().__init__(context, layer, index)
        self.softmax = self.softmax.of_column()
        words, word = self.plan.value_words, self.plan.value_blocks * self.plan.word_bytes
        most = self.cfg.memory.weight_bytes // WEIGHT_PARTS // word
        self._over = 2 * self.plan.keys * self.plan.depth <= self.cfg.memory.input_bytes
        """Lower halves of a head's keys lie where the upper ones were: these stay on chip until it is known."""
        self._listed = None if layer.listed is None else numbers_at(context, layer.listed)
        self.plan = replace(
            self.plan, queries_stay=False, head_stays=False,  # keys are in the input buffer, and all is used once
            value_chunk=words if layer.value_threshold else even(words, max(1, most)),
        )  # fmt: skip

    def steps(self) -> Iterator[Step]:
        """All steps in program order.

        Where the sums of a head fit one bank its lower halves follow the results of the head before in the other one,
        so that the decision is there when the array needs it.
        """
        if not self.layer.threshold or self.plan.keys > self.cfg.acc_bank_words:
            yield from super().steps()
            return
        before: Part | None = None
        for part in self.plan.parts():
            banks = [(self._bank(), 0, self.plan.keys)]
            upper = list(self._pass(part, banks, isa.Nibbles.HIGH))
            yield from upper
            results = [] if before is None else list(self._results(before, len(upper), last=False))
            self.drains += len(results) > 0  # results lie where their scores were
            yield from results[:1]
            yield from self._lower(part, banks)
            yield from results[1:]
            yield from self._pass(part, banks, isa.Nibbles.LOW)
            before = part
        assert before is not None
        self.drains += 1
        yield from self._results(before, 0, last=True)

    @staticmethod
    def suits(context: Context, layer: Attention) -> bool:
        """Whether a layer has one query per sample, and its scores fit the accumulators."""
        queries, keys = context.network.tensors[layer.inputs[0]].shape[2], layer.keys(context.network.tensors)
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
        yield from self._lower(part, banks)
        yield from self._pass(part, banks, isa.Nibbles.LOW)

    def _pass(self, part: Part, banks: list[tuple[int, int, int]], half: isa.Nibbles) -> Iterator[Step]:
        for bank, start, keys in self._pieces(banks):
            operands = self._query_weight(part, half), self._moving_load(part, keys, half)
            yield Step(self.index, operands, self._when(half, partial(self._meet, part, keys, bank, start, half)))
        needed = (self._parameter_load(), self._scale_load(part), self._scratch_load(part))
        yield Step(self.index, needed, self._when(half, partial(self._collect, part, banks, half)))

    def _pieces(self, banks: list[tuple[int, int, int]]) -> Iterator[tuple[int, int, Span]]:
        """Keys that are loaded together: their bank, their first word in it, and which they are."""
        most = max(1, min(self.cfg.acc_bank_words, self.cfg.memory.input_bytes // INPUT_PARTS // self.plan.depth))
        for bank, first, end in banks:
            for start, stop in spans(end - first, most):
                yield bank, start, (first + start, first + stop)

    def _lower(self, part: Part, banks: list[tuple[int, int, int]]) -> Iterator[Step]:
        """Lower halves of all keys over the upper ones, so that they take no room of their own: they may never come.

        They come one behind the other: whoever is to skip them waits for no other load.
        """
        if not self._over:
            return
        pieces = [keys for *_, keys in self._pieces(banks)]

        def emit(at: list[int]) -> None:
            for keys, address in zip(pieces, at, strict=True):
                self._move(part, keys, isa.Nibbles.LOW, address)

        upper = tuple(self._moving_load(part, keys, isa.Nibbles.HIGH) for keys in pieces)
        yield Step(self.index, upper, self._when(isa.Nibbles.LOW, emit))

    def _head(self, position: int, part: Part) -> Source:
        """The head's channels; keys and values by the list, where there is one."""
        source = super()._head(position, part)
        return source if self._listed is None or not position else replace(source, listed=self._listed)

    def _since(self, tensor: str) -> int:
        """The last layer of which loads of keys or values need something."""
        made = self.context.made(tensor)
        return max(made, self.context.made(self.layer.listed)) if self.layer.listed else made

    def _select(self) -> None:
        """The selection of the keys, before the first job that goes by it."""
        for layer in self.context.network.layers:
            if isinstance(layer, Select) and layer.output == self.layer.listed:
                select_once(self.context, layer, self.index)

    def _when(self, half: isa.Nibbles, emit: Callable[..., None]) -> Callable[..., None]:
        """Jobs of lower halves are predicated."""

        def predicated(*at: Any) -> None:
            with self.context.builder.predicated():
                emit(*at)

        return predicated if half is isa.Nibbles.LOW else emit

    def _query_weight(self, part: Part, half: isa.Nibbles) -> Load:
        """The query of a pass: if that of both halves stayed, values would have to go around it."""
        plan = self.plan
        return Load(
            (self.index, "query", part, half), "weight", plan.key_words * plan.word_bytes,
            lambda at: turn_query(self._head(0, part), plan, part.sample * plan.queries + part.first, at),
            since=self.context.made(self.source.name),
        )  # fmt: skip

    def _moving_load(self, part: Part, keys: Span, half: isa.Nibbles) -> Load:
        """Keys or halves of them; lower ones that lie elsewhere come no sooner than needed, behind the decision."""
        size, since = (keys[1] - keys[0]) * self.plan.depth, self._since(self.keys.name)
        if half is isa.Nibbles.LOW and not self._over:
            emit = self._when(half, partial(self._move, part, keys, half))
            return Load((self.index, "lower", part, keys), "input", size, emit, ahead=0, since=since)
        half = isa.Nibbles.HIGH if self.layer.threshold else isa.Nibbles.NONE
        emit = partial(self._move, part, keys, half)
        return Load((self.index, "moving", part, keys), "input", size, emit, since=since)

    def _move(self, part: Part, keys: Span, half: isa.Nibbles, address: int) -> None:
        """LOAD jobs of keys or of halves."""
        source, first = self._head(1, part), part.sample * self.plan.keys
        tokens = first + keys[0], first + keys[1]
        self._select()
        if half is isa.Nibbles.NONE:
            load_queries(source, tokens, address, "keys")
        else:
            load_half(source, tokens, address, half)

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
            score(self.context, bank, [(1, 0), (end - first, 1)], 1, param_at, self.index, note)
        if self.layer.cached:
            sure = self._sure if half is isa.Nibbles.HIGH else None
            self._normalize(Counted(0, 1, 1, causal=False), scale_at, note, sure, half is not isa.Nibbles.LOW)
        else:
            for some in self._counted(part, (0, 1)):
                self._normalize(some, scale_at, note)
        keep(self.context, scratch_at, self.plan.keys, self.index, note)
        if half is isa.Nibbles.LOW:
            self.context.builder.use_up()

    @property
    def _sure(self) -> int:
        """Largest sum of a row whose largest probability is at least the threshold."""
        return int(LARGEST / Fraction(float(np.float32(self.layer.threshold))))
