"""The words and numbers of the report: headline, findings, details of a layer, counters, configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from dataflows import isa
from dataflows.config import Config
from mapper.outcome import Outcome
from mapper.report_energy import joules
from mapper.report_layers import LOST, OTHER, USEFUL, View, dram_rate
from mapper.report_timeline import DOES
from mapper.table import Row, all_multipliers
from mapper.terminal import at_widths, number, percent, size

WORST = 3
"""Layers named as those that lose most."""

WORTH_TELLING = 0.002
"""Share of all cycles that a loss must have to be named."""


@dataclass(frozen=True)
class Tile:
    """One number of the headline."""

    label: str
    value: str
    detail: str
    tone: str = ""


@dataclass(frozen=True)
class Section:
    """A table of the configuration: rows of key, value and meaning."""

    title: str
    rows: list[tuple[str, str, str]]


@dataclass(frozen=True)
class Counted:
    """Cycles of a unit by state, from the counters of the hardware; ``total`` is their sum."""

    name: str
    does: str
    cycles: dict[str, int]
    total: int


def signed(value: int) -> str:
    """A difference with its sign, 0 without."""
    return f"{value:+,}" if value else "0"


def short(value: float) -> str:
    """A large number in three digits or four."""
    for unit in ("", " k", " M", " G", " T"):
        if abs(value) < 1000:
            return f"{value:.0f}" if not unit and value == int(value) else f"{value:.4g}{unit}"
        value /= 1000
    return f"{value:.4g} P"


def duration(seconds: float) -> str:
    """A time in a unit that keeps it readable."""
    for factor, unit in ((1e9, "ns"), (1e6, "us"), (1e3, "ms")):
        if seconds * factor < 1000:
            return f"{seconds * factor:.4g} {unit}"
    return f"{seconds:.4g} s"


def tiles(outcome: Outcome) -> list[Tile]:
    """The headline."""
    totals, cfg, run = outcome.totals, outcome.cfg, outcome.run
    cycles = totals["cycles_measured"] if run else totals["cycles_predicted"]
    traffic = totals["dram_read_bytes"] + totals["dram_write_bytes"]
    rate, seconds = traffic / cycles if cycles else 0.0, totals["seconds_per_sample"]
    predicted = "predicted"
    if run:
        off = (totals["cycles_predicted"] - cycles) / cycles if cycles else 0.0
        predicted = f"measured; predicted {totals['cycles_predicted']:,} ({100 * off:+.2f} %)"
    verdict = Tile("golden model", "not run", "--run compares every tensor")
    if run:
        value = "bit-exact" if outcome.bit_exact else f"{outcome.mismatches:,} differ"
        verdict = Tile("golden model", value, "every tensor off the chip", "good" if outcome.bit_exact else "bad")
    many = f", {outcome.samples:,} samples" if outcome.samples > 1 else ""
    frames = short(1 / seconds) if seconds else "-"
    return [
        Tile(f"cycles{many}", f"{cycles:,}", predicted),
        Tile("utilization", percent(totals["utilization"]), _of_what(outcome)),
        Tile("frames per second", frames, f"{duration(seconds)} each at {cfg.clock_mhz:g} MHz"),
        Tile(
            f"MACs{many}", short(totals["macs"]),
            f"{totals['macs'] / cycles if cycles else 0:.1f} a cycle, "
            f"{2e-3 * totals['macs'] / max(cycles, 1) * cfg.clock_mhz:.3g} GOPS",
        ),
        Tile(
            f"energy{many}", joules(totals["energy_pj"]),
            f"{totals['energy_pj'] / max(totals['macs'], 1):.3g} pJ per MAC, at 45 nm",
        ),
        Tile(f"DRAM{many}", size(traffic), f"{rate:.2f} B/cycle of {dram_rate(outcome):g}"),
        verdict,
    ]  # fmt: skip


def _of_what(outcome: Outcome) -> str:
    """What the utilization is of."""
    cfg = outcome.cfg
    if cfg.multiplier:
        return f"{percent(outcome.totals['utilization_all'])} of all multipliers{at_widths(cfg)}"
    every = all_multipliers(cfg)
    if every == cfg.multipliers:
        return f"of {every:,} multipliers"
    return f"of the engines that ran; {percent(outcome.totals['utilization_all'])} of all {every:,} multipliers"


def notes(outcome: Outcome) -> list[str]:
    """What a reader of the numbers has to know."""
    run = outcome.run
    if run is None:
        return list(outcome.notes)
    verdict = "Every tensor equals" if outcome.bit_exact else "The RTL DISAGREES with"
    return [
        f"{verdict} the golden model; simulated in {run.seconds:.1f} s ({run.cycles_per_second:,.0f} cycles/s).",
        *outcome.notes,
    ]


def findings(outcome: Outcome, layers: Sequence[View]) -> list[str]:
    """Where most cycles are lost, and what bounds those layers."""
    total = sum(v.row.cycles for v in layers)
    lines = []
    for view in sorted(layers, key=lambda v: -v.lost)[:WORST]:
        if view.lost < WORTH_TELLING * total:
            break
        row = view.row
        why = ", ".join(
            f"{part.reason.label} {part.cycles:,}"
            for part in view.parts
            if part.reason not in (USEFUL, LOST, OTHER)
        )
        text = f"Layer {row.title} loses {view.lost:,} cycles, {percent(view.lost / total)} of all"
        text += f" ({why})" if why else ""
        if view.roof is not None and view.rate is not None and view.intensity is not None:
            text += f": {view.rate:.1f} MACs a cycle where its roof is {view.roof:.1f}"
            if view.roof < view.intensity * dram_rate(outcome):
                text += ", the multipliers"
            else:
                text += f", the DRAM at {view.intensity:.1f} MACs per byte"
        lines.append(text + ".")
    idle = sum(v.row.cycles for v in layers if not v.row.macs)
    if idle >= WORTH_TELLING * total:
        lines.append(f"Layers without MACs take {idle:,} cycles, {percent(idle / total)} of all.")
    return lines


def tips(layers: Sequence[View], packed: bool = False) -> list[tuple[str, list[tuple[str, str]]]]:
    """Details of every layer: its title, and rows of name and value; ``packed``: its widths, too."""
    return [(view.row.title, _tip(view, packed)) for view in layers]


def _bits(row: Row) -> str:
    """Widths of all that a layer reads and writes."""
    weights = "" if row.weight_bits is None else f", weights {row.weight_bits}"
    return f"inputs {row.act_bits}{weights}, outputs {row.bits['output']}"


def _tip(view: View, packed: bool) -> list[tuple[str, str]]:
    row = view.row
    rows = [("operation", f"{row.op} on {row.engine}"), ("output", " x ".join(map(str, row.shape)))]
    if row.macs:
        rows += [("MACs", f"{row.macs:,}"), ("utilization", percent(row.utilization))]
    if packed:
        rows += [("bits", _bits(row))]
        rows += [("multipliers at these", f"{row.multipliers:,.4g}")] if row.macs else []
    if row.sparse:
        rows += [
            ("weights not zero", percent(row.sparse.density)),
            ("activations not zero", percent(row.sparse.activation_density)),
            ("entries walked / PEs", f"{row.sparse.theoretical_cycles:,}"),
            ("load balance", percent(row.sparse.load_balance)),
        ]
    if row.candidates:
        rows += [("candidates of a query", row.candidates.text), ("steps of a search", f"{row.candidates.steps:,}")]
    if row.values:
        rows += [("values of a head", row.values.text)]
        rows += [("numerators dropped below", f"{row.values.least} / 127")] if row.values.least else []
    rows.append(("cycles, predicted", f"{row.cycles_predicted:,}"))
    if row.cycles_measured is not None:
        rows.append(("cycles, measured", f"{row.cycles_measured:,}"))
    rows += [(part.reason.label, f"{part.cycles:,} ({percent(part.cycles / row.cycles)})") for part in view.parts]
    rows += [("DRAM read", size(row.dram_read_bytes)), ("DRAM written", size(row.dram_write_bytes))]
    rows.append(("energy", joules(row.energy_pj)))
    rows.append(("every tensor once", size(view.least_bytes)))
    if view.intensity is not None and view.rate is not None and view.roof is not None:
        rows.append(("MACs per byte", f"{view.intensity:.1f}"))
        rows.append(("MACs per cycle", f"{view.rate:.1f}, roof {view.roof:.1f}"))
    if row.sqnr_own_db is not None:
        rows.append(("SQNR by itself", f"{row.sqnr_own_db:.1f} dB"))
    if row.sqnr_db is not None:
        rows.append(("SQNR", f"{row.sqnr_db:.1f} dB"))
    if row.mismatches is not None:
        rows.append(("golden model", f"{row.mismatches:,} differ" if row.mismatches else "equal"))
    return rows


def counters(outcome: Outcome) -> list[Counted]:
    """Every unit's cycles by state; empty without a run."""
    if outcome.run is None:
        return []
    found, cycles, result = outcome.totals["stalls"], outcome.run.cycles, []
    for unit in isa.units(outcome.cfg):
        states = {state: found.get(f"{unit.name.lower()}_{state}", 0) for state in ("busy", "stall", "wait")}
        states["idle"] = max(cycles - sum(states.values()), 0)
        result.append(Counted(unit.name, DOES.get(unit, ""), states, max(sum(states.values()), 1)))
    return result


def sections(cfg: Config) -> list[Section]:
    """The configuration as tables: fields with their descriptions, then what is derived from them."""
    result = []
    own: list[tuple[str, str, str]] = []
    for key, field in type(cfg).model_fields.items():
        value = getattr(cfg, key)
        if isinstance(value, BaseModel):
            rows = [(k, _text(k, getattr(value, k)), f.description or "") for k, f in type(value).model_fields.items()]
            result.append(Section(key, rows))
        else:
            own.append((key, _text(key, value), field.description or ""))
    resolved: dict[str, Any] = cfg.resolved()
    derived = [(key, _text(key, value), "") for key, value in resolved["derived"].items()]
    identity = [("hash", cfg.hash, "of everything that shapes hardware or programs")]
    return [Section("design", own + identity), *result, Section("derived", derived)]


def _text(key: str, value: Any) -> str:
    """A value; memories also in larger units."""
    if value is None:
        return "none"
    if key.endswith("_bytes") and isinstance(value, int) and value >= 1024:
        return f"{number(value)} ({size(value)})"
    return number(value) if isinstance(value, int) and not isinstance(value, bool) else str(value)
