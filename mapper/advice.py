"""What would make a model faster on an accelerator: it is mapped again on designs that differ in one thing each.

Nothing is guessed: cycles are those of the timing model, which are the RTL's, energy that of :mod:`mapper.energy`.
A new kind of change is one line in :func:`variants`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from dataflows import catalogue, config
from dataflows.config import Config
from dataflows.errors import InputError
from mapper import stages
from mapper.options import Arguments
from mapper.outcome import Outcome
from mapper.progress import Progress

MEMORIES = {
    "input_bytes": "input buffer", "weight_bytes": "weight buffer", "acc_bytes": "accumulators",
    "operand_bytes": "operand buffer",
}  # fmt: skip


@dataclass(frozen=True)
class Change:
    """A design that differs in one thing; cycles and picojoules are those of the outcome's samples.

    Attributes
    ----------
    what : str
        What is different.
    cycles, energy_pj, on_chip_bytes, multipliers : numbers
        Of the model on that design.
    dram_bytes : int
        Read and written.
    saved : float
        Share of the cycles that it saves, below 0 where it costs.
    layer : str or None
        The layer that gains most cycles.
    layer_cycles : int
        How many.
    """

    what: str
    cycles: int
    energy_pj: float
    dram_bytes: int
    on_chip_bytes: int
    multipliers: int
    saved: float
    layer: str | None
    layer_cycles: int

    def document(self) -> dict[str, Any]:
        """The ``--json`` form."""
        return asdict(self)


def variants(cfg: Config) -> Iterator[tuple[str, Config, float]]:
    """Designs that differ in one thing: what, the configuration, and bytes a cycle of the memory relative to now."""
    sizes = cfg.memory.model_dump()
    for key, title in MEMORIES.items():
        for factor, how in ((2.0, "twice"), (0.5, "half")):
            yield from _changed(cfg, f"{title} of {how} the size", {"memory": {key: int(sizes[key] * factor)}})
    yield "memory of twice the bandwidth", cfg, 2.0
    yield from _changed(cfg, "bus of twice the width", {"bus": {"data_bits": 2 * cfg.bus.data_bits}}, 2.0)
    yield from _changed(cfg, "twice the reads in flight", {"bus": {"reads_in_flight": 2 * cfg.bus.reads_in_flight}})
    yield from _changed(cfg, "array of twice the rows", {"array": {"rows": 2 * cfg.array.rows}})
    yield from _changed(cfg, "array of twice the columns", {"array": {"cols": 2 * cfg.array.cols}})
    for name in catalogue.NAMES:
        if name != cfg.array.dataflow and not catalogue.get(name).stores and not cfg.dataflow.stores:
            yield from _changed(cfg, f"dataflow {name}", {"array": {"dataflow": name}})


def _changed(
    cfg: Config, what: str, changes: dict[str, dict[str, Any]], rate: float = 1.0
) -> Iterator[tuple[str, Config, float]]:
    """The configuration with a change, if it is one that can be built."""
    raw = cfg.model_dump(exclude_none=True)
    for section, values in changes.items():
        raw[section] = {**raw[section], **values}
    try:
        yield what, config.parse(raw, what), rate
    except InputError:
        return


def advise(outcome: Outcome, model: stages.Model, arguments: Arguments, progress: Progress) -> tuple[Change, ...]:
    """Every change that the model fits, the one that saves most cycles first."""
    quiet = replace(arguments, run=False, trace=None)
    found = []
    scale = outcome.batches
    before = {row.name: row.cycles_predicted // scale for row in outcome.rows}
    now = sum(before.values())
    for what, cfg, rate in variants(outcome.cfg):
        faster = replace(quiet, bytes_per_cycle=rate * (arguments.bytes_per_cycle or outcome.cfg.bus_bytes))
        try:
            other = stages.schedule(model, cfg, outcome.config_file, faster, progress)
        except InputError:
            continue
        rows, totals = other.rows, other.totals
        gains = {row.name: before[row.name] - row.cycles_predicted for row in rows if row.name in before}
        layer = max(gains, key=gains.__getitem__, default=None)
        cycles = sum(row.cycles_predicted for row in rows)
        found.append(Change(
            what, cycles * scale, totals["energy_pj"] * scale,
            (totals["dram_read_bytes"] + totals["dram_write_bytes"]) * scale, cfg.on_chip_bytes, cfg.multipliers,
            (now - cycles) / now if now else 0.0, layer if layer and gains[layer] > 0 else None,
            max(gains[layer], 0) * scale if layer else 0,
        ))  # fmt: skip
    return tuple(sorted(found, key=lambda change: change.cycles))
