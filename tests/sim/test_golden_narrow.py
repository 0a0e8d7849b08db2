"""Narrow operands: against PyTorch, loops of fractions, counted bits, real batch normalization and ONNX Runtime."""

from dataclasses import replace
from fractions import Fraction
from math import ceil

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from dataflows.network import Add, AvgPool, Concat, Conv, Layer, MaxPool, Tensor, Window
from sim.golden.requantize import fixed_point
from tests.sim.golden_layers import apply

WINDOW = Window((3, 2), (2, 1), (1, 0, 2, 1), (1, 2))


def codes(rng: np.random.Generator, bits: int, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers over the whole range of a width, extremes often."""
    if bits == 1:
        return rng.choice(np.array([-1, 1], np.int8), shape)
    values = rng.integers(-(1 << bits - 1), 1 << bits - 1, shape)
    return np.where(rng.random(shape) < 0.2, -(1 << bits - 1), values).astype(np.int8)


def tensor(rng: np.random.Generator, name: str, bits: int, shape: tuple[int, ...] = ()) -> Tensor:
    """A tensor of a random scale and zero point."""
    zero = 0 if bits == 1 else int(rng.integers(-(1 << bits - 1), 1 << bits - 1))
    return Tensor(name, shape, float(np.float32(rng.uniform(0.05, 0.4))), zero, bits)


def convolution(rng: np.random.Generator, a_bits: int, w_bits: int, y_bits: int):
    """A convolution of 6 to 4 channels in two groups, its tensors and an input."""
    x = codes(rng, a_bits, (2, 6, 5, 6))
    source, target = tensor(rng, "x", a_bits, x.shape), tensor(rng, "y", y_bits)
    layer = Conv(
        "l", ("x",), "y", target.lowest, target.highest, codes(rng, w_bits, (4, 3, 3, 2)),
        rng.uniform(0.01, 0.3, 4).astype(np.float32), rng.integers(-99, 99, 4).astype(np.int32), WINDOW, 2, w_bits,
    )  # fmt: skip
    return layer, [source, target], x


def torch_sums(layer: Conv, x: np.ndarray, zero: int, padding: int) -> np.ndarray:
    """Accumulators by PyTorch in float64, (N, OH, OW, O)."""
    top, left, bottom, right = layer.window.padding
    nchw = torch.from_numpy(x.transpose(0, 3, 1, 2).astype(np.float64))
    padded = torch.nn.functional.pad(nchw, (left, right, top, bottom), value=padding) - zero
    weight = torch.from_numpy(layer.weight.astype(np.float64))
    sums = torch.nn.functional.conv2d(
        padded, weight, torch.from_numpy(layer.bias.astype(np.float64)), layer.window.stride,
        dilation=layer.window.dilation, groups=layer.groups,
    )  # fmt: skip
    return sums.numpy().transpose(0, 2, 3, 1)


@pytest.mark.parametrize("a_bits", range(1, 9))
@pytest.mark.parametrize("w_bits", range(1, 9))
def test_convolutions_of_all_widths(a_bits: int, w_bits: int) -> None:
    rng = np.random.default_rng(8 * a_bits + w_bits)
    for y_bits in (1, 2, 5, 8):
        layer, tensors, x = convolution(rng, a_bits, w_bits, y_bits)
        source, target = tensors
        sums = torch_sums(layer, x, source.zero, -1 if a_bits == 1 else source.zero)
        got = apply(layer, tensors, [x], 4)
        if y_bits == 1:
            np.testing.assert_array_equal(got, np.where(sums >= 0, 1, -1))
            continue
        for channel, weight_scale in enumerate(layer.weight_scale):
            scale = np.float32(source.scale) * weight_scale / np.float32(target.scale)
            multiplier, shift = fixed_point(np.array([scale]), "l")
            factor = Fraction(int(multiplier[0]), 1 << int(shift[0]))
            exact = [round(int(v) * factor) + target.zero for v in sums[..., channel].flat]
            assert got[..., channel].ravel().tolist() == [min(max(v, target.lowest), target.highest) for v in exact]


def test_one_bit_sums_are_counted_bits() -> None:
    """Twice the equal bits less all bits, from operands as bits of Python integers; padding is bits of 0."""
    rng = np.random.default_rng(1)
    x, w = codes(rng, 1, (1, 5, 5, 37)), codes(rng, 1, (3, 37, 3, 3))
    layer = Conv("l", ("x",), "y", -1, 1, w, bias=rng.integers(-40, 40, 3).astype(np.int32),
                 window=Window((3, 3), padding=(1, 1, 1, 1)), weight_bits=1)  # fmt: skip
    tensors = [Tensor("x", x.shape, 1.0, 0, 1), Tensor("y", (), 1.0, 0, 1)]
    got = apply(layer, tensors, [x], 3)

    def as_bits(values: np.ndarray) -> int:
        return int("".join("1" if v > 0 else "0" for v in values), 2)

    for i, j, o in np.ndindex(5, 5, 3):
        equal = 0
        for r, c in np.ndindex(3, 3):
            row, col = i + r - 1, j + c - 1
            inside = 0 <= row < 5 and 0 <= col < 5
            seen = as_bits(x[0, row, col]) if inside else 0
            equal += 37 - (seen ^ as_bits(w[o, :, r, c])).bit_count()
        assert got[0, i, j, o] == (1 if 2 * equal - 9 * 37 + layer.bias[o] >= 0 else -1)


def test_thresholds_are_batch_normalization_and_sign() -> None:
    """Every sum that a layer can have, normalized in rational numbers, against the bias of the text."""
    rng = np.random.default_rng(2)
    sums = np.arange(-20, 21)
    for trial in range(200):
        gamma, beta, mean, deviation, s = (Fraction(int(v), 16) for v in rng.integers(-64, 65, 5))
        deviation, s = abs(deviation) + Fraction(1, 16), abs(s) + Fraction(1, 16)
        if trial % 20 == 0:
            gamma = Fraction(0)
        wanted = [1 if gamma * (s * int(a) - mean) / deviation + beta >= 0 else -1 for a in sums]
        if gamma == 0:
            assert set(wanted) == {1 if beta >= 0 else -1}
            continue
        t = (mean - beta * deviation / gamma) / s
        negated = gamma < 0
        layer = Conv("l", ("x",), "y", -1, 1, np.full((1, 20, 1, 1), -1 if negated else 1, np.int8),
                     bias=np.array([-ceil(-t) if negated else -ceil(t)], np.int32), weight_bits=1)  # fmt: skip
        x = np.where(np.arange(20) < (sums[::2, None] + 20) // 2, 1, -1).astype(np.int8).reshape(-1, 1, 1, 20)
        got = apply(layer, [Tensor("x", x.shape, 1.0, 0, 1), Tensor("y", (), 1.0, 0, 1)], [x], 1)
        assert got.ravel().tolist() == wanted[::2]


@pytest.mark.parametrize(("a_bits", "y_bits"), [(1, 1), (1, 8), (2, 2), (3, 3), (3, 8), (8, 3), (5, 5)])
def test_max_pool_across_widths(a_bits: int, y_bits: int) -> None:
    rng = np.random.default_rng(a_bits)
    x = codes(rng, a_bits, (2, 6, 5, 3))
    source, target = Tensor("x", x.shape, 0.5, 0, a_bits), Tensor("y", (), 0.5, 0, y_bits)
    window = Window((3, 3), (2, 2), (2, 1, 1, 3))
    got = apply(MaxPool("l", ("x",), "y", target.lowest, target.highest, window), [source, target], [x], 3)
    padded = np.pad(x.astype(int), ((0, 0), (2, 1), (1, 3), (0, 0)), constant_values=source.lowest)
    for i, j in np.ndindex(got.shape[1:3]):
        largest = padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max(axis=(1, 2))
        np.testing.assert_array_equal(got[:, i, j], np.clip(largest, target.lowest, target.highest))


def shared_shift(scales: list[np.float32]) -> list[Fraction]:
    """Several scales with one shift, from the text: the largest has 24 bits."""
    exact = [Fraction(float(s)) for s in scales]
    shift = max(s for s in range(64) if round(max(exact) * 2**s) < 2**24)
    return [Fraction(round(e * 2**shift), 2**shift) for e in exact]


@pytest.mark.parametrize("widths", [(1, 8, 4), (2, 3, 2), (8, 1, 7), (1, 1, 2), (4, 4, 8)])
@pytest.mark.parametrize("op", [Add, Concat])
def test_add_and_concat_across_widths(op: type[Layer], widths: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(sum(widths))
    a_bits, b_bits, y_bits = widths
    xs = [codes(rng, a_bits, (2, 3, 2, 5)), codes(rng, b_bits, (2, 3, 2, 5))]
    tensors = [tensor(rng, "a", a_bits, xs[0].shape), tensor(rng, "b", b_bits, xs[1].shape), tensor(rng, "y", y_bits)]
    target = tensors[2]
    got = apply(op("l", ("a", "b"), "y", target.lowest, target.highest), tensors, xs, 5 if op is Add else 10)
    factors = shared_shift([np.float32(t.scale) / np.float32(target.scale) for t in tensors[:2]])
    parts = [
        np.array([(int(v) - t.zero) * f for v in x.flat], object).reshape(x.shape)
        for x, t, f in zip(xs, tensors, factors, strict=False)
    ]
    joined = parts[0] + parts[1] if op is Add else np.concatenate(parts, axis=3)
    wanted = [min(max(round(v) + target.zero, target.lowest), target.highest) for v in joined.flat]
    assert got.ravel().tolist() == wanted


@pytest.mark.parametrize(("a_bits", "y_bits"), [(1, 8), (2, 2), (4, 3), (8, 4), (3, 8)])
def test_average_pool_across_widths(a_bits: int, y_bits: int) -> None:
    rng = np.random.default_rng(y_bits)
    x = codes(rng, a_bits, (2, 6, 5, 3))
    source, target = tensor(rng, "x", a_bits, x.shape), tensor(rng, "y", y_bits)
    window = Window((2, 2), (2, 1), (0, 1, 0, 0))
    size = window.output_size(6, 5)
    divisors = rng.integers(1, 5, size).astype(np.int32)
    layer = AvgPool("l", ("x",), "y", target.lowest, target.highest, window, divisors)
    got = apply(layer, [source, target], [x], 3)
    padded = np.pad(x.astype(int) - source.zero, ((0, 0), (0, 0), (1, 0), (0, 0)))
    for i, j in np.ndindex(*size):
        total = padded[:, 2 * i : 2 * i + 2, j : j + 2].sum(axis=(1, 2))
        scale = np.float32(source.scale) / (np.float32(divisors[i, j]) * np.float32(target.scale))
        multiplier, shift = fixed_point(np.array([scale]), "l")
        exact = [round(int(v) * Fraction(int(multiplier[0]), 1 << int(shift[0]))) + target.zero for v in total.flat]
        assert got[:, i, j].ravel().tolist() == [min(max(v, target.lowest), target.highest) for v in exact]


@pytest.mark.parametrize("zeros", [(0, 0), (-8, 7), (3, -2)])
def test_four_bits_as_onnx_runtime_has_them(zeros: tuple[int, int]) -> None:
    """Weights and results in ONNX's own 4-bit type; scales are powers of two, so every step is exact there, too."""
    rng = np.random.default_rng(3)
    layer, (source, target), x = convolution(rng, 4, 4, 4)
    scales = (2.0 ** rng.integers(-6, -2, 4)).astype(np.float32)
    source, target = replace(source, scale=0.25, zero=zeros[0]), replace(target, scale=0.5, zero=zeros[1])
    layer = replace(layer, weight_scale=scales)
    got = apply(layer, [source, target], [x], 4)

    def int4(name: str, values: np.ndarray) -> onnx.TensorProto:
        flat = values.ravel().astype(int).tolist()
        return helper.make_tensor(name, TensorProto.INT4, values.shape, flat)

    top, left, bottom, right = layer.window.padding
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "x_scale", "x_zero"], ["real_x"]),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["real_w"], axis=0),
        helper.make_node(
            "Conv", ["real_x", "real_w", "b"], ["real_y"], pads=[top, left, bottom, right],
            strides=layer.window.stride, dilations=layer.window.dilation, group=2,
        ),
        helper.make_node("QuantizeLinear", ["real_y", "y_scale", "y_zero"], ["y"]),
        helper.make_node("DequantizeLinear", ["y", "one", "none"], ["out"]),
    ]  # fmt: skip
    initializers = [
        int4("w", layer.weight), int4("w_zero", np.zeros(4)), int4("x", x.transpose(0, 3, 1, 2)),
        int4("x_zero", np.array(zeros[0])), int4("y_zero", np.array(zeros[1])), int4("none", np.array(0)),
        *(onnx.numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in (
            ("x_scale", 0.25), ("y_scale", 0.5), ("one", 1.0), ("w_scale", scales), ("b", layer.bias * 0.25 * scales),
        )),
    ]  # fmt: skip
    outputs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "g", [], outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(got.transpose(0, 3, 1, 2), session.run(None, {})[0])
    assert len(np.unique(got)) > 8
