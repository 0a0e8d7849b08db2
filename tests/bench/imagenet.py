"""Whole networks for 224x224 images, through the public command line: on ws16, and three of them on ws32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tests.bench.figures import FOLDER, Figure, mapped
from tests.bench.networks import NETWORKS
from tests.mapper import models

LARGE = ("resnet18", "resnet50", "mobilenet_v2")
"""Networks that run on ws32, too."""


def packed(name: str, make: Callable[[], nn.Module], *shape: int) -> Path:
    """The model file of a network for inputs of ``shape``, written on first use."""
    path = FOLDER / f"{name}.pt2"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        models.save_export(make(), path, torch.zeros(*shape))
    return path


def exported(name: str) -> Path:
    """The model file of an ImageNet network."""
    return packed(f"{name}_224", NETWORKS[name], 1, 3, 224, 224)


def wrong_layers(result: dict[str, Any]) -> int:
    """Layers whose predicted cycles are not those measured."""
    return sum(layer["cycles_predicted"] != layer["cycles_measured"] for layer in result["layers"])


def figures(title: str, result: dict[str, Any], command: str) -> list[Figure]:
    """Cycles, prediction, mismatches, speed and memory of one run."""
    total, sim = result["totals"], result["sim"]
    measured, bound = total["cycles_measured"], total["macs"] / result["multipliers"]
    return [
        Figure(f"{title}: cycles", measured, "cycles", "MACs / array multipliers", bound, command),
        Figure(f"{title}: predicted cycles", total["cycles_predicted"], "cycles", "measured", measured, command),
        Figure(f"{title}: layers predicted wrong", wrong_layers(result), "layers", "goal", 0, command),
        Figure(f"{title}: wrong values", result["mismatches"], "values", "goal", 0, command),
        Figure(f"{title}: simulation", sim["seconds"], "s", "none", None, command),
        Figure(f"{title}: simulation speed", sim["cycles_per_second"], "cycles/s", "none", None, command),
    ]


def run() -> list[Figure]:
    """Figures of every network on ws16, and of the larger array with a wider bus."""
    found = []
    for config, names in (("ws16", tuple(NETWORKS)), ("ws32", LARGE)):
        for name in names:
            result, command = mapped(exported(name), f"configs/{config}.toml")
            found += figures(f"{name} on {config}", result, command)
            if config == "ws32":
                for reason, cycles in result["totals"].get("stalls", {}).items():
                    found.append(Figure(f"{name} on {config}: lost to {reason}", cycles, "cycles", "", None, command))
    return found
