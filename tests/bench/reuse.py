"""Reuse on chip between layers, with and without: cycles and DRAM bytes of networks on ws16, measured on the RTL."""

from __future__ import annotations

from tests.bench.figures import Figure, mapped
from tests.bench.imagenet import exported, wrong_layers

NETWORKS = ("resnet18", "mobilenet_v2")

GOALS = {"mobilenet_v2": 1_500_000}
"""Cycles at most, with reuse."""


def run() -> list[Figure]:
    """Layer by layer, then with additions, poolings and depthwise layers in the epilogues of convolutions."""
    found: list[Figure] = []
    for name in NETWORKS:
        apart: dict[str, float] = {}
        for options, title in (("--no-fuse",), "layer by layer"), ((), "with reuse"):
            result, command = mapped(exported(name), "configs/ws16.toml", *options)
            total, head = result["totals"], f"{name}, {title}"
            values = {
                "cycles": total["cycles_measured"],
                "DRAM bytes read": total["dram_read_bytes"],
                "DRAM bytes written": total["dram_write_bytes"],
            }
            for what, value in values.items():
                unit = "cycles" if what == "cycles" else "bytes"
                found.append(Figure(f"{head}: {what}", value, unit, "layer by layer", apart.get(what), command))
            found.append(Figure(f"{head}: wrong values", result["mismatches"], "values", "goal", 0, command))
            wrong = wrong_layers(result)
            found.append(Figure(f"{head}: layers predicted wrong", wrong, "layers", "goal", 0, command))
            if not options and name in GOALS:
                found.append(Figure(f"{head}: of the goal", values["cycles"], "cycles", "goal", GOALS[name], command))
            apart = apart or values
    return found
