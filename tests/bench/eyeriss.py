"""AlexNet's convolutions on the row-stationary array, batch of four, beside what the chip was measured at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.bench.figures import Figure, mapped
from tests.bench.imagenet import packed, wrong_layers
from tests.bench.networks import alexnet_convolutions

CONFIG = "configs/eyeriss.toml"
BATCH = 4

PUBLISHED = {"C1": (154, 16.5), "C3": (156, 21.8), "C5": (156, 10.0)}
"""Active PEs and milliseconds of processing of the chip at 200 MHz (Chen et al., JSSC 2017), batch of four."""

WHOLE = 103.5
"""Milliseconds of processing of all five layers."""


def plans(out: Path) -> list[dict[str, Any]]:
    """What the schedule tells of the convolutions."""
    layers = json.loads((out / "schedule.json").read_text(encoding="utf-8"))["layers"]
    return [layer for layer in layers if layer["op"] == "conv"]


def run() -> list[Figure]:
    """Active PEs and cycles of each layer, prediction, mismatches, gated multiplications."""
    model = packed(f"alexnet_convolutions_{BATCH}", alexnet_convolutions, BATCH, 3, 227, 227)
    result, command = mapped(model, CONFIG)
    out = Path(command.split("--out ")[1].split()[0])
    convolutions = [layer for layer in result["layers"] if layer["op"] == "conv"]
    figures, measured = [], 0
    for number, (layer, plan) in enumerate(zip(convolutions, plans(out), strict=True), start=1):
        name, cycles = f"C{number}", layer["cycles_measured"]
        pes, milliseconds = PUBLISHED.get(name, (None, None))
        chip = None if milliseconds is None else milliseconds * 1e3 * result["clock_mhz"]
        measured += cycles
        figures += [
            Figure(f"{name}: active PEs", plan["plan"]["active_pes"], "PEs", "chip", pes, command),
            Figure(f"{name}: cycles", cycles, "cycles", "chip, processing", chip, command),
            Figure(f"{name}: predicted cycles", layer["cycles_predicted"], "cycles", "measured", cycles, command),
        ]
    total, sim = result["totals"], result["sim"]
    gated = total["gated_multiplications"]
    return [
        *figures,
        Figure("C1 to C5: cycles", measured, "cycles", "chip, processing", WHOLE * 1e3 * result["clock_mhz"], command),
        Figure("layers predicted wrong", wrong_layers(result), "layers", "goal", 0, command),
        Figure("wrong values", result["mismatches"], "values", "goal", 0, command),
        Figure("gated multiplications", gated, "multiplications", "dense MACs", total["macs"], command),
        Figure("simulation speed", sim["cycles_per_second"], "cycles/s", "none", None, command),
    ]
