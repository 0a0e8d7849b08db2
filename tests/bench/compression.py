"""Run-length compression of independent zeros in Eyeriss's format: uncompressed over compressed bytes."""

from __future__ import annotations

import numpy as np

from dataflows.run_length import EYERISS
from sim.golden.run_length import decode, encode
from tests.bench.figures import Figure

EXPECTED = {0.0: 0.75, 0.387: 1.22, 0.725: 2.72, 0.793: 3.64}
"""Share of zeros: ratio. The shares are those of AlexNet's feature maps."""

ELEMENTS = 400_000


def ratio(zeros: float) -> float:
    """Ratio for 16-bit elements of which a share is zero; checks that decoding restores them."""
    rng = np.random.default_rng(1)
    x = rng.integers(1, 1 << 15, ELEMENTS) * rng.choice([-1, 1], ELEMENTS)
    x[rng.random(ELEMENTS) < zeros] = 0
    words = encode(x, EYERISS)
    if not np.array_equal(decode(words, ELEMENTS, EYERISS), x):
        raise AssertionError("decoding does not restore the elements")
    return 2 * ELEMENTS / words.nbytes


def run() -> list[Figure]:
    """One ratio per share of zeros."""
    command = "python -m tests.bench compression"
    return [
        Figure(f"{zeros:.1%} zeros", ratio(zeros), "dense / compressed", "independent zeros", expected, command)
        for zeros, expected in EXPECTED.items()
    ]
