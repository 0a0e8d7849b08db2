"""Pooling against PyTorch, loops in Python, and corners."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dataflows.network import AvgPool, MaxPool, Tensor, Window
from tests.sim.golden_layers import SEED, apply, random_codes, windows, zeros


@st.composite
def cases(draw: st.DrawFn, bits: int = 8) -> tuple[Window, np.ndarray]:
    n, height, width, channels = draw(
        st.tuples(st.integers(1, 2), st.integers(1, 9), st.integers(1, 9), st.integers(1, 5))
    )
    rng = np.random.default_rng(draw(SEED))
    return draw(windows(height, width)), random_codes(rng, (n, height, width, channels), bits)


def seen_by(x: np.ndarray, window: Window, i: int, j: int) -> np.ndarray:
    """Elements (N, taps, C) of the map, without padding, that output (i, j) sees; taps may be 0."""
    rows = [i * window.stride[0] - window.padding[0] + k * window.dilation[0] for k in range(window.kernel[0])]
    cols = [j * window.stride[1] - window.padding[1] + k * window.dilation[1] for k in range(window.kernel[1])]
    rows, cols = [r for r in rows if 0 <= r < x.shape[1]], [c for c in cols if 0 <= c < x.shape[2]]
    return x[:, rows][:, :, cols].reshape(x.shape[0], -1, x.shape[3])


@pytest.mark.parametrize("bits", [8, 16])
@given(st.data())
def test_max_pool(bits, data):
    window, x = data.draw(cases(bits))
    a, b = data.draw(zeros(bits)), data.draw(zeros(bits))
    tensors = [Tensor("x", x.shape, 0.1, 3, bits), Tensor("y", (), 0.1, 3, bits)]
    got = apply(MaxPool("l", ("x",), "y", min(a, b), max(a, b), window), tensors, [x], x.shape[3])
    for i, j in np.ndindex(got.shape[1:3]):
        largest = seen_by(x, window, i, j).astype(int).max(axis=1, initial=-(2 ** (bits - 1)))
        np.testing.assert_array_equal(got[:, i, j], np.clip(largest, min(a, b), max(a, b)))


def test_max_pool_equals_pytorch(rng):
    x = random_codes(rng, (2, 15, 11, 3))
    got = apply(
        MaxPool("l", ("x",), "y", window=Window((3, 3), (2, 2), (1, 1, 1, 1))),
        [Tensor("x", x.shape, 0.1, 3), Tensor("y", (), 0.1, 3)],
        [x],
        3,
    )
    expected = torch.nn.functional.max_pool2d(torch.from_numpy(x.transpose(0, 3, 1, 2).astype(np.float32)), 3, 2, 1)
    np.testing.assert_array_equal(got, expected.numpy().transpose(0, 2, 3, 1))


def test_max_pool_padding_never_wins():
    x = np.full((1, 2, 2, 1), -128, np.int8)
    got = apply(
        MaxPool("l", ("x",), "y", window=Window((3, 3), (1, 1), (1, 1, 1, 1))),
        [Tensor("x", x.shape, 0.1, 0), Tensor("y", (), 0.1, 0)],
        [x],
        1,
    )
    assert (got == -128).all()


@pytest.mark.parametrize("bits", [8, 16])
@given(st.data(), st.floats(2**-8, 8, width=32), SEED)
def test_avg_pool(bits, data, result_scale, seed):
    window, x = data.draw(cases(bits))
    zero, result_zero = data.draw(zeros(bits)), data.draw(zeros(bits))
    rng = np.random.default_rng(seed)
    divisors = rng.integers(1, 50, window.output_size(*x.shape[1:3])).astype(np.int32)
    tensors = [Tensor("x", x.shape, 0.25, zero, bits), Tensor("y", (), result_scale, result_zero, bits)]
    layer = AvgPool("l", ("x",), "y", -100, 90, window, divisors)
    got = apply(layer, tensors, [x], x.shape[3])
    for i, j in np.ndindex(divisors.shape):
        scale = np.float32(0.25) / (np.float32(divisors[i, j]) * np.float32(result_scale))
        total = (seen_by(x, window, i, j).astype(int) - zero).sum(axis=1)
        # the significand of a float32 is its value: nothing of the scale is lost on the way to integers
        expected = [min(max(round(int(t) * Fraction(float(scale))) + result_zero, -100), 90) for t in total.flat]
        assert got[:, i, j].flatten().tolist() == expected


def test_avg_pool_counts_as_pytorch(rng):
    x = random_codes(rng, (1, 7, 6, 4))
    tensors = [Tensor("x", x.shape, 0.5, -7), Tensor("y", (), 0.5, 20)]
    window = Window((3, 2), (2, 2), (1, 1, 1, 1))
    real = torch.from_numpy((x.transpose(0, 3, 1, 2).astype(np.float64) + 7) * 0.5)
    for include in (True, False):
        pooled = torch.nn.functional.avg_pool2d(real, (3, 2), (2, 2), (1, 1), count_include_pad=include)
        ones = torch.nn.functional.avg_pool2d(
            torch.ones(1, 1, 7, 6, dtype=torch.float64), (3, 2), (2, 2), (1, 1), divisor_override=1
        )
        divisors = np.full(ones.shape[2:], 6) if include else ones[0, 0].numpy()
        got = apply(AvgPool("l", ("x",), "y", window=window, divisors=divisors.astype(np.int32)), tensors, [x], 4)
        ideal = np.clip(pooled.numpy().transpose(0, 2, 3, 1) / 0.5 + 20, -128, 127)
        assert np.abs(got - ideal).max() <= 0.5 + 1e-5


def test_global_average_by_hand():
    x = np.array([[[[1], [2]], [[3], [4]]]], np.int8)
    tensors = [Tensor("x", x.shape, 1.0, 0), Tensor("y", (), 1.0, 0)]
    layer = AvgPool("l", ("x",), "y", window=Window((2, 2)), divisors=np.array([[4]], np.int32))
    assert apply(layer, tensors, [x], 1).item() == 2  # 2.5 is a tie
    assert apply(layer, tensors, [x + np.int8(1)], 1).item() == 4  # and so is 3.5


@pytest.mark.parametrize(
    ("scale", "divisor", "total", "expected"),
    [(1.4698450565338135, 12, -90, -7), (0.8844709992408752, 12, 54, 4), (0.9930714368820190, 10, -35, -3)],
)
def test_avg_pool_scale_steps(scale, divisor, total, expected):
    """Near ties that any other order of the float32 steps, or float64, rounds the other way."""
    tensors = [Tensor("x", (1, 1, 1, 1), scale, 0), Tensor("y", (), scale, 0)]
    layer = AvgPool("l", ("x",), "y", divisors=np.array([[divisor]], np.int32))
    assert apply(layer, tensors, [np.full((1, 1, 1, 1), total, np.int8)], 1).item() == expected
