"""``report.html``: one self-contained page about a model on an accelerator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from mapper import report_energy
from mapper.compressed_layers import Compression
from mapper.outcome import Outcome
from mapper.precisions import precisions
from mapper.report_energy import joules
from mapper.report_figure import figure, unit, widths
from mapper.report_generated import written
from mapper.report_layers import View, dram_rate, total_parts, views
from mapper.report_noise import noise_section
from mapper.report_roofline import roofline
from mapper.report_sparse import SparseSection, sparse_section
from mapper.report_synth import synthesis
from mapper.report_text import counters, findings, notes, sections, signed, tiles, tips
from mapper.report_timeline import timeline
from mapper.report_tokens import pictures
from mapper.terminal import number, percent, size

FILTERS = {"percent": percent, "size": size, "number": number, "signed": signed, "joules": joules}


def environment() -> Environment:
    """Where pages are made: everything is escaped, and a name that is not there is an error."""
    result = Environment(
        loader=PackageLoader("mapper"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    result.filters |= FILTERS
    result.globals["energy_parts"] = report_energy.parts
    return result


def report(outcome: Outcome) -> str:
    """The page as text."""
    layers = views(outcome)
    return render(outcome, layers, sparse_section(outcome, layers), list(outcome.compression.values()))


def render(
    outcome: Outcome, layers: list[View], sparse: SparseSection | None, compressed: Sequence[Compression]
) -> str:
    """The page from what is drawn of its layers, of those on the sparse engine, and of compressed weights."""
    return environment().get_template("report.html.j2").render(
        outcome=outcome, cfg=outcome.cfg, m=outcome.cfg.memory, network=outcome.program.network, totals=outcome.totals,
        run=outcome.run, notes=notes(outcome), tiles=tiles(outcome), counters=counters(outcome),
        roofline=roofline(outcome, layers), figure=figure(outcome.cfg), precisions=precisions(outcome),
        unit=unit(outcome.cfg), widths=widths(outcome.cfg), sections=sections(outcome.cfg),
        sparse=sparse, pictures=pictures(outcome), written=written(outcome), compressed=compressed,
        synthesis=synthesis(outcome.cfg), noise=noise_section(outcome, layers),
        dram_rate=dram_rate(outcome), columns=_columns(outcome), **_layers(outcome, layers),
        **_timeline(outcome, layers),
    )  # fmt: skip


def _layers(outcome: Outcome, layers: list[View]) -> dict[str, Any]:
    """What the charts of the layers need; scales are at least 1, so that nothing is divided by 0."""
    return {
        "layers": layers,
        "whole": total_parts(layers),
        "findings": findings(outcome, layers),
        "cycles": max(sum(v.row.cycles for v in layers), 1),
        "most_cycles": max((v.row.cycles for v in layers), default=1) or 1,
        "most_bytes": max((max(v.bytes, v.least_bytes) for v in layers), default=1) or 1,
        "least_bytes": sum(v.least_bytes for v in layers),
    }


def _timeline(outcome: Outcome, layers: list[View]) -> dict[str, Any]:
    """The timeline, and the data that its script reads."""
    data = timeline(outcome)
    return {"timeline": data, "data": {"timeline": data, "tips": tips(layers, outcome.cfg.multiplier is not None)}}


def _columns(outcome: Outcome) -> list[tuple[str, bool]]:
    """Headings of the table of layers, and whether their cells hold text."""
    predicted = "estimated" if outcome.program.sparse and not outcome.run else "predicted"
    measured = [("measured", False), ("difference", False)] if outcome.run else []
    return [
        ("#", False), ("layer", True), ("operation", True),
        *([("bits", False)] if outcome.cfg.multiplier else []), ("output, NHWC", False),
        ("MACs", False), (predicted, False), *measured, ("utilization", False), ("DRAM read", False),
        ("written", False), ("MACs per byte", False), *([("SQNR, dB", False)] if outcome.run else []),
    ]  # fmt: skip
