"""Automatic bit allocation as a table on the terminal."""

from __future__ import annotations

from rich.table import Table

from mapper.allocation import LEAST_NOISE, Allocation, decibels
from mapper.budget import COUNTED


def allocation_table(allocation: Allocation) -> Table:
    """One line per layer: its widths, what each of them alone does to the outputs, what it saves."""
    budget, (before, after) = allocation.budget, allocation.measured
    unit = COUNTED[budget.metric]
    title = f"widths for {budget.text}: {after:,.0f} of {before:,.0f} {unit} ({100 * after / before:.1f} %)"
    table = Table(title=title, title_justify="left")
    table.add_column("layer", overflow="fold")
    for name in ("bits", "inputs alone, dB", "weights alone, dB", f"{unit} at the widest", unit, "saved"):
        table.add_column(name, justify="right")
    for step in allocation.steps:
        saved = 1 - step.after / step.before if step.before else 0.0
        table.add_row(
            step.layer, str(step.precision), _quality(step.inputs_noise), _quality(step.weights_noise),
            f"{step.before:,.0f}", f"{step.after:,.0f}", f"{100 * saved:.0f} %",
        )  # fmt: skip
    return table


def _quality(noise: float) -> str:
    """SQNR of the outputs; a dash where nothing was narrowed."""
    return f"{decibels(noise):.1f}" if noise > LEAST_NOISE else "-"
