"""Signs: layers and their normalization become comparisons, and binary networks are their float models exactly."""

import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from dataflows import network as ints
from dataflows.config import load
from dataflows.errors import InputError
from mapper.bit_widths import widths
from mapper.calibrate import observe
from mapper.float_reference import run
from mapper.graph import Conv
from mapper.quantize import quantize
from mapper.samples import dequantize_output, quantize_input, random_samples
from mapper.thresholds import FAR, never_zero, threshold_bias
from sim import golden
from tests.mapper import models
from tests.mapper.test_bits import FUSION, XNOR, imported, quantized


class Binary(nn.Module):
    """Signs everywhere: batch normalization of any sign, hardtanh, maxima, padding with -1."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(8, 16, 3, bias=False), nn.BatchNorm2d(16)
        self.conv2, self.bn2 = nn.Conv2d(16, 24, 3), nn.BatchNorm2d(24)
        self.fc = nn.Linear(24 * 4, 10)
        models.seeded(self)
        for layer in (self.conv1, self.conv2, self.fc):
            size = torch.rand(len(layer.weight)) + 0.5
            layer.weight.data = torch.sign(layer.weight) * size.reshape(-1, *[1] * (layer.weight.ndim - 1))
        self.bn1.weight.data[::3] *= -1
        self.bn2.weight.data[::2] *= -1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.sign(functional.max_pool2d(functional.hardtanh(self.bn1(self.conv1(self.around(x)))), 2))
        x = torch.sign(self.bn2(self.conv2(self.around(x))))
        return self.fc(torch.flatten(functional.max_pool2d(x, 2), 1))

    def around(self, x: torch.Tensor) -> torch.Tensor:
        return functional.pad(x, (1, 1, 1, 1), value=-1)


class Narrow(Binary):
    """The same without padding."""

    def around(self, x: torch.Tensor) -> torch.Tensor:
        return x


def signs(rng, *shape) -> np.ndarray:
    return rng.choice([-1, 1], shape).astype(np.float32)


@pytest.mark.parametrize(("model", "size"), [(Binary, 8), (Narrow, 14)])
def test_binary_networks_are_exact(model, size, tmp_path, rng):
    """Every sign is that of the float model; only the scales of the last layer are rounded."""
    graph = imported(model(), tmp_path, (1, 8, size, size))
    samples = {graph.inputs[0]: signs(rng, 24, 8, size, size)}
    network = quantized(graph, load(XNOR), "", samples)
    assert all(set(np.unique(layer.weight)) == {-1, 1} for layer in network.layers if isinstance(layer, ints.Conv))
    values = golden.run(network, {name: quantize_input(network, name, samples[name]) for name in network.inputs})
    reference = run(graph, samples)
    for name, tensor in network.tensors.items():
        if tensor.bits == 1 and tensor.shape[1] > 1:
            np.testing.assert_array_equal(values[name].transpose(0, 3, 1, 2), reference[name])
    (name,) = graph.outputs
    np.testing.assert_allclose(
        dequantize_output(network, name, values[name]), reference[name], atol=2 * network.tensors[name].scale
    )


def test_signs_in_two_bits_are_exact(tmp_path, rng):
    """Without operands of one bit, signs of sums of signs are never zero."""
    model = Narrow()
    graph = imported(model, tmp_path, (1, 8, 14, 14))
    samples = {graph.inputs[0]: rng.standard_normal((24, 8, 14, 14)).astype(np.float32)}
    network = quantized(graph, load(FUSION), "binary", samples)
    assert [t.bits for t in network.tensors.values()] == [8, 2, 2, 2, 2, 2, 8]
    values = golden.run(network, {name: quantize_input(network, name, samples[name]) for name in network.inputs})
    found = {name: torch.from_numpy(v.transpose(0, 3, 1, 2).astype(np.float32)) for name, v in values.items()}
    assert float((found["conv1"] == torch.from_numpy(run(graph, samples)["conv1"])).float().mean()) > 0.97
    with torch.inference_mode():
        exact = torch.where(model.bn2(model.conv2(found[network.layers[1].output])) >= 0, 1.0, -1.0)
    pixels = (found["conv1"] != 0).all(1)
    assert float(pixels.float().mean()) > 0.9
    clean = functional.max_pool2d((found[network.layers[1].output] == 0).float().amax(1, keepdim=True), 3, 1) == 0
    assert torch.equal(torch.where(clean, found["conv2"], exact), exact)


def test_hardtanh_and_maxima_come_after_signs(tmp_path):
    graph = imported(Binary(), tmp_path, (1, 8, 8, 8))
    nodes = {node.name: node for node in graph.nodes}
    assert [type(node).__name__ for node in graph.nodes] == ["Conv", "MaxPool", "Conv", "MaxPool", "Flatten", "Conv"]
    assert nodes["conv1"].sign and nodes["conv2"].sign and not nodes["fc"].sign
    assert isinstance(nodes["conv1"], Conv) and nodes["conv1"].padding_value == -1
    assert nodes["conv1"].window.padding == (1, 1, 1, 1)


def test_ties_are_positive(tmp_path, rng):
    """Batch normalization whose mean is a sum that occurs: zero counts as +1, with either sign of its factor."""
    model = nn.Sequential(nn.Conv2d(16, 32, 1, bias=False), nn.BatchNorm2d(32)).eval()
    weight, mean = signs(rng, 32, 16, 1, 1), rng.choice(np.arange(-8, 9, 2), 32)
    gain = rng.choice([-1.7, -0.3, 0.3, 0.9], 32)
    model[0].weight.data = torch.from_numpy(weight)
    model[1].running_mean[:] = torch.from_numpy(mean)
    model[1].running_var[:] = torch.from_numpy(rng.uniform(0.1, 9, 32))
    model[1].weight.data[:] = torch.from_numpy(gain)
    model[1].bias.data.zero_()

    class Signs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.last = model, nn.Conv2d(32, 8, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(torch.sign(self.body(x)))

    graph = imported(Signs(), tmp_path, (1, 16, 8, 8))
    x = signs(rng, 8, 16, 8, 8)
    sums = np.einsum("oc,nchw->nohw", weight[:, :, 0, 0], x).astype(np.int64)
    exact = np.where(np.sign(gain)[:, None, None] * (sums - mean[:, None, None]) >= 0, 1, -1)
    assert (sums == mean[:, None, None]).mean() > 0.05
    network = quantized(graph, load(XNOR), "", {graph.inputs[0]: x})
    values = golden.run(network, {graph.inputs[0]: quantize_input(network, graph.inputs[0], x)})
    np.testing.assert_array_equal(values[network.layers[0].output].transpose(0, 3, 1, 2), exact)


def test_thresholds():
    bias = np.array([2.5, -2.5, 3.0, -3.0, 3.0000001, 2.9999999, 0, 1, -1, 1e30], np.float32)
    step = np.array([1, 1, 1, 1, 1, 1, 0, 0, 0, 1e-3])
    assert threshold_bias(bias, step).tolist() == [2, -3, 3, -3, 3, 3, FAR, FAR, -FAR, FAR]
    sums = np.arange(-9, 10, 2)
    for limit in range(-12, 13):
        moved = int(never_zero(np.array([limit]), 9)[0])
        assert 0 not in sums + moved and ((sums + moved > 0) == (sums + limit >= 0)).all()


@pytest.mark.parametrize(
    ("value", "config", "words"),
    [
        (0, XNOR, "layer 2 pads 0 with zeros, but one bit is +1 or -1; pad with -1"),
        (-1, FUSION, "layer 2 pads 0 with -1, but that has 2 bits here, whose padding is zero"),
    ],
)
def test_padding_that_integers_cannot_hold(value, config, words, tmp_path):
    class Padded(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self[2](functional.pad(torch.sign(self[0](x)), (1, 1, 1, 1), value=value))

    graph = imported(Padded(nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3)), tmp_path, (1, 8, 4, 4))
    x = random_samples(graph, signs=graph.inputs)
    with pytest.raises(InputError, match=re.escape(words)):
        quantize(graph, observe(graph, x, histograms=True), widths(graph, load(config)))


def test_signs_of_vector_results_stay_layers(tmp_path):
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(torch.sign(self.a(x) + x))

    graph = imported(Residual(), tmp_path, (1, 8, 4, 4))
    assert [(type(n).__name__, n.sign) for n in graph.nodes][2] == ("Conv", True)
    with pytest.raises(InputError, match="has 8 bits, but xnor multiplies inputs of 1 bit only"):
        widths(graph, load(XNOR))
