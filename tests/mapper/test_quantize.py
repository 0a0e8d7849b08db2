"""Quantization: the integer network follows its own definition, and comes close to the float model."""

import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from dataflows import network as ints
from dataflows.errors import InputError
from mapper.activation_scale import activation_scale
from mapper.calibrate import Calibration, observe
from mapper.float_reference import run
from mapper.graph import Concat, Conv, Flatten, FloatGraph
from mapper.loading import import_model
from mapper.quantize import quantize
from mapper.samples import dequantize_output, load_samples, quantize_input, random_samples
from mapper.weights import quantize_weights
from sim import golden
from tests.mapper import models
from tests.mapper.test_import import MAPS, NETWORKS, Wrap


def imported(model: nn.Module, tmp_path, *shapes) -> FloatGraph:
    return import_model(models.save_export(model, tmp_path / "m", *(torch.randn(shape) for shape in shapes)))


def outputs(graph: FloatGraph, samples, bits=8, **options) -> list[tuple[np.ndarray, np.ndarray, ints.Tensor]]:
    """Per output: float reference, dequantized golden result, tensor."""
    network = quantize(graph, observe(graph, samples, **options), bits)
    values = golden.run(network, {name: quantize_input(network, name, samples[name]) for name in network.inputs})
    reference = run(graph, samples)
    return [
        (reference[name], dequantize_output(network, name, values[name]), network.tensors[name])
        for name in network.outputs
    ]


def quality(reference: np.ndarray, found: np.ndarray) -> float:
    """SQNR in dB."""
    noise = float(((reference - found) ** 2).sum())
    return 10 * np.log10(float((reference**2).sum()) / noise) if noise else np.inf


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_close_to_float(name, bits, tmp_path):
    """Eight bits more are worth 48 dB; nearly all of it arrives."""
    make, shapes = NETWORKS[name]
    graph = imported(make(), tmp_path, *shapes)
    for reference, found, tensor in outputs(graph, random_samples(graph, 6, seed=3), bits):
        assert tensor.bits == bits
        assert quality(reference, found) > 25 + 5 * (bits - 8)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("name", MAPS)
def test_operators_are_close_to_float(name, bits, tmp_path):
    torch.manual_seed(3)
    graph = imported(Wrap(MAPS[name]).eval(), tmp_path, (2, 3, 9, 7))
    for reference, found, tensor in outputs(graph, random_samples(graph, 4, seed=4), bits):
        assert reference.shape == found.shape
        # A few steps: one rounding per layer, and the inputs' own.
        assert np.abs(reference - found).max() <= 6 * tensor.scale


def test_resnet18(tmp_path):
    graph = imported(models.resnet18_cifar(), tmp_path, (1, 3, 32, 32))
    ((reference, found, _),) = outputs(graph, random_samples(graph, 1))
    assert quality(reference, found) > 20


@pytest.mark.parametrize("low, high", [(0.0, 1.0), (-1.0, 0.0), (-3.0, 5.0), (2.0, 3.0), (-7.0, -6.0), (-1e-9, 1e9)])
@pytest.mark.parametrize("bits", [8, 16])
def test_activation_range_includes_zero(low, high, bits):
    scale, zero = activation_scale(low, high, bits)
    limit = 1 << bits - 1
    assert -limit <= zero < limit
    assert bits == 8 or zero == 0
    assert np.float32(scale) == scale
    assert scale * (-limit - zero) <= min(low, 0) + scale / 2 * 1.01
    assert scale * (limit - 1 - zero) >= max(high, 0) - scale / 2 * 1.01


@pytest.mark.parametrize("value", [0.0, 1e-38, -1e-38])
def test_degenerate_ranges(value):
    assert activation_scale(value, value) == (1.0, 0)


def test_dead_channels_stay_usable(tmp_path):
    """Channels with zero, vanishing or dominating weights, and a model that computes zeros only."""
    model = models.seeded(nn.Sequential(nn.Conv2d(2, 5, 3), nn.ReLU()))
    conv = model[0]
    conv.weight.data[0] = 0
    conv.weight.data[1] *= 1e-30
    conv.weight.data[2] = 0
    conv.bias.data[:] = torch.tensor([0.0, 0.5, 0.75, -0.1, 0.2])
    graph = imported(model, tmp_path, (1, 2, 6, 6))
    samples = random_samples(graph)
    ((reference, found, tensor),) = outputs(graph, samples)
    assert np.abs(reference - found).max() <= 3 * tensor.scale
    conv.weight.data[:] = 0
    conv.bias.data[:] = 0
    ((_, found, _),) = outputs(imported(model, tmp_path, (1, 2, 6, 6)), samples)
    assert not found.any()


