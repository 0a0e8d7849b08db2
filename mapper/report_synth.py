"""Area and clock frequency in the report, where ``make synth`` has left them for this very configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dataflows.config import Config

FOLDER = Path("build/synth")
"""Where ``make synth`` writes."""

SMALLEST = 0.01
"""Share of all LUTs below which a module has no row."""

FORMAT = 1
"""Of the records that the page understands."""

_PARTS = ("", "_array", "_pe")
"""Ends of file names: the accelerator, its array, one PE."""


def synthesis(cfg: Config, folder: Path = FOLDER) -> list[dict[str, Any]]:
    """Records of the accelerator, its array and a PE, as far as they are there and belong to this configuration.

    ``modules`` of a record are those of at least :data:`SMALLEST`. Files that cannot be read count as not there.
    """
    found = []
    for part in _PARTS:
        try:
            record = json.loads((folder / f"{cfg.name}{part}.json").read_text(encoding="utf-8"))
            if (record["format"], record["hash"]) == (FORMAT, cfg.hash):
                found.append(record | {"modules": _large(record["modules"])})
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def _large(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    luts = [row["instances"] * row["with_dsp"]["lut"] for row in rows]
    return [row for row, own in zip(rows, luts, strict=True) if own >= SMALLEST * max(luts)]
