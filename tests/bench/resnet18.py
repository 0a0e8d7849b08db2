"""ResNet-18 for 32x32 images, exported by torch, through the public command line on three accelerators."""

from __future__ import annotations

import torch

from tests.bench.figures import FOLDER, Figure, mapped
from tests.mapper import models

CONFIGS = ("configs/ws16.toml", "configs/os16.toml", "configs/ws12x20.toml")
GOAL_CYCLES = 2_300_000
"""On ws16 with a DRAM of 100 cycles and 16 bytes a cycle."""


def run() -> list[Figure]:
    """Cycles, utilization and mismatches per configuration; layer by layer, and with fused additions."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    model = models.save_export(models.resnet18_cifar(), FOLDER / "resnet18.pt2", torch.zeros(1, 3, 32, 32))
    figures = []
    for config in CONFIGS:
        for options in (("--no-fuse",), ()):
            result, command = mapped(model, config, *options)
            total, name = result["totals"], f"{result['config']} {'layer by layer' if options else 'fused'}"
            measured, bound = total["cycles_measured"], total["macs"] / result["multipliers"]
            figures += [
                Figure(f"{name}: cycles", measured, "cycles", "MACs / multipliers", bound, command),
                Figure(f"{name}: predicted cycles", total["cycles_predicted"], "cycles", "measured", measured, command),
                Figure(f"{name}: utilization", total["utilization"], "1", "peak", 1, command),
                Figure(f"{name}: wrong values", result["mismatches"], "values", "goal", 0, command),
                Figure(f"{name}: simulation", result["sim"]["seconds"], "s", "none", None, command),
            ]
            if result["config"] == "ws16":
                figures.append(Figure(f"{name}: cycles and goal", measured, "cycles", "goal", GOAL_CYCLES, command))
    return figures
