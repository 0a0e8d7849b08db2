"""AlexNet in one program: convolutions on the 8x8 array, the three pruned linear layers on the sparse engine.

Beside it the same model, pruned too, with everything on the array.
"""

from __future__ import annotations

from typing import Any

from tests.bench.figures import Figure, mapped
from tests.bench.imagenet import packed, wrong_layers
from tests.bench.networks import alexnet_towers

CONFIG = "configs/eie64.toml"
LINEAR = ("fc6", "fc7", "fc8")
COMPRESSION = ("--prune", "fc6=0.09,fc7=0.09,fc8=0.25", "--cluster", "fc6=16,fc7=16,fc8=16")
"""Densities and codes of Deep Compression."""


def linear(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The layers' entries of the JSON document."""
    found = {layer["name"]: layer for layer in result["layers"]}
    return [found[name] for name in LINEAR]


def total(layers: list[dict[str, Any]], key: str) -> float:
    """Sum over the linear layers."""
    return sum(layer[key] for layer in layers)


def cycles(layers: list[dict[str, Any]]) -> float:
    """Measured cycles."""
    return total(layers, "cycles_measured")


def traffic(layers: list[dict[str, Any]]) -> float:
    """DRAM bytes of the linear layers, both ways."""
    return total(layers, "dram_read_bytes") + total(layers, "dram_write_bytes")


def run() -> list[Figure]:
    """Cycles and bytes of the linear layers on either engine, prediction, mismatches."""
    model = packed("alexnet_towers_1", alexnet_towers, 1, 3, 227, 227)
    engines = ",".join(f"{name}=sparse" for name in LINEAR)
    sparse, command = mapped(model, CONFIG, *COMPRESSION, "--engine", engines)
    dense, dense_command = mapped(model, CONFIG, *COMPRESSION, "--engine", "array")
    figures = []
    for name, on, beside in zip(LINEAR, linear(sparse), linear(dense), strict=True):
        for what, unit, count in (("cycles", "cycles", cycles), ("DRAM", "bytes", traffic)):
            figures.append(Figure(f"{name}: {what}", count([on]), unit, "array, dense", count([beside]), command))
    for title, result, said in (("with the sparse engine", sparse, command), ("array alone", dense, dense_command)):
        totals = result["totals"]
        measured, predicted = totals["cycles_measured"], totals["cycles_predicted"]
        figures += [
            Figure(f"{title}: linear layers", cycles(linear(result)), "cycles", "", None, said),
            Figure(f"{title}: whole network", measured, "cycles", "predicted", predicted, said),
            Figure(f"{title}: layers predicted wrong", wrong_layers(result), "layers", "goal", 0, said),
            Figure(f"{title}: wrong values", result["mismatches"], "values", "goal", 0, said),
            Figure(f"{title}: simulation", result["sim"]["seconds"], "s", "none", None, said),
        ]
    return figures
