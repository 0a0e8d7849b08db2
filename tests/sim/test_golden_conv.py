"""Convolution against PyTorch's, loops in Python, and corners."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dataflows.errors import InputError
from dataflows.network import Conv, Tensor, Window
from sim.golden.conv import accumulate
from sim.golden.requantize import fixed_point
from tests.sim.golden_layers import SEED, ZERO, apply, random_codes, windows, zeros


def torch_accumulate(layer: Conv, x: np.ndarray, zero: int, bits: int = 32) -> np.ndarray:
    """The same sums by PyTorch, in float64 (exact up to 53 bits, without the bias), modulo 2**bits."""
    top, left, bottom, right = layer.window.padding
    nchw = torch.from_numpy(x.transpose(0, 3, 1, 2).astype(np.float64))
    centred = torch.nn.functional.pad(nchw - zero, (left, right, top, bottom))
    total = torch.nn.functional.conv2d(
        centred,
        torch.from_numpy(layer.weight.astype(np.float64)),
        stride=layer.window.stride,
        dilation=layer.window.dilation,
        groups=layer.groups,
    )
    exact = total.numpy().transpose(0, 2, 3, 1).astype(np.int64) + layer.bias
    return (exact + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)


@st.composite
def layers(draw: st.DrawFn, bits: int = 8) -> tuple[Conv, np.ndarray, int]:
    groups = draw(st.sampled_from([1, 1, 2, 3, 5]))
    depth, outputs = draw(st.integers(1, 5)), draw(st.integers(1, 4)) * groups
    n, height, width = draw(st.tuples(st.integers(1, 2), st.integers(1, 9), st.integers(1, 9)))
    window = draw(windows(height, width))
    rng = np.random.default_rng(draw(SEED))
    layer = Conv(
        "layer",
        ("x",),
        "y",
        weight=random_codes(rng, (outputs, depth, *window.kernel), bits),
        weight_scale=rng.uniform(1e-4, 0.05, outputs).astype(np.float32),
        bias=random_bias(rng, outputs, bits),
        window=window,
        groups=groups,
    )
    return layer, random_codes(rng, (n, height, width, depth * groups), bits), draw(zeros(bits))


def random_bias(rng: np.random.Generator, outputs: int, bits: int) -> np.ndarray:
    """Biases over the whole range of an accumulator."""
    limit = 2**31 if bits == 8 else 2**47
    return rng.integers(-limit, limit, outputs).astype(np.int32 if bits == 8 else np.int64)


def source_of(x: np.ndarray, zero: int) -> Tensor:
    return Tensor("x", x.shape, 1.0, zero, 8 * x.itemsize)


@given(layers())
def test_accumulate_equals_pytorch(case):
    layer, x, zero = case
    np.testing.assert_array_equal(accumulate(layer, x, source_of(x, zero)), torch_accumulate(layer, x, zero))


@given(layers(bits=16))
def test_wide_accumulate_equals_pytorch(case):
    layer, x, zero = case
    np.testing.assert_array_equal(accumulate(layer, x, source_of(x, zero)), torch_accumulate(layer, x, zero, 48))


def test_long_reductions_are_exact():
    """More products than float64 can add up; the sum in Python integers."""
    rng = np.random.default_rng(1)
    depth = 3 << 21
    x, w = (rng.choice([-(2**15), 2**15 - 1], depth).astype(np.int16) for _ in range(2))
    layer = Conv("l", ("x",), "y", weight=w.reshape(1, depth, 1, 1), bias=np.array([5], np.int64))
    exact = 5 + sum((int(a) - 2**15 + 1) * int(b) for a, b in zip(x, w, strict=True))
    got = accumulate(layer, x.reshape(1, 1, 1, depth), source_of(x.reshape(1, 1, 1, depth), 2**15 - 1))
    assert got.item() == (exact + 2**47) % 2**48 - 2**47


def test_accumulate_by_hand():
    x = np.array([[[[1], [2]], [[3], [4]]]], np.int8)
    layer = Conv(
        "l",
        ("x",),
        "y",
        weight=np.array([[[[1, 10], [100, -128]]]], np.int8),
        bias=np.array([7], np.int32),
        window=Window((2, 2), padding=(1, 0, 0, 1)),
    )
    expected = [[7 + 100 * 0 - 128 * 1, 7 + 100 * 1], [7 + 0 + 10 * 1 + 100 * 2 - 128 * 3, 7 + 1 + 100 * 3]]
    assert accumulate(layer, x, source_of(x, 1))[0, :, :, 0].tolist() == expected


def test_accumulator_wraps():
    layer = Conv("l", ("x",), "y", weight=np.full((1, 1, 1, 1), -128, np.int8), bias=np.array([-(2**31)], np.int32))
    x = np.array([[[[127]]]], np.int8)
    assert accumulate(layer, x, source_of(x, -128)).tolist() == [[[[2**31 - 255 * 128]]]]


@given(layers(), ZERO, st.floats(2**-10, 4, width=32), SEED)
def test_layer_equals_rational_arithmetic(case, result_zero, result_scale, seed):
    layer, x, zero = case
    rng = np.random.default_rng(seed)
    bias = rng.integers(-2000, 2000, len(layer.bias)).astype(np.int32)
    check_layer(layer, x, zero, result_zero, result_scale, rng, bias)


@given(layers(bits=16), zeros(16), st.floats(2**-18, 4, width=32), SEED)
def test_wide_layer_equals_rational_arithmetic(case, result_zero, result_scale, seed):
    """Accumulators over the whole range of 48 bits, times 24 bits."""
    layer, x, zero = case
    rng = np.random.default_rng(seed)
    bias = rng.integers(-(2**46), 2**46, len(layer.bias)) >> rng.integers(0, 40, len(layer.bias))
    check_layer(layer, x, zero, result_zero, result_scale, rng, bias)


def check_layer(layer, x, zero, result_zero, result_scale, rng, bias):
    bits = 8 * x.itemsize
    low, high = sorted(rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), 2).tolist())
    layer = Conv(**{**vars(layer), "low": low, "high": high, "bias": bias})
    outputs = len(layer.weight)
    tensors = [Tensor("x", x.shape, 0.0173, zero, bits), Tensor("y", (), result_scale, result_zero, bits)]
    got = apply(layer, tensors, [x], outputs)
    expected = torch_accumulate(layer, x, zero, tensors[0].acc_bits)
    for channel in range(outputs):
        scale = np.float32(0.0173) * layer.weight_scale[channel]
        multiplier, shift = fixed_point(np.array([scale / np.float32(result_scale)]), "layer")
        factor = Fraction(int(multiplier[0]), 2 ** int(shift[0]))
        values = [min(max(round(int(acc) * factor) + result_zero, low), high) for acc in expected[..., channel].flat]
        assert got[..., channel].flatten().tolist() == values


def test_layer_is_real_arithmetic_rounded():
    """Up to the few parts in 2**24 by which the scale is rounded."""
    rng = np.random.default_rng(5)
    weight, x = random_codes(rng, (7, 6, 3, 3)), random_codes(rng, (1, 10, 10, 6))
    layer = Conv(
        "l",
        ("x",),
        "y",
        weight=weight,
        weight_scale=rng.uniform(1e-4, 2e-3, 7).astype(np.float32),
        bias=np.zeros(7, np.int32),
        window=Window((3, 3)),
    )
    got = apply(layer, [Tensor("x", x.shape, 0.02, 3), Tensor("y", (), 0.07, -9)], [x], 7)
    real = torch_accumulate(layer, x, 3) * (np.float64(np.float32(0.02)) * layer.weight_scale / np.float32(0.07))
    error = got - np.clip(real - 9, -128, 127)
    assert np.abs(error).max() <= 0.5 + 1e-3
    assert np.unique(got).size > 50  # most are not clamped


def test_impossible_scale_names_the_layer():
    layer = Conv("features.3", ("x",), "y", weight_scale=np.array([1e30], np.float32))
    tensors = [Tensor("x", (1, 1, 1, 1), 1e30, 0), Tensor("y", (), 1.0, 0)]
    with pytest.raises(InputError, match=r"layer 'features\.3'"):
        apply(layer, tensors, [np.zeros((1, 1, 1, 1), np.int8)], 1)


@pytest.mark.parametrize(
    ("scale_x", "scale_w", "scale_y", "acc", "expected"),
    [
        (0.07123710215091705, 0.00017982805729843676, 0.019985578954219818, -183312, -117),
        (0.0012611848069354892, 0.004762208089232445, 0.06894910335540771, 1130779, 99),
        (0.06996653228998184, 0.0010344390757381916, 0.0966983512043953, 50102, 38),
    ],
)
def test_scale_steps(scale_x, scale_w, scale_y, acc, expected):
    """Near ties that any other order of the float32 steps, or float64, rounds the other way."""
    layer = Conv("l", ("x",), "y", weight_scale=np.array([scale_w], np.float32), bias=np.array([acc], np.int32))
    tensors = [Tensor("x", (1, 1, 1, 1), scale_x, 0), Tensor("y", (), scale_y, 0)]
    assert apply(layer, tensors, [np.zeros((1, 1, 1, 1), np.int8)], 1).item() == expected