def test_weights_are_symmetric_per_channel(rng):
    weight = rng.standard_normal((6, 3, 2, 2)).astype(np.float32) * np.float32(10) ** rng.integers(-3, 3, (6, 1, 1, 1))
    weight = weight.astype(np.float32)
    bias = rng.standard_normal(6).astype(np.float32)
    source = ints.Tensor("x", (1, 4, 4, 3), 0.25, -3)
    codes, scale, bias_codes = quantize_weights("layer", weight, bias, source, 0.5)
    assert codes.dtype == np.int8
    assert scale.dtype == np.float32
    assert (np.abs(codes.astype(int)).reshape(6, -1).max(1) == 127).all()
    np.testing.assert_allclose(codes * scale[:, None, None, None], weight, atol=float(scale.max()) / 2, rtol=0)
    np.testing.assert_allclose(bias_codes * scale.astype(float) * 0.25, bias, atol=float(scale.max()) * 0.25)


def test_huge_bias_fits():
    source = ints.Tensor("x", (1, 1, 1, 1), 1.0, 0)
    weight = np.full((1, 1, 1, 1), 1e-6, np.float32)
    _, scale, bias = quantize_weights("layer", weight, np.array([1e6], np.float32), source, 1e4)
    assert bias[0] * float(scale[0]) == pytest.approx(1e6)


def test_weights_of_next_to_nothing_have_a_scale():
    source = ints.Tensor("x", (1, 1, 1, 2), 1.0, 0)
    weight = np.array([[1e-42, 0.0], [0.0, 0.0]], np.float32).reshape(2, 2, 1, 1)
    codes, scale, bias = quantize_weights("layer", weight, np.zeros(2, np.float32), source, 1e-38)
    assert (scale > 0).all() and not codes.any() and not bias.any()


@pytest.mark.parametrize("wrong", [(np.nan, 0.0), (1.0, np.nan), (np.inf, 0.0), (1.0, 3e38)])
def test_weights_that_are_no_numbers_are_refused(wrong):
    source = ints.Tensor("x", (1, 1, 1, 1), 1e-30, 0)
    weight, bias = (np.full(shape, value, np.float32) for shape, value in zip(((1, 1, 1, 1), (1,)), wrong, strict=True))
    with pytest.raises(InputError, match="layer l: weights or biases are not finite"):
        quantize_weights("l", weight, bias, source, 1.0)


def test_overflow_is_refused():
    source = ints.Tensor("x", (1, 1, 1, 70_000), 1.0, -128)
    weight = np.ones((2, 70_000, 1, 1), np.float32)
    weight[0, 1:] = 0
    with pytest.raises(
        InputError, match=r"layer head: the accumulator of output channel 1 can reach 2266950000 .*2\*\*31"
    ):
        quantize_weights("head", weight, np.zeros(2, np.float32), source, 1.0)
    quantize_weights("head", weight[:, :66_000], np.zeros(2, np.float32), source, 1.0)


def test_overflow_of_48_bits_is_refused():
    source = ints.Tensor("x", (1, 1, 1, 70_000), 1.0, -(2**15), 16)
    weight = np.ones((2, 70_000, 1, 1), np.float32)
    weight[0, 1:] = 0
    reach = 70_000 * 32767 * 65535
    with pytest.raises(InputError, match=rf"the accumulator of output channel 1 can reach {reach} .*2\*\*47"):
        quantize_weights("head", weight, np.zeros(2, np.float32), source, 1.0)
    codes, _, bias = quantize_weights("head", weight[:, :65_000], np.full(2, 1e5, np.float32), source, 1.0)
    assert (codes.dtype, codes.max()) == (np.int16, 32767)
    assert bias.dtype == np.int64 and bias.max() == pytest.approx(1e5 * 32767, rel=1e-7)


def test_clamps_become_codes(tmp_path):
    graph = imported(models.mobile(), tmp_path, (1, 3, 15, 12))
    network = quantize(graph, observe(graph, random_samples(graph)))
    layers = {layer.name: layer for layer in network.layers}
    stem = network.tensors["stem"]
    assert layers["stem"].low == stem.zero == -128
    assert layers["stem"].high == min(127, round(6 / stem.scale) - 128)
    assert (layers["project"].low, layers["project"].high) == (-128, 127)
    wide = Calibration({name: (-10.0, 20.0) for name in graph.shapes})
    layer = {layer.name: layer for layer in quantize(graph, wide).layers}["expand"]
    assert (layer.low, layer.high) == (-128 + 85, -128 + 85 + 51)


