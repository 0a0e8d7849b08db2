"""AlexNet and MobileNetV2 on a configuration of every dataflow: cycles predicted and measured, layer by layer."""

from __future__ import annotations

from tests.bench.figures import Figure, mapped
from tests.bench.imagenet import exported, figures

CONFIGS = ("ws16", "os16", "is8", "eyeriss", "diannao", "shidiannao")
"""One configuration per dataflow."""

NETWORKS = ("alexnet", "mobilenet_v2")


def run() -> list[Figure]:
    """Figures of both networks on every configuration."""
    found: list[Figure] = []
    for config in CONFIGS:
        for name in NETWORKS:
            result, command = mapped(exported(name), f"configs/{config}.toml")
            found += figures(f"{name} on {config}", result, command)
    return found
