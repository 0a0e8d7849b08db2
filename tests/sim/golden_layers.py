"""Random tensors, windows and one-layer networks for the tests of the golden model."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from dataflows.network import Layer, Network, Tensor, Window
from sim.golden import run_layer

SEED = st.integers(0, 2**32 - 1)


def zeros(bits: int) -> st.SearchStrategy[int]:
    """Zero points of tensors of ``bits`` bits."""
    limit = 1 << bits - 1
    return st.one_of(st.sampled_from([-limit, limit - 1, 0]), st.integers(-limit, limit - 1))


ZERO = zeros(8)


def random_codes(rng: np.random.Generator, shape: tuple[int, ...], bits: int = 8) -> np.ndarray:
    """Uniform integers of ``bits`` bits; every sixth element is an extreme, and some arrays hold extremes only."""
    limit = 1 << bits - 1
    values = rng.integers(-limit, limit, shape)
    extreme = rng.choice([-limit, limit - 1], shape)
    share = rng.choice([1 / 6, 1.0], p=[0.9, 0.1])
    return np.where(rng.random(shape) < share, extreme, values).astype(f"i{bits // 8}")


@st.composite
def windows(draw: st.DrawFn, height: int, width: int) -> Window:
    """A window that fits a map of this size, with its own numbers for every direction and side."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    before = [draw(st.integers(0, r - 1)) for r in reach]
    after = [
        max(draw(st.integers(0, r - 1)), r - size - b)
        for r, size, b in zip(reach, (height, width), before, strict=True)
    ]
    return Window(kernel, stride, (before[0], before[1], after[0], after[1]), dilation)


def apply(layer: Layer, tensors: list[Tensor], xs: list[np.ndarray], channels: int) -> np.ndarray:
    """Run one layer; the last tensor is its result, whose shape is filled in."""
    window = getattr(layer, "window", Window())
    n, height, width, _ = xs[0].shape
    result = replace(tensors[-1], shape=(n, *window.output_size(height, width), channels))
    network = Network("test", {t.name: t for t in [*tensors[:-1], result]}, (layer,), layer.inputs, (layer.output,))
    return run_layer(network, layer, dict(zip(layer.inputs, xs, strict=True)))
