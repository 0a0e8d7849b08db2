"""What the timeline of the report is drawn from: for every unit, which layer it works for, when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import nlargest
from itertools import pairwise
from typing import Any

from dataflows import isa
from mapper.outcome import Outcome
from mapper.table import layer_cycles
from mapper.timing import Span

LIMIT = 6000
"""Stretches per unit in a report: what keeps a page about a large network small."""

NOTED = 5000
"""Jobs up to which the page holds what each of them does."""

DOES = {
    isa.Unit.LOAD: "DRAM to buffers",
    isa.Unit.INPUT: "inputs into the array",
    isa.Unit.WEIGHT: "weights into the array",
    isa.Unit.ACC: "sums out of the array",
    isa.Unit.VECTOR: "requantize, pool, add",
    isa.Unit.STORE: "results to DRAM",
    isa.Unit.SPARSE: "inputs times compressed columns",
    isa.Unit.ROWS: "softmax and norms of rows",
}


@dataclass(frozen=True)
class Stretch:
    """Cycles ``start`` to ``end`` of a unit at work for a layer (schedule index)."""

    start: int
    end: int
    layer: int
    note: str = ""


def stretches(spans: Iterable[Span]) -> list[Stretch]:
    """Jobs of one unit one after the other: where some overlap, each begins when those before it are done."""
    result, before = [], 0
    for span in sorted(spans, key=lambda s: (s.start, s.end)):
        start = max(span.start, before)
        if span.end > start:
            result.append(Stretch(start, span.end, span.layer, span.note))
            before = span.end
    return result


def joined(pieces: Sequence[Stretch], limit: int = LIMIT) -> tuple[list[Stretch], int]:
    """At most about ``limit`` stretches, and the longest gap that had to be closed for it.

    Gaps between stretches of the same layer are closed, the shortest first; layers are never joined, so there are
    more stretches where the layer changes more often than that.
    """
    if len(pieces) <= limit:
        return list(pieces), 0
    gaps = [b.start - a.end for a, b in pairwise(pieces) if a.layer == b.layer]
    kept = max(limit - (len(pieces) - len(gaps)), 0)
    largest = nlargest(kept + 1, gaps)
    longest = largest[-1] if kept < len(gaps) else -1
    result: list[Stretch] = []
    for piece in pieces:
        last = result[-1] if result else None
        if last and last.layer == piece.layer and piece.start - last.end <= longest:
            result[-1] = Stretch(last.start, piece.end, last.layer)
        else:
            result.append(piece)
    return result, max(longest, 0)


def timeline(outcome: Outcome) -> dict[str, Any]:
    """The data of the drawing, ready for JSON.

    ``layers`` and ``measured`` hold the first cycle of every layer; a unit's ``spans`` are flat: cycles from the end
    of the stretch before, length, position of the layer in the schedule, and, with ``notes``, the number of a note.
    """
    program, prediction = outcome.program, outcome.prediction
    position = {entry.index: place for place, entry in enumerate(program.schedule)}
    noted = len(prediction.spans) <= NOTED
    notes: dict[str, int] = {}
    units, closed = [], 0
    for unit in isa.units(program.cfg):
        pieces, longest = joined(stretches(s for s in prediction.spans if s.unit == unit))
        closed, before, flat = max(closed, longest), 0, list[int]()
        for piece in pieces:
            flat += [piece.start - before, piece.end - piece.start, position[piece.layer]]
            flat += [notes.setdefault(piece.note, len(notes))] if noted else []
            before = piece.end
        units.append({"name": unit.name, "does": DOES[unit], "spans": flat})
    return {
        "cycles": prediction.cycles, "layers": layer_starts(outcome), "measured": measured_starts(outcome),
        "units": units, "notes": list(notes), "noted": noted, "closed": closed,
    }  # fmt: skip


def layer_starts(outcome: Outcome) -> list[int]:
    """First cycle of every layer as predicted, and the end of the last."""
    prediction = outcome.prediction
    return _starts(layer_cycles(outcome.program, prediction.layer_end, prediction.cycles).values())


def measured_starts(outcome: Outcome) -> list[int]:
    """First cycle of every layer in one execution, and the end of the last; the mean of all that were run."""
    if outcome.run is None:
        return []
    return [round(start / outcome.batches) for start in _starts([row.cycles for row in outcome.rows])]


def _starts(cycles: Iterable[int]) -> list[int]:
    """Running sums, from 0."""
    result = [0]
    for count in cycles:
        result.append(result[-1] + count)
    return result
