"""Attention to candidates: a search in sorted columns for each query, then attention to what it has found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from math import ceil

from dataflows import isa
from dataflows.attention import Attention
from mapper.attention_drains import keep, score
from mapper.attention_loads import Source, load_values
from mapper.attention_plan import Part, Span
from mapper.candidates import SLOTS, Search, head_keys, sorted_columns
from mapper.context import Context
from mapper.lower_attention import AttentionLowering
from mapper.lower_generation import QueryLowering
from mapper.nests import ROWS, SEGMENTS, Loops, levels
from mapper.pipeline import Load, Step
from mapper.scoreboard import Access
from mapper.selections import candidates_list
from mapper.vector_jobs import OPERAND_LEVELS

FOUND = "candidates found"
"""How many searches have found, as a memory of the scoreboard: two slots."""

Places = dict[Part, int]


class CandidateLowering(QueryLowering):
    """Steps of attention to candidates: every query is a part of its own, and has a list of its own.

    The search of the next query runs while keys and values of this one are loaded and multiplied; so there are two
    lists, used in turn. Columns of a head stay on chip for all its queries.
    """

    def __init__(self, context: Context, layer: Attention, index: int):
        super().__init__(context, layer, index)
        self.plan = replace(self.plan, score_rows=1, value_rows=1, value_chunk=self.plan.value_words)
        self._all_keys = self.keys.shape[2]
        self._slots: Places = {part: n % SLOTS for n, part in enumerate(self._parts())}

    def _parts(self) -> list[Part]:
        """Queries of all samples, head by head."""
        return sorted(self.plan.parts(), key=lambda part: part.head)

    def steps(self) -> Iterator[Step]:
        """Of each query: scores, the search of the next one, results of the one before, softmax."""
        parts = self._parts()
        before: Part | None = None
        yield self._search_step(parts[0])
        for part, behind in zip_longest(parts, parts[1:]):
            bank = self._bank()
            loaded = self._query_weight(part, isa.Nibbles.NONE), self._key_rows(part)
            values = self._value_load(part, (0, self.plan.value_words), 0)
            meet = partial(self._meet_candidates, part, bank)
            yield Step(self.index, (*loaded, values), meet)
            if behind is not None:
                yield self._search_step(behind)
            if before is not None:
                yield from self._results(before, 3, last=False)
            needed = (self._parameter_load(), self._scale_load(part), self._scratch_load(part))
            yield Step(self.index, needed, partial(self._collect_candidates, part, bank))
            before = part
        assert before is not None
        yield from self._results(before, 0, last=True)

    # -- search -----------------------------------------------------------------------------------

    def _search_step(self, part: Part) -> Step:
        """Columns of the head and the query, then the search."""
        loaded = self._column_load(part.head), self._operand_load(part), self.identity("unit")
        return Step(self.index, loaded, partial(self._search, part))

    def _column_load(self, head: int) -> Load:
        """Columns of a head: the memory has room for those of one."""
        cfg, context = self.cfg, self.context

        def emit(_: int) -> None:
            columns = sorted_columns(cfg, head_keys(context.network, self.layer, head))
            count, row = columns.shape
            context.builder.add(
                isa.Unit.LOAD,
                {
                    "source": {"address": context.constants.add(columns), "region": isa.Region.CONSTANT},
                    "row": {"bytes": count * row}, **levels(ROWS, []),
                    "destination": {"address": 0, "target": isa.Target.COLUMNS}, "segment": {"bytes": row},
                    **levels(SEGMENTS, [(count, cfg.candidate_column_bytes)]),
                },
                [Access("columns", 0, 1, write=True)], layer=self.index, note=f"sorted columns of head {head}",
            )  # fmt: skip

        return Load((self.index, "columns", head), "columns", 1, emit)

    def _operand_load(self, part: Part) -> Load:
        """The query, for the vector unit; its last word may reach beyond the last channel."""
        token = self._token(part)

        def emit(address: int) -> None:
            self._head(0, part).load((token, token + 1), isa.Target.OPERAND, address, self.plan.depth, [], "query")

        return Load(
            (self.index, "searched", part), "operand", self.plan.depth + self.cfg.lanes, emit,
            since=self.context.made(self.source.name),
        )  # fmt: skip

    def _search(self, part: Part, at: list[int]) -> None:
        """The query from the operand buffer to the row engine, which searches."""
        _, operand_at, param_at = at
        cfg, builder, depth = self.cfg, self.context.builder, self.plan.depth
        blocks, entry, note = ceil(depth / cfg.lanes), cfg.param_entry_bytes, f"{self._name(part)}: search"
        tail = depth - (blocks - 1) * cfg.lanes
        loops: Loops = [(1, 0), (1, 0), (blocks, cfg.lanes)]
        builder.add(
            isa.Unit.VECTOR,
            {
                "mode": {"from_operand": 1, "broadcast": 1, "rows": 1},
                "param": {"entry": param_at // entry, "blocks": blocks, "tail": tail},
                "requantize": {"zero": 0, "low": -128, "high": 127}, "operand_base": {"address": operand_at},
                **levels(OPERAND_LEVELS, loops, "operand_"),
            },
            [
                Access("operand", operand_at, operand_at + depth + cfg.lanes),
                Access("param", param_at, param_at + entry),
            ],
            layer=self.index, note=note,
        )  # fmt: skip
        slot, place = self._slots[part], self._list(part)
        job = builder.add(
            isa.Unit.ROWS,
            {
                "mode": {"kind": isa.Rows.SEARCH, "blocks": blocks, "tail": tail},
                "select": {"count": self._all_keys, "keep": self.layer.candidates, "place": place},
                "values": {"observe": 0, "slot": slot},
            },
            [
                Access("index", place, place + 1 + self.plan.keys, write=True), Access("columns", 0, 1),
                Access(FOUND, slot, slot + 1, write=True),
            ],
            layer=self.index, note=note,
        )  # fmt: skip
        keys = head_keys(self.context.network, self.layer, part.head)
        builder.searches[job.index] = Search(self.layer, keys, self._token(part), part.head)

    # -- keys and values of the list --------------------------------------------------------------

    def _token(self, part: Part) -> int:
        """Number of the query, counted over all samples."""
        return part.sample * self.plan.queries + part.first

    def _list(self, part: Part) -> int:
        """Index of the length of a query's list."""
        return candidates_list(self.cfg, self.context.network) + self._slots[part] * (1 + self.plan.keys)

    def _head(self, position: int, part: Part) -> Source:
        """The head's channels; keys and values by the list, which counts within the sample."""
        source = AttentionLowering._head(self, position, part)
        if not position:
            return source
        first = source.first + part.sample * self._all_keys * source.pitch
        return replace(source, first=first, listed=self._list(part) + 1, counted=True)

    def _key_rows(self, part: Part) -> Load:
        """Keys of the list, one per segment: there are as many as the list has. Not before the search."""
        count, depth = self.plan.keys, self.plan.depth

        def emit(address: int) -> None:
            loops: Loops = [(1, 0), (1, 0), (count, depth)]
            self._head(1, part).load((0, count), isa.Target.INPUT, address, depth, loops, "candidates")

        key, since = (self.index, "candidates", part), self._since(self.keys.name)
        return Load(key, "input", count * depth, emit, ahead=0, since=since)

    def _value_load(self, part: Part, chunk: Span, ahead: int) -> Load:
        """Values of the list, together with its keys: later another list may lie there."""
        return replace(super()._value_load(part, chunk, ahead), ahead=0)

    def _load_values(self, part: Part, chunk: Span, address: int) -> None:
        load_values(self._head(2, part), self.plan, 0, chunk, address)

    def _meet_candidates(self, part: Part, bank: int, at: list[int]) -> None:
        """Scores of the candidates; what lies behind the last one does not count."""
        self._meet(part, (0, self.plan.keys), bank, 0, isa.Nibbles.NONE, at[:2])

    def _collect_candidates(self, part: Part, bank: int, at: list[int]) -> None:
        """Scores as a row of the softmax, of which as many count as the search has found."""
        param_at, scale_at, scratch_at = at
        plan, slot, note = self.plan, self._slots[part], f"{self._name(part)}: softmax of candidates"
        score(self.context, bank, [(1, 0), (plan.keys, 1)], 1, param_at, self.index, note)
        self.context.builder.add(
            isa.Unit.ROWS,
            {
                "mode": {"kind": isa.Rows.SOFTMAX, "blocks": plan.key_blocks, "tail": self.softmax.tail, "column": 1},
                "count": {"rows": 1, "valid": 0},
                "scale": {"multiplier": self.softmax.multiplier, "shift": self.softmax.shift, "entry": scale_at},
                "values": {"observe": 0, "least": self.layer.least, "found": 1, "slot": slot},
            },
            [Access("scale", scale_at, scale_at + 1, write=True), Access(FOUND, slot, slot + 1)],
            layer=self.index, note=note,
        )  # fmt: skip
        keep(self.context, scratch_at, plan.keys, self.index, note)
