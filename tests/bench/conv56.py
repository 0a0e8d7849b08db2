"""One 3x3 convolution of 64 to 64 channels on 56x56 pixels: utilization of the array over the whole layer."""

from __future__ import annotations

import torch
from torch import nn

from tests.bench.figures import FOLDER, Figure, mapped
from tests.mapper import models

GOAL = 0.98


def run() -> list[Figure]:
    """Utilization with all transfers included, and cycles."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    layer = models.seeded(nn.Sequential(nn.Conv2d(64, 64, 3, padding=1)))
    model = models.save_export(layer, FOLDER / "conv56.pt2", torch.zeros(1, 64, 56, 56))
    result, command = mapped(model, "configs/ws16.toml")
    total = result["totals"]
    measured, bound = total["cycles_measured"], total["macs"] / result["multipliers"]
    return [
        Figure("utilization", total["utilization"], "1", "goal", GOAL, command),
        Figure("cycles", measured, "cycles", "MACs / multipliers", bound, command),
        Figure("predicted cycles", total["cycles_predicted"], "cycles", "measured", measured, command),
        Figure("wrong values", result["mismatches"], "values", "goal", 0, command),
    ]
