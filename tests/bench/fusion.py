"""ResNet-18 for 224x224 images with operands of 8, 4 and 2 bits on a weight-stationary array of fusion units."""

from __future__ import annotations

from tests.bench.figures import Figure, mapped
from tests.bench.imagenet import exported, figures

CONFIG = "configs/ws16_fusion.toml"
GOALS = {4: 3.6, 2: 12.0}
"""Times as fast as with operands of 8 bits."""


def run() -> list[Figure]:
    """Cycles at each width, and how many times as fast that is."""
    model, found, wide = exported("resnet18"), [], 0
    for bits in (8, *GOALS):
        result, command = mapped(model, CONFIG, "--bits", str(bits))
        title, cycles = f"resnet18 on ws16_fusion, {bits}/{bits} bits", result["totals"]["cycles_measured"]
        found += figures(title, result, command)
        wide = wide or cycles
        if bits in GOALS:
            found.append(Figure(f"{title}: speed-up over 8/8", wide / cycles, "1", "goal", GOALS[bits], command))
    return found
