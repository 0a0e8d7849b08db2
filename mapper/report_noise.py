"""What quantization does to every layer, as the report draws it."""

from __future__ import annotations

from dataclasses import dataclass

from mapper.outcome import Outcome
from mapper.report_layers import View


@dataclass(frozen=True)
class Noise:
    """One layer: SQNR in dB by itself and, after a run, of its output; places are percent of the scale's length."""

    title: str
    own: float
    place: float
    total: float | None
    mark: float | None
    worst: bool


@dataclass(frozen=True)
class NoiseSection:
    """Layers whose noise is known, and the length of the scale in dB."""

    layers: list[Noise]
    most: float


def noise_section(outcome: Outcome, layers: list[View]) -> NoiseSection | None:
    """The section; None where nothing is rounded, or it is not known what by."""
    rows = [(view.row, view.row.sqnr_own_db) for view in layers if view.row.sqnr_own_db is not None]
    if not rows:
        return None
    most = max(10.0, *(max(own or 0.0, row.sqnr_db or 0.0) for row, own in rows))

    def place(value: float) -> float:
        return 100 * min(max(value / most, 0.0), 1.0)

    found = [
        Noise(
            row.title, own, place(own), row.sqnr_db, None if row.sqnr_db is None else place(row.sqnr_db),
            row is outcome.noisiest,
        )
        for row, own in rows
        if own is not None
    ]  # fmt: skip
    return NoiseSection(found, most)
