"""The demo's figures, from a run of it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.bench.figures import Figure, python, shown


def run() -> list[Figure]:
    """Accuracies, mismatches, cycles and the time of the whole demo."""
    return _figures("tests.demo", "build/demo")


def transformer() -> list[Figure]:
    """The same of the demo with a transformer."""
    return _figures("tests.demo.transformer", "build/demo-transformer")


def _figures(module: str, folder: str) -> list[Figure]:
    seconds = python("-m", module)
    result = json.loads((Path(folder) / "result.json").read_text(encoding="utf-8"))
    accuracy, total, command = result["accuracy"], result["totals"], shown("-m", module)
    return [
        Figure("accuracy on the RTL", accuracy["rtl"], "1", "float model", accuracy["float"], command),
        Figure("accuracy of the golden model", accuracy["golden"], "1", "float model", accuracy["float"], command),
        Figure("wrong values", result["mismatches"], "values", "goal", 0, command),
        Figure("cycles per image", total["cycles_measured"] / result["samples"], "cycles", "MACs / multipliers",
               total["macs"] / result["multipliers"] / result["samples"], command),
        Figure("predicted cycles", total["cycles_predicted"], "cycles", "measured", total["cycles_measured"], command),
        Figure("utilization", total["utilization"], "1", "peak", 1, command),
        Figure("simulation speed", result["sim"]["cycles_per_second"], "cycles/s", "none", None, command),
        Figure("time, training included", seconds, "s", "none", None, command),
    ]  # fmt: skip
