"""What other designs would bring, on the terminal."""

from __future__ import annotations

from rich.table import Table

from mapper.outcome import Outcome
from mapper.report_energy import joules


def advice_table(outcome: Outcome) -> Table:
    """One line per design that differs in one thing, the best first."""
    table = Table(title=f"{outcome.cfg.name}, if one thing were different", title_justify="left")
    table.add_column("with")
    for name in ("cycles", "saved", "energy", "DRAM", "on chip"):
        table.add_column(name, justify="right")
    table.add_column("layer that gains most")
    now = outcome.totals
    table.add_row("as it is", f"{now['cycles_predicted']:,}", "", joules(now["energy_pj"]), _mega(_traffic(outcome)),
                  _kibi(outcome.cfg.on_chip_bytes), "")  # fmt: skip
    for change in outcome.advice:
        gain = f"{change.layer} {change.layer_cycles:,}" if change.layer else "-"
        table.add_row(
            change.what, f"{change.cycles:,}", f"{100 * change.saved:+.1f} %", joules(change.energy_pj),
            _mega(change.dram_bytes), _kibi(change.on_chip_bytes), gain,
        )  # fmt: skip
    return table


def _traffic(outcome: Outcome) -> int:
    """Bytes read and written."""
    count: int = outcome.totals["dram_read_bytes"] + outcome.totals["dram_write_bytes"]
    return count


def _mega(count: int) -> str:
    return f"{count / 1e6:.2f} MB"


def _kibi(count: int) -> str:
    return f"{count / 1024:,.0f} KiB"
