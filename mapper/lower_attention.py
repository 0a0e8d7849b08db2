"""Attention as steps: scores of one part, softmax on their way out, then the product with the values."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from functools import cached_property, partial
from itertools import zip_longest
from math import ceil

import numpy as np

from dataflows import isa
from dataflows.attention import Attention
from mapper import loads
from mapper.attention_drains import keep, score
from mapper.attention_jobs import Counted, Product, Softmax, counted
from mapper.attention_loads import Source, load_keys, load_numerators, load_queries, load_values
from mapper.attention_plan import IN_FLIGHT, Part, Span, attention_plan
from mapper.context import Context, parameters
from mapper.lowering import Lowering
from mapper.nests import Loops, levels
from mapper.pipeline import AHEAD, Load, Step
from mapper.placement import ALIGNMENT
from mapper.row_numbers import score_scale, value_scale
from mapper.scoreboard import Access
from mapper.selections import importance_access, observed
from mapper.tiles import Tile
from mapper.vector_jobs import ACC_LEVELS, store

PARTS_IN_DRAM = 3
"""Parts whose numerators have room in DRAM: one is written, one waits, one is read."""


class AttentionLowering(Lowering[Attention]):
    """Steps of an attention layer, head by head: the scores of a part come before the results of the part before, so
    that softmax and its way through DRAM hide behind the array.

    Raises
    ------
    InputError
        When a row does not fit the buffers.
    """

    kept_in = "scratch"
    """Name of the room in DRAM of the numerators that values are multiplied with."""

    def __init__(self, context: Context, layer: Attention, index: int):
        super().__init__(context, layer, index)
        tensors = context.network.tensors
        self.keys, self.values = tensors[layer.inputs[1]], tensors[layer.inputs[2]]
        self.plan = attention_plan(self.cfg, layer, self.source, layer.keys(tensors))
        context.reserve_scratch(self._scratch_bytes)
        tail = self.plan.keys - (self.plan.key_blocks - 1) * self.cfg.lanes
        scale = value_scale(layer, self.values, self.target)
        self.softmax = Softmax(self.plan.key_blocks, tail, *scale, positioned=layer.cached, least=layer.least)
        self._first = self.plan.parts()[: IN_FLIGHT + 1]
        """Parts whose keys come as early as they can."""
        self._at: dict[Hashable, int] = {}
        """Where each part's row scales and numerators are."""
        self._tokens = observed(context.network, layer, heads=False)
        """What the next softmax job says of the importance of tokens."""
        self._heads = observed(context.network, layer, heads=True)
        self.drains = 0
        """Accumulator banks used, one after the other."""

    def steps(self) -> Iterator[Step]:
        """All steps in program order."""
        parts = self.plan.parts()
        before: Part | None = None
        for part, behind in zip_longest(parts, parts[1:]):
            scores = list(self._scores(part, behind))
            yield from scores
            if before is not None:
                yield from self._results(before, len(scores), last=False)
            before = part
        assert before is not None
        yield from self._results(before, 0, last=True)

    @property
    def _scratch_bytes(self) -> int:
        """Room in DRAM for numerators on their way."""
        return PARTS_IN_DRAM * ceil(self.plan.scratch_bytes / ALIGNMENT) * ALIGNMENT

    def _bank(self) -> int:
        """The next accumulator bank."""
        self.drains += 1
        return (self.context.bank + self.drains - 1) % 2

    def _head(self, position: int, part: Part) -> Source:
        """The head's channels of queries, keys or values."""
        tensor = self.context.network.tensors[self.layer.inputs[position]]
        return Source.of(self.context, tensor, part.head, self.plan.depth, self.index)

    # -- scores -----------------------------------------------------------------------------------

    def _scores(self, part: Part, behind: Part | None) -> Iterator[Step]:
        """For each bank of queries a step per chunk of keys, and the drain through the row engine.

        Keys of the part ``behind`` are loaded before values of the one before, as they take longest: of the first
        parts they come while the layer before computes.
        """
        early: tuple[Load, ...] = ()
        if self.plan.keys_early and behind is not None:
            early = tuple(self._key_load(behind, (0, 0), chunk) for chunk in self.plan.key_chunks())
        for tile in self.plan.tiles(part):
            bank = self._bank()
            for chunk in self.plan.key_chunks():
                operands = (self._key_load(part, tile, chunk), self._query_load(part, tile), *early)
                early = ()
                yield Step(self.index, operands, partial(self._multiply, part, tile, chunk, bank))
            needed = (self._parameter_load(), self._scale_load(part), self._scratch_load(part))
            yield Step(self.index, needed, partial(self._soften, part, tile, bank))

    def _key_load(self, part: Part, tile: Span, chunk: Span) -> Load:
        plan = self.plan
        key: tuple[Hashable, ...] = (self.index, "keys", part.sample, part.head, chunk)
        if not plan.head_stays:
            key += (part.first,)
        if not plan.keys_stay:
            key += (tile,)
        block = plan.key_words * plan.word_bytes
        first = chunk[0] == 0
        return Load(
            key, "weight", (chunk[1] - chunk[0]) * block,
            lambda at: load_keys(self._head(1, part), plan, part.sample, chunk, at),
            reserve=plan.weights_together if plan.keys_stay and first else 0,
            ahead=AHEAD if part in self._first else plan.steps_ahead, since=self.context.made(self.keys.name),
        )  # fmt: skip

    def _query_load(self, part: Part, tile: Span) -> Load:
        """Queries of a bank, or of all heads where these stay."""
        plan, since = self.plan, self.context.made(self.source.name)
        if plan.queries_stay:
            key: Hashable = (self.index, "queries", part.sample)
            every = Source.of(self.context, self.source, 0, self.source.shape[3], self.index)

            def emit(address: int) -> None:
                self._at["queries", part.sample] = address
                for first, end in plan.banks():
                    tokens = part.sample * plan.queries + first, part.sample * plan.queries + end
                    load_queries(every, tokens, address + first * every.count)

            pair = 2 if part.sample % 2 == 0 and part.sample + 1 < plan.samples else 1  # side by side
            return Load(key, "input", plan.staying_bytes, emit, reserve=pair * plan.staying_bytes, since=since)
        key, head = (self.index, "queries", part, tile), self._head(0, part)
        before = part.sample * plan.queries + part.first
        some, size = (before + tile[0], before + tile[1]), (tile[1] - tile[0]) * plan.depth
        return Load(key, "input", size, lambda at: load_queries(head, some, at), since=since)

    def _multiply(self, part: Part, tile: Span, chunk: Span, bank: int, at: list[int]) -> None:
        """Array jobs of queries and a chunk of keys."""
        plan, rows = self.plan, tile[1] - tile[0]
        weight_at, input_at = at[:2]
        pitch, first = plan.depth, 0
        if plan.queries_stay:
            pitch = self.source.shape[3]
            input_at, first = input_at + (part.first + tile[0]) * pitch, part.head * plan.depth
        Product(
            rows=rows, pitch=pitch, words=plan.key_words, blocks=chunk[1] - chunk[0], input_from=input_at,
            input_at=input_at + first, input_bytes=rows * pitch, weight_at=weight_at, bank=bank,
            place=chunk[0] * rows, keep=False,
            note=f"{self._name(part)}: scores of queries from {part.first + tile[0]}, blocks from {chunk[0]}",
        ).emit(self.context.builder, self.index)  # fmt: skip

    def _soften(self, part: Part, tile: Span, bank: int, at: list[int]) -> None:
        """Scores of a bank through the row engine to DRAM."""
        param_at, scale_at, scratch_at = at
        rows = tile[1] - tile[0]
        note = f"{self._name(part)}: softmax of queries from {part.first + tile[0]}"
        loops: Loops = [(self.plan.key_blocks, rows), (rows, 1)]
        score(self.context, bank, loops, self.softmax.tail, param_at, self.index, note)
        for some in self._counted(part, tile):
            self._normalize(some, self._entry(part, scale_at) + some.first - part.first, note)
        keep(self.context, scratch_at + tile[0] * self.plan.keys, rows * self.plan.keys, self.index, note)

    def _counted(self, part: Part, tile: Span) -> Iterator[Counted]:
        """Keys that count for some queries of a part; those of a cache besides by the position of the run."""
        plan, layer, (first, end) = self.plan, self.layer, (part.first + tile[0], part.first + tile[1])
        if layer.cached:
            return iter([Counted(first, end, first + 1, causal=True)])
        keys = plan.keys if layer.lengths is None else layer.lengths[part.sample]
        return counted(first, end, keys, plan.keys - plan.queries if layer.causal else None)

    def _normalize(
        self, rows: Counted, entry: int, note: str, sure: int | None = None, counts: bool = True
    ) -> None:
        """A ROWS job; the first one of a layer says how its importance begins, those that do not count add nothing."""
        importance = self._tokens if counts else {}
        if counts and self._tokens:
            self._tokens = self._tokens | {"fresh": 0}
        self.softmax.emit(self.context.builder, rows, entry, self.index, note, importance, sure)

    @cached_property
    def _parameter_offset(self) -> int:
        """Constant-region offset of the one parameter entry: the scale of scores."""
        multiplier, shift = score_scale(self.layer, self.source, self.keys)
        lanes = np.ones(self.cfg.lanes, np.int64)
        return self.context.constants.add(parameters(self.cfg, 0 * lanes, lanes * multiplier, lanes * shift))

    def _parameter_load(self) -> Load:
        return loads.parameter_load(self.context, (self.index, "param"), self._parameter_offset, 1, self.index)

    def _place(self, part: Part, what: str, memory: str, size: int) -> Load:
        """Room for what units write for a part; nothing is loaded."""

        def emit(address: int) -> None:
            self._at[what, part] = address

        return Load((self.index, what, part), memory, size, emit)

    def _scale_load(self, part: Part) -> Load:
        return self._place(part, "scale", "scale", self.plan.scale_slot)

    def _entry(self, part: Part, scale_at: int) -> int:
        """The first row scale of a part, given what :meth:`_scale_load` has got."""
        return scale_at

    def _scratch_load(self, part: Part) -> Load:
        return self._place(part, "scratch", "scratch", (part.end - part.first) * self.plan.keys)

    def _kept_load(self, part: Part) -> Load:
        """Where in DRAM the numerators are that values are multiplied with."""
        return self._place(part, self.kept_in, "scratch", (part.end - part.first) * self.plan.kept)

    # -- results ----------------------------------------------------------------------------------

    def _results(self, part: Part, ahead: int, *, last: bool) -> Iterator[Step]:
        """A step per chunk of values, and the drain to the output.

        ``ahead`` is the number of steps since the part's numerators are on their way to DRAM.
        """
        bank, kept = self._bank(), self._kept_load(part)
        beside = (self._query_load(part, (0, 0)),) if self.plan.queries_stay else ()
        for chunk in self.plan.value_chunks():
            needed = (self._value_load(part, chunk, ahead), self._numerator_load(part, ahead), kept, *beside)
            yield Step(self.index, needed, partial(self._weigh, part, chunk, bank))
        yield Step(self.index, (self._scale_load(part),), partial(self._drain, part, bank, last))

    def _value_load(self, part: Part, chunk: Span, ahead: int) -> Load:
        """Values of a chunk of keys; they need not wait for the numerators, as ``ahead`` would."""
        plan = self.plan
        key: tuple[Hashable, ...] = (self.index, "values", part.sample, part.head, chunk)
        if not plan.values_stay:
            key += (part.first,)
        word = plan.value_blocks * plan.word_bytes
        reserve = plan.value_words * word if plan.values_stay and chunk[0] == 0 else 0
        return Load(
            key, "weight", (chunk[1] - chunk[0]) * word,
            partial(self._load_values, part, chunk),
            reserve=reserve if reserve <= self.cfg.memory.weight_bytes else 0, since=self._since(self.values.name),
        )  # fmt: skip

    def _load_values(self, part: Part, chunk: Span, address: int) -> None:
        load_values(self._head(2, part), self.plan, part.sample, chunk, address)

    def _since(self, tensor: str) -> int:
        """The last layer of which loads of keys or values need something."""
        return self.context.made(tensor)

    def _numerator_load(self, part: Part, ahead: int) -> Load:
        """Numerators, to room of their own or to a slot behind the queries that stay."""
        plan, size = self.plan, (part.end - part.first) * self.plan.kept

        def emit(address: int) -> None:
            if plan.queries_stay:
                address = self._at["queries", part.sample] + plan.slot(address)
            self._at["numerators", part] = address
            load_numerators(self.context, isa.Target.INPUT, address, self._at[self.kept_in, part], size, self.index)

        memory, room = ("slot", 1) if plan.queries_stay else ("input", size)
        return Load((self.index, "numerators", part), memory, room, emit, layer_bound=True, ahead=ahead)

    def _weigh(self, part: Part, chunk: Span, bank: int, at: list[int]) -> None:
        """Array jobs of numerators and a chunk of values."""
        plan, rows, array_rows = self.plan, part.end - part.first, self.cfg.array.rows
        weight_at, input_at = at[0], self._at["numerators", part]
        Product(
            rows=rows, pitch=plan.kept, words=chunk[1] - chunk[0], blocks=plan.value_blocks, input_from=input_at,
            input_at=input_at + chunk[0] * array_rows, input_bytes=rows * plan.kept, weight_at=weight_at, bank=bank,
            place=0, keep=chunk[0] > 0, note=f"{self._name(part)}: values of keys from {chunk[0] * array_rows}",
        ).emit(self.context.builder, self.index)  # fmt: skip

    def _drain(self, part: Part, bank: int, last: bool, at: list[int]) -> None:
        """Results of a part to the head's channels of the output."""
        cfg, plan, rows = self.cfg, self.plan, part.end - part.first
        scale_at = self._entry(part, at[0])
        note = f"{self._name(part)}: results of queries {part.first}..{part.end - 1}"
        tail = plan.depth - (plan.value_blocks - 1) * cfg.lanes
        heads = self._heads and self._heads | {"head": part.head, "fresh": int(self._heads["fresh"] and not part.first)}
        self.context.builder.add(
            isa.Unit.VECTOR,
            {
                "mode": {"by_row": 1}, "param": {"entry": scale_at, "blocks": plan.value_blocks, "tail": tail},
                "requantize": {"zero": self.target.zero, "low": self.layer.low, "high": self.layer.high},
                **({"importance": heads} if heads else {}),
                "acc_base": {"address": bank * cfg.acc_bank_words},
                **levels(ACC_LEVELS, [(plan.value_blocks, rows), (rows, 1)], "acc_"),
            },
            [
                Access("acc", bank, bank + 1), Access("scale", scale_at, scale_at + rows), *importance_access(heads),
            ],
            layer=self.index, note=note,
        )  # fmt: skip
        tile = Tile((part.sample, part.sample + 1), (0, 1), (part.first, part.end))
        channel = part.head * plan.depth
        output, shape = self.layer.output, self.target.shape
        store(self.context, output, shape, tile, channel, plan.depth, self.index, note, mark=last)

    def _name(self, part: Part) -> str:
        return f"{self.layer.name} sample {part.sample} head {part.head}"
