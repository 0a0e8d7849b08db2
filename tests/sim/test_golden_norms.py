"""Norms of the golden model against exact arithmetic and PyTorch."""

from math import isqrt

import numpy as np
import pytest
import torch

from dataflows.attention import Norm
from dataflows.errors import InputError
from dataflows.network import Network, Tensor
from sim import golden
from sim.golden.norms import inverse_root
from tests.sim import exact_rows


def network(channels, gain, bias, tokens=4, *, scales=(0.05, 0.02), zeros=(3, -5), **fields):
    """One norm."""
    x, y = (
        Tensor(name, (1, 1, tokens, channels), float(np.float32(scale)), zero)
        for name, scale, zero in zip("xy", scales, zeros, strict=True)
    )
    gain, bias = (np.broadcast_to(np.asarray(v, np.float32), channels) for v in (gain, bias))
    layer = Norm("norm", ("x",), "y", gain=gain, bias=bias, **fields)
    return Network("norm", {"x": x, "y": y}, (layer,), ("x",), ("y",))


def rows(rng, channels, zero):
    """Tokens of every kind: random, narrow, all equal, most negative, and one element that stands out."""
    x = rng.integers(-128, 128, (1, 1, 8, channels))
    x[0, 0, 1] = rng.integers(-2, 3, channels)
    x[0, 0, 2], x[0, 0, 3], x[0, 0, 4], x[0, 0, 5] = 17, -128, 127, zero
    x[0, 0, 6] = 0
    x[0, 0, 6, 0] = -128
    return x.astype(np.int8)


def compare(net, x):
    """Golden against exact, bit by bit."""
    (layer,) = net.layers
    wanted = [exact_rows.norm(layer, row.tolist(), net.tensors["x"], net.tensors["y"]) for row in x[0, 0]]
    np.testing.assert_array_equal(golden.run(net, {"x": x})["y"][0, 0], wanted)


CASES = {
    "plain": (12, 1.0, 0.0, {}),
    "one channel": (1, 1.0, 0.3, {}),
    "both signs": (5, [1.5, -0.7, 0.0, 2e-3, -3.0], [0.5, -0.25, 0.1, 0, -1.0], {}),
    "no gain": (7, 0.0, 0.4, {}),
    "nothing": (7, 0.0, 0.0, {}),
    "huge biases": (9, 0.5, [1e4, -1e4] + [0.1] * 7, {}),
    "huge gains": (6, [3e4, -3e4, 1, 1, 1, 1], 0.0, {}),
    "epsilon dominates": (16, 1.0, 0.1, {"epsilon": 50.0}),
    "no epsilon": (16, 1.0, 0.1, {"epsilon": 0.0}),
    "wide": (768, 0.8, 0.1, {"scales": (0.03, 0.03), "zeros": (-128, 127)}),
    "clamped": (16, 4.0, 0.0, {"low": -60, "high": 50}),
}


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_norm_is_exact(case, centered, rng):
    channels, gain, bias, fields = CASES[case]
    net = network(channels, gain, bias, 8, centered=centered, **fields)
    compare(net, rows(rng, channels, net.tensors["x"].zero))


def test_widest_rows():
    """4,096 channels with the largest variance: every intermediate stays within its bits."""
    net = network(4096, 1.0, 0.0, 2, zeros=(-128, 0), centered=False, epsilon=0.0)
    x = np.full((1, 1, 2, 4096), 127, np.int8)
    x[0, 0, 1, ::2] = -128
    compare(net, x)


@pytest.mark.parametrize("channels", [3, 128, 768])
@pytest.mark.parametrize("centered", [True, False])
def test_agrees_with_torch(centered, channels, rng):
    """Within 0.53 steps of float norms on the same codes where the result does not saturate."""
    gain, bias = rng.normal(0, 1, channels), rng.normal(0, 0.3, channels)
    net = network(channels, gain, bias, 64, scales=(0.05, 0.04), centered=centered)
    x = rng.integers(-128, 128, (1, 1, 64, channels)).astype(np.int8)
    (layer,) = net.layers
    real = torch.tensor((x.astype(np.float64) - 3) * np.float64(np.float32(0.05)))
    weight, shift = (torch.tensor(v.astype(np.float64)) for v in (layer.gain, layer.bias))
    if centered:
        wanted = torch.nn.functional.layer_norm(real, (channels,), weight, shift, 1e-5)
    else:
        wanted = torch.nn.functional.rms_norm(real, (channels,), weight, 1e-5) + shift
    steps = np.clip(wanted.numpy() / np.float64(np.float32(0.04)) - 5, -128, 127)
    assert np.abs(golden.run(net, {"x": x})["y"] - steps).max() < 0.53


def test_roots(rng):
    """Roots are rounded down everywhere: at, before and behind squares, at powers of two and at random."""
    near = [n * n + d for n in rng.integers(1 << 20, 1 << 22, 300).tolist() for d in (-1, 0, 1)]
    square = [1, 2, 3, 4, (1 << 43) - 1, *(1 << b for b in range(44)), *near, *rng.integers(1, 1 << 43, 300).tolist()]
    inverse, half = inverse_root(np.array(square))
    for number, found, e in zip(square, inverse.tolist(), half.tolist(), strict=True):
        root = isqrt(number << 2 * (22 - e))
        assert e == (number.bit_length() + 1) // 2 and 1 << 21 <= root < 1 << 22
        assert found == ((1 << 45) - 1) // root and 1 << 23 <= found < 1 << 24


BAD = {
    "must have 4 gains, one per channel, not 3": {"gain": np.ones(3, np.float32)},
    "must have 4 biases, one per channel, not 2 x 2": {"bias": np.ones((2, 2), np.float32)},
    "epsilon nan is not a number": {"epsilon": float("nan")},
    "epsilon -1.0 is not a number": {"epsilon": -1.0},
    "or too large beside the scale": {"epsilon": 1e20},
    "gains of up to 9.9\\d*e\\+20": {"gain": np.full(4, 9.99e20, np.float32)},
}


@pytest.mark.parametrize("message", BAD)
def test_bad_norms_are_refused(message):
    fields = {"gain": np.ones(4, np.float32), "bias": np.zeros(4, np.float32), **BAD[message]}
    net = network(4, 1.0, 0.0)
    net = Network("norm", net.tensors, (Norm("norm", ("x",), "y", **fields),), ("x",), ("y",))
    with pytest.raises(InputError, match=message):
        golden.run(net, {"x": np.zeros((1, 1, 4, 4), np.int8)})
