"""What the report draws of layers on the sparse engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dataflows import isa
from mapper.load_bytes import load_bytes
from mapper.outcome import Outcome
from mapper.report_layers import View, least_bytes
from mapper.report_queue import Panel, Sweep, panels
from mapper.sparse_cycles import sweep
from mapper.sparse_summary import Counts, Pattern, SparseSummary, patterns

STRIP = (640, 40)
"""Width and height of the drawing of entries by PE."""

SHOWN = 1
"""Vectors whose entries by PE and queues are drawn."""

KINDS = ("entries", "pointers", "codebook", "parameters", "activations", "results")
"""What crosses the bus for a layer, as drawn."""

_TARGETS = {
    isa.Target.ENTRIES: "entries",
    isa.Target.POINTERS: "pointers",
    isa.Target.CODEBOOK: "codebook",
    isa.Target.PARAM: "parameters",
}


@dataclass(frozen=True)
class Strip:
    """Entries walked by each PE: one path of bars, a line at the mean; ``least`` and ``most`` in entries."""

    bars: str
    mean_at: float
    least: int
    mean: float
    most: int
    width: int = STRIP[0]
    height: int = STRIP[1]


@dataclass(frozen=True)
class SparseView:
    """One layer on the sparse engine; everything is summed over the samples.

    ``bytes`` are DRAM bytes by :data:`KINDS`; ``dense_bytes`` is what the same layer takes with its weights as they
    are, every tensor once.
    """

    view: View
    summary: SparseSummary
    strip: Strip
    bytes: dict[str, int]
    dense_bytes: int
    pes: int

    @property
    def speed(self) -> float:
        """How much faster than as many multipliers that do every MAC and never wait: the engine alone."""
        return self.view.row.macs / max(self.summary.engine_cycles * self.pes, 1)


def strip(per_pe: Counts) -> Strip:
    """Bars of every PE side by side, ``per_pe`` (pes,) entries high."""
    width, height = STRIP
    most, mean = max(int(per_pe.max()), 1), float(per_pe.mean())
    pitch = width / len(per_pe)
    gap = min(1.0, pitch / 4)
    bars = [
        f"M{place * pitch:.1f} {height}v{-height * count / most:.1f}h{pitch - gap:.1f}V{height}z"
        for place, count in enumerate(per_pe.tolist())
    ]
    return Strip("".join(bars), round(height * (1 - mean / most), 1), int(per_pe.min()), mean, most)


def by_kind(view: View, loads: Mapping[isa.Target, int], batches: int) -> dict[str, int]:
    """DRAM bytes of a layer by :data:`KINDS`; ``loads`` are those of one execution by memory."""
    found = dict.fromkeys(KINDS, 0)
    for target, size in loads.items():
        if target in _TARGETS:
            found[_TARGETS[target]] += size * batches
    found["activations"] = view.row.dram_read_bytes - sum(found.values())
    found["results"] = view.row.dram_write_bytes
    return {kind: size for kind, size in found.items() if size}


def widest(views: Sequence[SparseView]) -> int:
    """Bytes that the longest bar stands for."""
    return max((max(sum(view.bytes.values()), view.dense_bytes) for view in views), default=1) or 1


@dataclass(frozen=True)
class SparseSection:
    """The part of the page about the sparse engine.

    ``sweeps`` are by position in the schedule: cycles and load balance by depth of the queues; ``most_bytes`` is what
    the longest bar of DRAM traffic stands for.
    """

    layers: list[SparseView]
    sweeps: dict[int, Sweep]
    panels: list[Panel]
    most_bytes: int

    @property
    def depths(self) -> list[int]:
        """Depths of the sweep."""
        return sorted({depth for sweep in self.sweeps.values() for depth in sweep})

    @property
    def kinds(self) -> dict[str, int]:
        """DRAM bytes of all layers by kind."""
        totals = {kind: sum(layer.bytes.get(kind, 0) for layer in self.layers) for kind in KINDS}
        return {kind: size for kind, size in totals.items() if size}


def sparse_section(outcome: Outcome, layers: Sequence[View]) -> SparseSection | None:
    """The section of a page; None where nothing runs on the sparse engine."""
    cfg, program = outcome.cfg, outcome.program
    if cfg.sparse is None or not program.sparse:
        return None
    met, loads = patterns(program, outcome.masks[0], SHOWN), load_bytes(program)
    drawn, sweeps = [], dict[int, Sweep]()
    for view, entry in zip(layers, program.schedule, strict=True):
        if view.row.sparse is None:
            continue
        jobs = [pattern for vector in met[entry.index] for pattern in vector]
        counts = np.sum([pattern.per_pe for pattern in jobs], axis=0)
        drawn.append(
            SparseView(
                view, view.row.sparse, strip(counts), by_kind(view, loads[entry.index], outcome.batches),
                least_bytes(outcome, entry), cfg.sparse.pes,
            )
        )  # fmt: skip
        sweeps[view.position] = _sweep(jobs, cfg.input_elements)
    titles = {layer.view.position: layer.view.row.title for layer in drawn}
    return SparseSection(drawn, sweeps, panels(titles, sweeps, cfg.sparse.queue), widest(drawn))


def _sweep(jobs: Sequence[Pattern], word: int) -> Sweep:
    """Cycles and load balance of several jobs one after the other, by depth."""
    found = [sweep(job.lengths, job.mask, word=word) for job in jobs]
    cycles = {depth: sum(each[depth][0] for each in found) for depth in found[0]}
    walked = sum(int(job.per_pe.sum()) for job in jobs)
    return {depth: (max(count, 1), walked / (len(jobs[0].lengths) * max(count, 1))) for depth, count in cycles.items()}
