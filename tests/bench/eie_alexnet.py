"""AlexNet in one program: convolutions on the 8x8 array, the three pruned linear layers on the sparse engine.

Beside it, predicted, the same model with everything on the array. The linear layers' own cycles are those from the end
of the layer before; on the engine their weights come while convolutions run, whose cycles tell what that costs.
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


def traffic(layer: dict[str, Any]) -> float:
    """DRAM bytes of a layer, both ways."""
    return layer["dram_read_bytes"] + layer["dram_write_bytes"]


def run() -> list[Figure]:
    """Cycles and bytes of the linear layers on either engine, prediction, mismatches."""
    model = packed("alexnet_towers_1", alexnet_towers, 1, 3, 227, 227)
    engines = ",".join(f"{name}=sparse" for name in LINEAR)
    sparse, command = mapped(model, CONFIG, *COMPRESSION, "--engine", engines)
    dense, dense_command = mapped(model, CONFIG, *COMPRESSION, "--engine", "array", run=False)
    figures = []
    for name, on, beside in zip(LINEAR, linear(sparse), linear(dense), strict=True):
        cycles, others = on["cycles_measured"], beside["cycles_predicted"]
        other = "array, dense, predicted"
        figures.append(Figure(f"{name}: cycles", cycles, "cycles", other, others, command))
        figures.append(Figure(f"{name}: DRAM", traffic(on), "bytes", other, traffic(beside), command))
    totals, array = sparse["totals"], dense["totals"]
    measured = totals["cycles_measured"]
    return [
        *figures,
        Figure("array alone, predicted", array["cycles_predicted"], "cycles", "none", None, dense_command),
        Figure("whole network", measured, "cycles", "array alone, predicted", array["cycles_predicted"], command),
        Figure("predicted cycles", totals["cycles_predicted"], "cycles", "measured", measured, command),
        Figure("layers predicted wrong", wrong_layers(sparse), "layers", "goal", 0, command),
        Figure("wrong values", sparse["mismatches"], "values", "goal", 0, command),
        Figure("simulation", sparse["sim"]["seconds"], "s", "none", None, command),
    ]
