"""Layers with weights by precision: what each pair of widths does and takes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dataflows.formats import container
from dataflows.network import Conv
from mapper.compile import Scheduled
from mapper.outcome import Outcome
from mapper.table import Row, ratio


@dataclass(frozen=True)
class Precision:
    """Layers of one pair of widths on one engine, summed.

    ``weight_bytes`` are those of their weights in memory, without padding, ``plain_bytes`` those of as many of 8 bits.
    """

    widths: str
    engine: str
    layers: int
    macs: int
    cycles: int
    multipliers: float
    weight_bytes: int
    plain_bytes: int

    @property
    def utilization(self) -> float:
        """MACs / (cycles * multipliers at these widths)."""
        return ratio(self.macs, self.cycles * self.multipliers)


def precisions(outcome: Outcome) -> list[Precision]:
    """Those of a network, most MACs first; empty where all operands have one width anyway."""
    if outcome.cfg.multiplier is None:
        return []
    groups: dict[tuple[str, str], list[tuple[Row, Scheduled]]] = {}
    for row, entry in zip(outcome.rows, outcome.program.schedule, strict=True):
        if isinstance(entry.layer, Conv):
            groups.setdefault((row.widths, row.engine), []).append((row, entry))
    found = [_sum(widths, engine, members) for (widths, engine), members in groups.items()]
    return sorted(found, key=lambda p: -p.macs)


def _sum(widths: str, engine: str, members: Iterable[tuple[Row, Scheduled]]) -> Precision:
    rows, entries = zip(*members, strict=True)
    layers = [layer for entry in entries for layer in entry.chain if isinstance(layer, Conv)]
    in_windows = layers if engine == "vector window" else [
        layer for entry in entries for layer in entry.absorbed if isinstance(layer, Conv)
    ]  # fmt: skip
    weights, windows = (sum(layer.weight.size for layer in some) for some in (layers, in_windows))
    bits = container(layers[0].weight_bits)
    held = windows + -(-(weights - windows) * bits // 8)  # a byte per tap in windows
    return Precision(
        widths, engine, len(rows), sum(row.macs for row in rows), sum(row.cycles for row in rows),
        rows[0].multipliers, held, weights,
    )  # fmt: skip