def test_shared_scales(tmp_path):
    graph = imported(models.lenet(), tmp_path, (1, 1, 24, 20))
    network = quantize(graph, observe(graph, random_samples(graph)))
    by_name = {layer.name: layer for layer in network.layers}
    for name in ("features.2", "flatten"):
        before, after = (network.tensors[n] for n in (by_name[name].inputs[0], name))
        assert (before.scale, before.zero) == (after.scale, after.zero)
    assert network.macs(by_name["fc1"]) == 17 * 180
    assert all(len(tensor.shape) == 4 for tensor in network.tensors.values())
    for layer in network.layers:
        if isinstance(layer, ints.Conv | ints.MaxPool | ints.AvgPool):
            n, h, w, _ = network.tensors[layer.inputs[0]].shape
            assert network.tensors[layer.output].shape[:3] == (n, *layer.window.output_size(h, w))


def test_output_order(tmp_path):
    """A flattened output is the model's after permuting it back."""
    graph = imported(Wrap(MAPS["flatten_cat"]).eval(), tmp_path, (2, 3, 9, 7))
    assert {type(node) for node in graph.nodes} >= {Flatten, Concat}
    network = quantize(graph, observe(graph, random_samples(graph)))
    (order,) = network.output_order.values()
    assert sorted(order) == list(range(3 * 9 * 7 + 3))
    assert order[:3].tolist() == [0, 3, 6]
    assert order[-3:].tolist() == [189, 190, 191]


def test_percentile_cuts_outliers(tmp_path):
    graph = imported(nn.Sequential(nn.ReLU()), tmp_path, (1, 1, 50, 50))
    samples = {graph.inputs[0]: np.random.default_rng(0).uniform(0, 1, (8, 1, 50, 50)).astype(np.float32)}
    samples[graph.inputs[0]][0, 0, 0, 0] = 1000
    assert observe(graph, samples).ranges[graph.inputs[0]][1] == 1000
    low, high = observe(graph, samples, "percentile", 99.9).range(graph.inputs[0])
    assert 0 <= low < 0.3
    assert 0.9 < high < 1.5


def test_batches_see_everything(tmp_path):
    graph = imported(models.resnet_tiny(), tmp_path, (1, 3, 8, 8))
    samples = random_samples(graph, 7)
    small, large = observe(graph, samples, batch=2).ranges, observe(graph, samples, batch=64).ranges
    for name in large:
        np.testing.assert_allclose(small[name], large[name], rtol=1e-4, atol=1e-5)


def test_calibration_refuses(tmp_path):
    graph = imported(nn.Sequential(nn.ReLU()), tmp_path, (1, 1, 2, 2))
    name = graph.inputs[0]
    ones = np.ones((2, 1, 2, 2), np.float32)
    with pytest.raises(InputError, match="method must be one of minmax, percentile, entropy, mse, not 'max'"):
        observe(graph, {name: ones}, "max")
    with pytest.raises(InputError, match="percentile must be above 50 and at most 100, not 3"):
        observe(graph, {name: ones}, "percentile", 3)
    with pytest.raises(InputError, match="lack the input"):
        observe(graph, {})
    with pytest.raises(InputError, match="not finite"):
        observe(graph, {name: ones * np.inf})


def test_quantize_input_rounds_and_saturates():
    tensor = ints.Tensor("x", (1, 1, 2, 3), 0.5, 10)
    network = ints.Network("n", {"x": tensor}, (), ("x",), ("x",))
    values = np.array([[[[0.0, 0.25]], [[0.75, -0.25]], [[1e9, -1e9]]]], np.float32)
    codes = quantize_input(network, "x", values)
    assert codes.shape == (1, 1, 2, 3)
    assert codes[0, 0].tolist() == [[10, 12, 127], [10, 10, -128]]
    back = dequantize_output(network, "x", codes)
    assert back.shape == values.shape
    assert back[0, :2].tolist() == [[[0.0, 0.0]], [[1.0, 0.0]]]
    with pytest.raises(InputError, match=r"input x has shape \(1, 2, 1, 3\); \(samples, 3, 1, 2\) is needed"):
        quantize_input(network, "x", np.zeros((1, 2, 1, 3)))


