"""What the report draws of layers on the sparse engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dataflows import isa
from mapper.report_layers import View
from mapper.report_queue import Panel, Sweep
from mapper.sparse_summary import Counts, SparseSummary

STRIP = (640, 40)
"""Width and height of the drawing of entries by PE."""

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
