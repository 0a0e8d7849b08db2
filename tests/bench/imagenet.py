"""Whole networks for 224x224 images on ws16, through the public command line."""

from __future__ import annotations

import torch

from tests.bench.figures import FOLDER, Figure, mapped
from tests.bench.networks import NETWORKS
from tests.mapper import models

CONFIG = "configs/ws16.toml"


def run() -> list[Figure]:
    """Cycles, prediction, mismatches and simulation time per network."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    figures = []
    for name, make in NETWORKS.items():
        model = models.save_export(make(), FOLDER / f"{name}_224.pt2", torch.zeros(1, 3, 224, 224))
        result, command = mapped(model, CONFIG)
        total = result["totals"]
        measured, bound = total["cycles_measured"], total["macs"] / result["multipliers"]
        figures += [
            Figure(f"{name}: cycles", measured, "cycles", "MACs / array multipliers", bound, command),
            Figure(f"{name}: predicted cycles", total["cycles_predicted"], "cycles", "measured", measured, command),
            Figure(f"{name}: wrong values", result["mismatches"], "values", "goal", 0, command),
            Figure(f"{name}: simulation", result["sim"]["seconds"], "s", "none", None, command),
        ]
    return figures
