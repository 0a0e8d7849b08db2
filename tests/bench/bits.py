"""Digits with few bits: accuracy on the RTL after quantization, after fine-tuning, and with chosen widths."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from tests.bench.figures import FOLDER, Figure, python, shown
from tests.demo import bits_train, train
from tests.demo.__main__ import accuracy

FUSION, XNOR = "configs/ws16_fusion.toml", "configs/xnor.toml"

PLAIN = "8", "4", "3", "2", "4/2", "8/ternary", "8/binary"
"""Widths of the model as it was trained."""

TUNED = "2", "8/2", "8/ternary", "8/binary"
"""Widths that it is trained on for."""

BUDGETS = ("cycles=0.4", "4/2"), ("size=0.25", "2"), ("size=0.26", "2"), ("size=0.5", "3")
"""Budgets, and equal widths that cost about as much."""

FIRST, LAST = "stem.0", "classify"
"""Layers that chosen widths leave wide."""


class Runs:
    """Runs of the command line on one data set, each in a folder of its own."""

    def __init__(self, folder: Path, data: train.Digits):
        self.folder, self.data = folder, data
        folder.mkdir(parents=True, exist_ok=True)

    def run(self, name: str, model: nn.Module, config: str, *options: str, signs: bool = False) -> dict[str, Any]:
        """Map a model, run all test images on the RTL; the result with ``accuracy`` and ``line``, the command."""
        folder = self.folder / name.replace("/", "_").replace("=", "_").replace(" ", "_")
        folder.mkdir(parents=True, exist_ok=True)
        calibration, images = self.data.train_images[:256], self.data.test_images
        if signs:
            calibration, images = bits_train.one_bit(calibration), bits_train.one_bit(images)
        path = bits_train.save(model, images, folder / "digits.pt2")
        np.savez(folder / "calibration.npz", x=calibration)
        np.savez(folder / "inputs.npz", x=images)
        np.save(folder / "labels.npy", self.data.test_labels)
        words = [
            "-m", "mapper", path, "--config", config, "--calibration", folder / "calibration.npz", "--inputs",
            folder / "inputs.npz", "--out", folder, "--json", folder / "result.json", "--run", *options,
        ]  # fmt: skip
        python(*words)
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        result["accuracy"] = accuracy(folder, train.predict(model, images))
        result["line"] = shown(*words)
        return result


def figures(name: str, result: dict[str, Any], base: str, share: float) -> list[Figure]:
    """Accuracy on the RTL beside another, cycles per image beside those at the widest, values that were wrong."""
    line, images = result["line"], result["samples"]
    found = Figure(f"{name}: accuracy on the RTL", result["accuracy"]["rtl"], "1", base, share, line)
    cycles = Figure(f"{name}: cycles", result["totals"]["cycles_measured"] / images, "cycles", "none", None, line)
    return [found, cycles, Figure(f"{name}: wrong values", result["mismatches"], "values", "goal", 0, line)]


def run() -> list[Figure]:
    """All of it: equal widths, fine-tuned ones, signs from end to end, budgets."""
    data = train.digits()
    runs, model = Runs(FOLDER / "bits", data), train.train(data)
    exact = float(np.mean(train.predict(model, data.test_images) == data.test_labels))
    result: list[Figure] = []
    plain: dict[str, dict[str, Any]] = {}
    for bits in PLAIN:
        plain[bits] = runs.run(f"plain {bits}", model, FUSION, "--bits", bits)
        result += figures(f"{bits} bits", plain[bits], "float model", exact)
    for bits in TUNED:
        tuned = runs.run(f"tuned {bits}", bits_train.fine_tuned(model, data, bits), FUSION)
        result += figures(f"{bits} bits, fine-tuned", tuned, "float model", exact)
    mixed = bits_train.fine_tuned(model, data, "2", {FIRST: "8/8", LAST: "8/4"})
    result += figures("2 bits, ends wider, fine-tuned", runs.run("tuned ends", mixed, FUSION), "float model", exact)
    signs = bits_train.binary(data)
    result += figures("signs only (xnor)", runs.run("signs", signs, XNOR, signs=True), "float model", exact)
    for budget, bits in BUDGETS:
        chosen = runs.run(f"auto {budget}", model, FUSION, "--auto-bits", budget)
        result += figures(f"{budget}, chosen", chosen, f"{bits} bits everywhere", plain[bits]["accuracy"]["rtl"])
        result.append(cost(budget, chosen, bits, plain[bits]))
    return result


def cost(budget: str, chosen: dict[str, Any], bits: str, even: dict[str, Any]) -> Figure:
    """What a budget limits, beside the same of an equal width."""
    if budget.startswith("cycles"):
        value, other, unit = chosen["totals"]["cycles_measured"], even["totals"]["cycles_measured"], "cycles"
    else:
        value, other, unit = chosen["bit_allocation"]["found"], 0, "bytes"
        other = chosen["bit_allocation"]["widest"] * (2 if bits == "2" else 4) / 8
    return Figure(f"{budget}, chosen: {unit} in all", value, unit, f"{bits} bits everywhere", other, chosen["line"])
