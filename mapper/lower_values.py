"""Attention that leaves out values: which ones, the softmax of a whole head says; their numerators go once more through
the row engine, which closes the gaps."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import partial
from itertools import groupby, pairwise
from math import ceil

from dataflows import isa
from dataflows.attention import Attention
from mapper.attention_drains import keep
from mapper.attention_loads import load_numerators, load_values
from mapper.attention_plan import Part, Span, even, spans
from mapper.context import Context
from mapper.lower_attention import PARTS_IN_DRAM, AttentionLowering
from mapper.lower_generation import QueryLowering
from mapper.nests import Loops, levels
from mapper.pipeline import Load, Step
from mapper.placement import ALIGNMENT
from mapper.scoreboard import Access
from mapper.selections import largest_left_out, values_list
from mapper.vector_jobs import OPERAND_LEVELS

PACKING_SLOTS = 4
"""Numerators that are packed together take at most this fraction of the operand buffer, if they can."""

Head = list[Part]


class ValuesLowering(AttentionLowering):
    """Steps of an attention layer of which values are left out.

    Head by head: scores of all its parts; then, while the array computes those of the next head, the selection, and
    numerators of what stays are packed; at last these meet values.
    """

    kept_in = "packed"

    def __init__(self, context: Context, layer: Attention, index: int):
        super().__init__(context, layer, index)
        self.softmax = replace(self.softmax, observe=True, largest=bool(layer.value_threshold))
        self._list = values_list(self.cfg, context.network)

    @staticmethod
    def suits(context: Context, layer: Attention) -> bool:
        """Whether the layer leaves out values."""
        return layer.selects_values(layer.keys(context.network.tensors))

    @property
    def _scratch_bytes(self) -> int:
        """Numerators of whole heads, and as many packed ones."""
        parts = ceil(self.plan.queries / self.plan.value_rows)
        sizes = (self.plan.scratch_bytes, self.plan.numerator_bytes)
        return PARTS_IN_DRAM * parts * sum(ceil(size / ALIGNMENT) * ALIGNMENT for size in sizes)

    def steps(self) -> Iterator[Step]:
        """All steps in program order."""
        parts = self.plan.parts()
        behind = dict(pairwise(parts))
        before: Head = []
        ahead = 0  # steps since the softmax of that
        for _, found in groupby(parts, key=lambda part: (part.sample, part.head)):
            head = list(found)
            scores = [step for part in head for step in self._scores(part, behind.get(part))]
            if before:
                ahead = yield from self._finish(before, ahead, scores, last=False)
            else:
                yield from scores
            before = head
        yield from self._finish(before, ahead, [], last=True)

    def _finish(self, head: Head, ahead: int, scores: list[Step], *, last: bool) -> Generator[Step, None, int]:
        """The rest of a head among the ``scores`` of the next one; ``ahead`` is the number of steps since its softmax.

        The selection comes before the softmax of the next head, which is to find empty columns; then numerators are
        packed, a few rows before each softmax but the last, and at last they meet values. Returns the steps of that.
        """
        pieces = list(self._unpacked(head))
        softmax = [n for n, step in enumerate(scores) if any(load.memory == "scale" for load in step.loads)]
        merged: list[Step] = []
        packed: dict[Part, int] = {}  # how many steps of those when a part is packed
        done = 0
        for n, step in enumerate([*scores, None]):
            share = (softmax.index(n) + 1) / max(1, len(softmax) - 1) if n in softmax else float(step is None)
            while done < min(1, share) * len(pieces):
                part, rows = pieces[done]
                merged.append(self._pack(part, rows, ahead + 1 + len(merged)))
                packed[part] = len(merged)
                done += 1
            merged += [step] if step else []
        first = tuple(self._operand_load(part, rows, ahead) for part, rows in pieces[: PACKING_SLOTS - 1])
        yield Step(self.index, first, partial(self._select_values, head[0]))
        yield from merged
        results: list[Step] = []
        for part in head:
            since = len(merged) - packed[part] + len(results)
            results += self._results(part, since, last=last and part is head[-1])
        yield from results
        return len(results)

    # -- selection and packing --------------------------------------------------------------------

    def _unpacked(self, head: Head) -> Iterator[tuple[Part, Span]]:
        """Rows that are packed together."""
        size = max(1, self.cfg.memory.operand_bytes // PACKING_SLOTS // self.plan.keys)
        for part in head:
            for rows in spans(part.end - part.first, even(part.end - part.first, size)):
                yield part, rows

    def _pack(self, part: Part, rows: Span, ahead: int) -> Step:
        """The step of such rows; ``ahead`` is the number of steps since the softmax."""
        needed = (
            self._operand_load(part, rows, ahead), self.identity("unit"), self._kept_load(part),
            self._scratch_load(part),
        )
        return Step(self.index, needed, partial(self._pack_rows, part, rows))

    def _operand_load(self, part: Part, some: Span, ahead: int) -> Load:
        """Numerators of some rows; the last word may reach beyond the last key."""
        size = (some[1] - some[0]) * self.plan.keys

        def emit(address: int) -> None:
            start = self._at["scratch", part] + some[0] * self.plan.keys
            load_numerators(self.context, isa.Target.OPERAND, address, start, size, self.index)

        key = (self.index, "unpacked", part, some)
        return Load(key, "operand", size + self.cfg.lanes, emit, layer_bound=True, ahead=ahead)

    def _pack_rows(self, part: Part, some: Span, at: list[int]) -> None:
        """Some rows through VECTOR and the row engine back to DRAM."""
        operand_at, param_at, packed_at, _ = at
        plan, cfg, rows = self.plan, self.cfg, some[1] - some[0]
        note = f"{self._name(part)}: packed numerators of queries from {part.first + some[0]}"
        tail = plan.keys - (plan.key_blocks - 1) * cfg.lanes
        loops: Loops = [(1, 0), (1, 0), (plan.key_blocks, cfg.lanes), (rows, plan.keys)]
        entry = cfg.param_entry_bytes
        self.context.builder.add(
            isa.Unit.VECTOR,
            {
                "mode": {"from_operand": 1, "broadcast": 1, "rows": 1},
                "param": {"entry": param_at // entry, "blocks": plan.key_blocks, "tail": tail},
                "requantize": {"zero": 0, "low": -128, "high": 127}, "operand_base": {"address": operand_at},
                **levels(OPERAND_LEVELS, loops, "operand_"),
            },
            [
                Access("operand", operand_at, operand_at + rows * plan.keys + cfg.lanes),
                Access("param", param_at, param_at + entry),
            ],
            layer=self.index, note=note,
        )  # fmt: skip
        self.context.builder.add(
            isa.Unit.ROWS,
            {
                "mode": {"kind": isa.Rows.PACK, "blocks": plan.key_blocks, "tail": tail}, "count": {"rows": rows},
                "values": {"count": plan.kept},
            },
            [], layer=self.index, note=note,
        )  # fmt: skip
        keep(self.context, packed_at + some[0] * plan.kept, rows * plan.kept, self.index, note)

    def _select_values(self, part: Part, _: list[int]) -> None:
        """The ROWS job that chooses the values of a part's head."""
        layer, plan = self.layer, self.plan
        floor = {"by_floor": 1, "floor": largest_left_out(layer)} if layer.value_threshold else {"by_floor": 0}
        self.context.builder.add(
            isa.Unit.ROWS,
            {
                "mode": {"kind": isa.Rows.SELECT_VALUES},
                "values": {**floor, "numbered": int(layer.listed is not None)},
                "select": {"count": plan.keys, "keep": plan.kept, "place": self._list},
            },
            [Access("index", self._list, self._list + 1 + plan.kept, write=True)], layer=self.index,
            note=f"{self._name(part)}: {'up to ' if floor['by_floor'] else ''}{plan.kept} of {plan.keys} values",
        )  # fmt: skip

    # -- what else is different -------------------------------------------------------------------

    def _scale_load(self, part: Part) -> Load:
        """Row scales of a whole head."""
        return Load(
            (self.index, "scale", part.sample, part.head), "scale", self.plan.scale_slot, lambda _: None
        )

    def _entry(self, part: Part, scale_at: int) -> int:
        return scale_at + part.first

    def _value_load(self, part: Part, chunk: Span, ahead: int) -> Load:
        """Values of the list: not before it is there."""
        return replace(super()._value_load(part, chunk, ahead), ahead=ahead)

    def _load_values(self, part: Part, chunk: Span, address: int) -> None:
        """Values of a head by its list."""
        source = self._head(2, part)
        first = source.first + part.sample * self.plan.keys * source.pitch
        counted = bool(self.layer.value_threshold)
        source = replace(source, first=first, listed=self._list + 1, counted=counted)
        load_values(source, self.plan, 0, chunk, address)


class ValuesQueryLowering(ValuesLowering, QueryLowering):
    """The same for one query per sample, whose keys move."""

    def __init__(self, context: Context, layer: Attention, index: int):
        super().__init__(context, layer, index)
        if layer.value_threshold:
            self.plan = replace(self.plan, value_chunk=self.plan.value_words)
