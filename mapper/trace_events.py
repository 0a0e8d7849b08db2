"""The timeline in the Trace Event format, for ui.perfetto.dev or chrome://tracing.

One microsecond shown is one cycle.  Tracks, from the top: the layers as predicted, as measured where there was a run,
then every unit; below them, as counters, MACs and DRAM bytes per cycle of the layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dataflows import isa
from mapper.outcome import Outcome
from mapper.report_timeline import DOES, layer_starts, measured_starts
from mapper.timing import Span

Event = dict[str, Any]

PROCESS = 1
"""The accelerator; 0 means the idle process to the viewers."""

LAYERS, MEASURED, UNITS = 1, 2, 3
"""Tracks (thread ids) of the layers, of the layers as measured, and of the first unit."""


def trace_events(outcome: Outcome) -> dict[str, Any]:
    """One track per unit, one slice per job; one more track, or two, with a slice per layer."""
    return {
        "displayTimeUnit": "ns",
        "otherData": {
            "unit": "1 us shown is 1 cycle",
            "model": outcome.program.network.name,
            "config": outcome.cfg.name,
            "config_hash": outcome.cfg.hash,
            "clock_mhz": outcome.cfg.clock_mhz,
            "cycles": outcome.prediction.cycles,
        },
        "traceEvents": [*_names(outcome), *_layers(outcome), *_counters(outcome), *_jobs(outcome)],
    }


def _names(outcome: Outcome) -> Iterator[Event]:
    """What the process and the tracks are called, and their order."""
    network = outcome.program.network
    yield _meta("process_name", 0, name=f"{network.name} on {outcome.cfg.name} (1 us is 1 cycle)")
    tracks = {LAYERS: "layers"} | ({MEASURED: "layers, measured"} if outcome.run else {})
    tracks |= {UNITS + unit: f"{unit.name}: {DOES.get(unit, '')}" for unit in isa.units(outcome.cfg)}
    for track, name in tracks.items():
        yield _meta("thread_name", track, name=name)
        yield _meta("thread_sort_index", track, sort_index=int(track))


def _layers(outcome: Outcome) -> Iterator[Event]:
    """Slices that lie side by side: each layer from its predecessor's completion to its own."""
    for track, starts in ((LAYERS, layer_starts(outcome)), (MEASURED, measured_starts(outcome))):
        for row, start, end in zip(outcome.rows, starts, starts[1:], strict=False):
            facts = {"op": row.op, "engine": row.engine, "MACs": row.macs, "utilization": row.utilization}
            yield _slice(row.title, "layer", track, start, end, facts)


def _counters(outcome: Outcome) -> Iterator[Event]:
    """Rates of each layer, as predicted, from its beginning; 0 behind the last."""
    starts, scale = layer_starts(outcome), outcome.batches
    for row, start, end in zip(outcome.rows, starts, starts[1:], strict=False):
        if end > start:
            cycles = (end - start) * scale
            yield _counter("MACs per cycle", start, row.macs / cycles)
            yield _counter("DRAM bytes per cycle", start, (row.dram_read_bytes + row.dram_write_bytes) / cycles)
    for name in ("MACs per cycle", "DRAM bytes per cycle"):
        yield _counter(name, starts[-1], 0.0)


def _jobs(outcome: Outcome) -> Iterator[Event]:
    """Every job on the track of its unit.

    Slices of a track must not overlap, jobs may (a unit takes the next before one is done): a slice begins where those
    before it end, and its arguments tell when the unit took the job.
    """
    names = {entry.index: entry.layer.name for entry in outcome.program.schedule}
    by_unit: dict[isa.Unit, list[Span]] = {unit: [] for unit in isa.units(outcome.cfg)}
    for span in outcome.prediction.spans:
        by_unit[span.unit].append(span)
    for unit, spans in by_unit.items():
        before = 0
        for span in sorted(spans, key=lambda s: (s.start, s.end)):
            start = max(before, span.start)
            before = max(span.end, before)
            facts = {"layer": names.get(span.layer, ""), "job": span.job, "taken": span.start, "done": span.end}
            yield _slice(span.note, unit.name, UNITS + unit, min(start, before), before, facts)


def _meta(kind: str, track: int, **arguments: str | int) -> Event:
    return {"ph": "M", "name": kind, "pid": PROCESS, "tid": int(track), "args": arguments}


def _counter(name: str, at: int, value: float) -> Event:
    return {"ph": "C", "name": name, "pid": PROCESS, "tid": 0, "ts": int(at), "args": {"value": round(value, 3)}}


def _slice(name: str, kind: str, track: int, start: int, end: int, facts: dict[str, Any]) -> Event:
    return {
        "ph": "X", "name": name, "cat": kind, "pid": PROCESS, "tid": int(track), "ts": int(start),
        "dur": int(end) - int(start), "args": facts,
    }  # fmt: skip
