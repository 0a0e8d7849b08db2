"""Figures of the pruned perceptron on the digits, from a run of the example."""

from __future__ import annotations

import json
from pathlib import Path

from tests.bench.figures import Figure, python, shown

WORDS = ("-m", "tests.demo.mlp")


def run() -> list[Figure]:
    """Accuracies, densities, cycles beside the dense array, mismatches, time of the whole example."""
    seconds = python(*WORDS)
    found = json.loads(Path("build/demo-eie/summary.json").read_text(encoding="utf-8"))
    command, accuracy, images = shown(*WORDS), found["accuracy"], found["samples"]
    cycles, dense = (found["cycles"][name] for name in ("eie64", "ws8"))
    before = found["training"]["dense"]
    return [
        Figure("accuracy on the RTL", accuracy["rtl"], "1", "float model, pruned", accuracy["float"], command),
        Figure("accuracy on the RTL", accuracy["rtl"], "1", "float model, dense", before, command),
        Figure("accuracy of the golden model", accuracy["golden"], "1", "float model, dense", before, command),
        *(Figure(f"{name}: density", share, "1", "goal", 0.1, command) for name, share in found["density"].items()),
        *(Figure(f"{name}: values", count, "values", "codes", 16, command) for name, count in found["values"].items()),
        Figure("cycles per image", cycles / images, "cycles", "ws8, dense", dense / images, command),
        Figure("cycles", cycles, "cycles", "predicted", found["cycles_predicted"], command),
        Figure("wrong values", found["mismatches"], "values", "goal", 0, command),
        Figure("time, training included", seconds, "s", "none", None, command),
    ]