class TestSamples:
    @pytest.fixture
    def graph(self, tmp_path) -> FloatGraph:
        return imported(models.branches(), tmp_path, (1, 2, 5, 5), (1, 3, 5, 5))

    def test_reads(self, graph, tmp_path):
        path = tmp_path / "s.npz"
        np.savez(path, a=np.ones((4, 2, 5, 5)), b=np.zeros((4, 3, 5, 5), np.uint8))
        samples = load_samples(path, graph)
        assert {name: (array.shape, array.dtype) for name, array in samples.items()} == {
            "a": ((4, 2, 5, 5), np.float32),
            "b": ((4, 3, 5, 5), np.float32),
        }

    def test_single_input_may_have_any_name(self, tmp_path):
        graph = imported(nn.Sequential(nn.Linear(3, 2)), tmp_path, (1, 3))
        np.savez(tmp_path / "s.npz", whatever=np.ones((5, 3)))
        (array,) = load_samples(tmp_path / "s.npz", graph).values()
        assert array.shape == (5, 3, 1, 1)
        assert {len(array.shape) for array in run(graph, {graph.inputs[0]: array}).values()} == {4}

    @pytest.mark.parametrize(
        "arrays, message",
        [
            ({"a": np.ones((4, 2, 5, 5))}, "holds a; one array per input is needed: a, b"),
            ({}, "holds nothing; one array per input"),
            (
                {"a": np.ones((4, 2, 5, 5)), "b": np.ones((4, 3, 5))},
                r"array b has shape \(4, 3, 5\); .*\(samples, 3, 5, 5\)",
            ),
            ({"a": np.ones((0, 2, 5, 5)), "b": np.ones((0, 3, 5, 5))}, "at least one sample"),
            ({"a": np.ones((4, 2, 5, 5)), "b": np.ones((3, 3, 5, 5))}, "different numbers of samples"),
            (
                {"a": np.full((1, 2, 5, 5), np.nan), "b": np.ones((1, 3, 5, 5))},
                r"array a holds 50 value\(s\) that are NaN",
            ),
            ({"a": np.ones((1, 2, 5, 5), complex), "b": np.ones((1, 3, 5, 5))}, "array a holds complex128"),
            ({"a": np.array([None]), "b": np.ones((1, 3, 5, 5))}, "not a NumPy .npz file of plain arrays"),
        ],
    )
    def test_refuses(self, graph, tmp_path, arrays, message):
        np.savez(tmp_path / "s.npz", **arrays)
        with pytest.raises(InputError, match=message):
            load_samples(tmp_path / "s.npz", graph)

    def test_refuses_other_files(self, graph, tmp_path):
        with pytest.raises(InputError, match="does not exist"):
            load_samples(tmp_path / "none.npz", graph)
        np.save(tmp_path / "b.npy", np.ones((1, 3, 5, 5)))
        for content in (b"", b"random bytes", b"PK\x03\x04 cut off"):
            (tmp_path / "bad.npz").write_bytes(content)
            with pytest.raises(InputError, match=r"not a NumPy \.npz file"):
                load_samples(tmp_path / "bad.npz", graph)
        with zipfile.ZipFile(tmp_path / "bad.npz", "w") as archive:
            archive.writestr("a", b"no array")
            archive.writestr("b.npy", (tmp_path / "b.npy").read_bytes())
        with pytest.raises(InputError, match=r"bad\.npz: a is no array"):
            load_samples(tmp_path / "bad.npz", graph)
        np.save(tmp_path / "one.npy", np.ones(3))
        with pytest.raises(InputError, match="holds a single array"):
            load_samples(tmp_path / "one.npy", graph)


def test_convolutions_keep_their_weights(tmp_path):
    """The flatten's permutation reaches the linear layer's columns."""
    graph = imported(models.lenet(), tmp_path, (1, 1, 24, 20))
    network = quantize(graph, observe(graph, random_samples(graph)))
    node = next(n for n in graph.nodes if n.name == "fc1")
    layer = next(la for la in network.layers if la.name == "fc1")
    assert isinstance(node, Conv)
    assert isinstance(layer, ints.Conv)
    there = node.weight.reshape(17, 9, 5, 4).transpose(0, 2, 3, 1).reshape(17, -1)
    np.testing.assert_allclose(
        layer.weight[:, :, 0, 0] * layer.weight_scale[:, None], there, atol=float(layer.weight_scale.max()) / 2 * 1.001
    )
