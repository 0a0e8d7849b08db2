"""The predicted timeline in the Trace Event format, for ui.perfetto.dev or chrome://tracing.

One microsecond shown is one cycle.
"""

from __future__ import annotations

from typing import Any

from dataflows import isa
from mapper.compile import Program
from mapper.table import layer_cycles
from mapper.timing import Prediction

LAYERS = len(isa.Unit)
"""Track of the layers, below those of the units."""


def trace_events(program: Program, prediction: Prediction) -> dict[str, Any]:
    """One track per unit, one slice per job; one more track with a slice per layer."""
    names = {entry.index: entry.layer.name for entry in program.schedule}
    events: list[dict[str, Any]] = [_name("process_name", 0, f"{program.network.name} on {program.cfg.name}")]
    for unit in isa.Unit:
        events += [_name("thread_name", unit, unit.name), _order(unit, unit)]
    events += [_name("thread_name", LAYERS, "layers"), _order(LAYERS, -1)]
    position = 0
    for index, cycles in layer_cycles(program, prediction.layer_end, prediction.cycles).items():
        events.append(_slice(names[index], LAYERS, position, position + cycles, names[index]))
        position += cycles
    for span in sorted(prediction.spans, key=lambda s: (s.unit, s.start)):
        events.append(_slice(span.note, span.unit, span.start, span.end, names.get(span.layer, "")))
    return {
        "displayTimeUnit": "ns",
        "otherData": {"unit": "1 us shown is 1 cycle", "config": program.cfg.name, "cycles": prediction.cycles},
        "traceEvents": events,
    }


def _name(kind: str, track: int, text: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": 0, "tid": int(track), "args": {"name": text}}


def _order(track: int, place: int) -> dict[str, Any]:
    return {"ph": "M", "name": "thread_sort_index", "pid": 0, "tid": int(track), "args": {"sort_index": int(place)}}


def _slice(name: str, track: int, start: int, end: int, layer: str) -> dict[str, Any]:
    return {
        "ph": "X", "name": name, "cat": layer, "pid": 0, "tid": int(track), "ts": int(start),
        "dur": max(int(end) - int(start), 0),
        "args": {"layer": layer, "start_cycle": int(start), "end_cycle": int(end)},
    }  # fmt: skip
