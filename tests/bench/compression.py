"""Run-length compression: ratios of independent zeros in Eyeriss's format, and what it saves on a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from dataflows.run_length import EYERISS
from sim.golden.run_length import decode, encode
from tests.bench.figures import FOLDER, Figure, mapped
from tests.mapper import models

EXPECTED = {0.0: 0.75, 0.387: 1.22, 0.725: 2.72, 0.793: 3.64}
"""Share of zeros: ratio. The shares are those of AlexNet's feature maps."""

ELEMENTS = 400_000

BASE = Path("configs/ws16.toml")


def ratio(zeros: float) -> float:
    """Ratio for 16-bit elements of which a share is zero; checks that decoding restores them."""
    rng = np.random.default_rng(1)
    x = rng.integers(1, 1 << 15, ELEMENTS) * rng.choice([-1, 1], ELEMENTS)
    x[rng.random(ELEMENTS) < zeros] = 0
    words = encode(x, EYERISS)
    if not np.array_equal(decode(words, ELEMENTS, EYERISS), x):
        raise AssertionError("decoding does not restore the elements")
    return 2 * ELEMENTS / words.nbytes


def with_codec() -> Path:
    """The default configuration, with a codec of 4-bit runs."""
    path = FOLDER / "ws16_codec.toml"
    text = BASE.read_text(encoding="utf-8").replace('name = "ws16"', 'name = "ws16_codec"')
    path.write_text(f"{text}\n[codec]\nrun_bits = 4\n", encoding="utf-8")
    return path


def network() -> list[Figure]:
    """ResNet-18 for 32x32 images, with and without a codec; weights are not compressed."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    model = models.save_export(models.resnet18_cifar(), FOLDER / "resnet18.pt2", torch.zeros(1, 3, 32, 32))
    (plain, _), (packed, command) = mapped(model, BASE), mapped(model, with_codec())
    figures = [Figure("resnet18: wrong values", packed["mismatches"], "values", "goal", 0, command)]
    for name, key in (("read", "dram_read_bytes"), ("written", "dram_write_bytes"), ("cycles", "cycles_measured")):
        unit, values = "cycles" if name == "cycles" else "bytes", [r["totals"][key] for r in (packed, plain)]
        figures.append(Figure(f"resnet18: {name}", values[0], unit, "without codec", values[1], command))
    return figures


def run() -> list[Figure]:
    """One ratio per share of zeros; traffic and cycles of the network."""
    command = "python -m tests.bench compression"
    return [
        *(
            Figure(f"{zeros:.1%} zeros", ratio(zeros), "dense / compressed", "independent zeros", expected, command)
            for zeros, expected in EXPECTED.items()
        ),
        *network(),
    ]
