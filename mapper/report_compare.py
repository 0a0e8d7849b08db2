"""``comparison.html``: a model on several accelerators, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mapper.outcome import Outcome
from mapper.report import environment
from mapper.report_layers import HUES, Part, dram_rate, total_parts, views
from mapper.report_text import Tile, duration, short, tiles
from mapper.table import Row, aligned, all_multipliers


@dataclass(frozen=True)
class Column:
    """One accelerator: a colour, the headline, seconds per sample and cycles by reason, and where its report is."""

    outcome: Outcome
    hue: int
    tiles: list[Tile]
    seconds: float
    parts: list[Part]
    cycles: int
    link: str

    @property
    def sparse(self) -> list[str]:
        """Layers on the sparse engine."""
        return [row.title for row in self.outcome.rows if row.engine == "sparse"]

    def time(self, row: Row | None) -> float:
        """Seconds of a layer per sample; 0 where it runs inside another one."""
        return 0.0 if row is None else row.cycles / self.outcome.samples / (self.outcome.cfg.clock_mhz * 1e6)


def comparison(outcomes: Sequence[Outcome]) -> str:
    """The page as text; it links to ``NAME/report.html`` of every configuration."""
    columns = [_column(outcome, place) for place, outcome in enumerate(outcomes)]
    lines = [
        [(column, row, column.time(row)) for column, row in zip(columns, rows, strict=True)]
        for rows in aligned([outcome.rows for outcome in outcomes])
    ]
    reasons = {part.reason: None for column in columns for part in column.parts}
    return environment().get_template("comparison.html.j2").render(
        network=outcomes[0].program.network, columns=columns, lines=lines, reasons=list(reasons),
        longest=max(column.seconds for column in columns) or 1.0,
        longest_layer=max((time for line in lines for _, _, time in line), default=1.0) or 1.0,
        short=short, duration=duration, dram_rate=dram_rate, all_multipliers=all_multipliers,
    )  # fmt: skip


def _column(outcome: Outcome, place: int) -> Column:
    whole = total_parts(views(outcome))
    return Column(
        outcome, place % HUES, tiles(outcome), outcome.totals["seconds_per_sample"], whole,
        max(sum(part.cycles for part in whole), 1), f"{outcome.cfg.name}/report.html",
    )  # fmt: skip
