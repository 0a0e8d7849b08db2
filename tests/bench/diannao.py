"""AlexNet's convolutions on the no-local-reuse array, one image, beside the loops of the published engine."""

from __future__ import annotations

from math import ceil

from dataflows import config
from tests.bench.figures import Figure, mapped
from tests.bench.imagenet import packed, wrong_layers
from tests.bench.networks import alexnet_convolutions

CONFIG = "configs/diannao.toml"

LAYERS = {
    "C1": (55, 3, 96, 11, 1), "C2": (27, 96, 256, 5, 2), "C3": (13, 256, 384, 3, 1), "C4": (13, 384, 384, 3, 2),
    "C5": (13, 384, 256, 3, 2),
}  # fmt: skip
"""Output rows and columns, input and output channels, kernel rows and columns, groups."""


def law(name: str) -> int:
    """Cycles of the published loops: pixels x blocks of output channels x taps x blocks of input channels."""
    array = config.load(CONFIG).array
    size, channels, filters, kernel, groups = LAYERS[name]
    blocks = ceil(filters / groups / array.cols) * ceil(channels / groups / array.rows)
    return size * size * kernel * kernel * blocks * groups


def run() -> list[Figure]:
    """Cycles of each layer beside the law, prediction, mismatches."""
    result, command = mapped(packed("alexnet_convolutions_1", alexnet_convolutions, 1, 3, 227, 227), CONFIG)
    convolutions = [layer for layer in result["layers"] if layer["op"] == "conv"]
    figures, measured = [], 0
    for name, layer in zip(LAYERS, convolutions, strict=True):
        measured += layer["cycles_measured"]
        figures.append(Figure(f"{name}: cycles", layer["cycles_measured"], "cycles", "law", law(name), command))
    return [
        *figures,
        Figure("C1 to C5: cycles", measured, "cycles", "law", sum(law(name) for name in LAYERS), command),
        Figure("layers predicted wrong", wrong_layers(result), "layers", "goal", 0, command),
        Figure("wrong values", result["mismatches"], "values", "goal", 0, command),
        Figure("simulation speed", result["sim"]["cycles_per_second"], "cycles/s", "none", None, command),
    ]
