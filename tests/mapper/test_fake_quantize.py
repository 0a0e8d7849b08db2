"""Models that arrive quantized: fake quantization and weights on few levels keep their bits and their scales."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from dataflows import network as ints
from dataflows.config import load
from dataflows.errors import InputError
from mapper.bit_widths import widths
from mapper.finetune_bits import Quantizer
from mapper.float_reference import run
from mapper.layer_specs import parse
from mapper.narrow_weights import on_grid, ternary, two_scales
from mapper.precision import request
from mapper.samples import dequantize_output, quantize_input
from sim import golden
from tests.mapper.models import seeded
from tests.mapper.test_bits import FIXED, FUSION, imported, quantized


class Trained(nn.Module):
    """4-bit weights per channel, 4-bit inputs after a maximum, 8-bit ones with scales in tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn, self.conv2 = nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.Conv2d(16, 8, 3)
        self.register_buffer("scale", torch.tensor(0.03))
        self.register_buffer("zero", torch.tensor(-5, dtype=torch.int32))
        for layer, name in ((self.conv1, "a"), (self.conv2, "b")):
            self.register_buffer(name, layer.weight.detach().abs().amax((1, 2, 3)) / 6)
            self.register_buffer(f"{name}0", torch.zeros(len(layer.weight), dtype=torch.int32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero, -128, 127)
        weight = torch.fake_quantize_per_channel_affine(self.conv1.weight, self.a, self.a0, 0, -7, 7)
        x = functional.relu(self.bn(functional.conv2d(x, weight, self.conv1.bias)))
        x = torch.fake_quantize_per_tensor_affine(functional.max_pool2d(x, 2), 0.11, 0, 0, 15)
        weight = torch.fake_quantize_per_channel_affine(self.conv2.weight, self.b, self.b0, 0, -7, 7)
        return functional.conv2d(x, weight, self.conv2.bias)


@pytest.mark.parametrize(("config", "widths_"), [(FUSION, ["8/4", "4/4"]), (FIXED, ["8/8", "8/8"])])
def test_models_keep_their_bits(config, widths_, tmp_path, rng):
    graph = imported(seeded(Trained()), tmp_path, (1, 3, 10, 10))
    found = widths(graph, load(config))
    assert [str(p) for p in found.layers.values()] == widths_
    samples = {graph.inputs[0]: rng.standard_normal((16, 3, 10, 10)).astype(np.float32)}
    network = quantized(graph, load(config), "", samples)
    first, pooled = (network.tensors[layer.inputs[0]] for layer in (network.layers[0], network.layers[2]))
    assert (first.scale, first.zero) == (np.float32(0.03), -5)
    assert (pooled.scale, pooled.zero) == (np.float32(0.11), -8)
    assert (network.layers[0].low, network.layers[0].high) == (-8, 7)
    values = golden.run(network, {name: quantize_input(network, name, samples[name]) for name in network.inputs})
    reference = run(graph, samples)
    # Levels of the 4-bit tensor: all but ties and what float32 decides are the float model's.
    close = dequantize_output(network, pooled.name, values[pooled.name]) - reference[pooled.name]
    assert (np.abs(close) < 1e-5).mean() > (0.995 if config == FUSION else 0.95)
    if config == FUSION:
        (name,) = graph.outputs
        noise = ((dequantize_output(network, name, values[name]) - reference[name]) ** 2).mean()
        assert noise < 0.001 * (reference[name] ** 2).mean()


def test_bits_asked_for_win(tmp_path):
    graph = imported(Trained(), tmp_path, (1, 3, 10, 10))
    found = widths(graph, load(FUSION), parse("conv_2=2/2", request))
    assert [str(p) for p in found.layers.values()] == ["8/4", "2/2"]


@pytest.mark.parametrize("quantize", [lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 0, 0, 1)])
def test_fake_quantization_of_one_bit_is_refused(quantize, tmp_path):
    class Model(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self[0](quantize(x))

    with pytest.raises(InputError, match=r"fake quantization to 0\.\.1 with zero point 0 .* 2 to 16 bits"):
        imported(Model(nn.Conv2d(3, 4, 1)), tmp_path, (1, 3, 4, 4))


@pytest.mark.parametrize("bits", ["2/3", "8/ttq", "3/binary"])
def test_fine_tuned_models_arrive_as_they_were_trained(bits, tmp_path, rng):
    torch.manual_seed(2)
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 12, 3))
    data = torch.randn(8, 3, 9, 9, generator=torch.Generator().manual_seed(1))
    quantizer = Quantizer(model, bits, {"0": "8/8"})
    quantizer.observe(data)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    before = model[3].weight.detach().clone()
    for _ in range(3):
        optimizer.zero_grad()
        model(data).square().mean().backward()
        optimizer.step()
    assert float(model[3].rounding.scale.grad.abs()) > 0 and not torch.equal(before, model[3].weight)
    quantizer.finish()
    graph = imported(model.eval(), tmp_path, (1, 3, 9, 9))
    levels = {"3/binary": "3/2"}
    precision = widths(graph, load(FUSION)).layers["3"]
    assert (bits == "8/ttq" and precision.w_bits <= 4) or str(precision) in (levels.get(bits), f"{bits}/{bits}", bits)
    samples = {graph.inputs[0]: data.numpy()}
    network = quantized(graph, load(FUSION), "", samples)
    values = golden.run(network, {name: quantize_input(network, name, samples[name]) for name in network.inputs})
    (name,) = graph.outputs
    reference = run(graph, samples)[name]
    noise = ((dequantize_output(network, name, values[name]) - reference) ** 2).mean()
    assert noise < 0.003 * (reference**2).mean()
    last = network.layers[-1]
    assert isinstance(last, ints.Conv)
    if bits == "8/ttq":
        assert all(len(np.unique(row)) <= 3 for row in last.weight)


def test_quantizer_refuses(tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 4, 1))
    with pytest.raises(InputError, match="bits must be bits"):
        Quantizer(model, "many")
    with pytest.raises(InputError, match="no linear or convolutional layer 'fc'; it has 0"):
        Quantizer(model, "4", {"fc": "8"})
    Quantizer(model, "4")
    with pytest.raises(InputError, match="layer 0: its weights are parametrized already"):
        Quantizer(model, "4")


def test_grids(rng):
    codes = rng.integers(-7, 8, (6, 40)).astype(float)
    codes[0], codes[1] = 0, 3
    scale = rng.uniform(0.01, 3, 6)
    steps = on_grid(codes * scale[:, None], 7)
    assert steps is not None
    np.testing.assert_allclose(steps, [0, 3 * scale[1], *scale[2:]], rtol=1e-12)
    assert on_grid(rng.standard_normal((6, 40)), 63) is None


def test_ternary_weights(rng):
    weight = rng.standard_normal((4, 500))
    codes, scale = ternary(weight)
    for row, code, step in zip(weight, codes, scale, strict=True):
        beyond = np.abs(row) > 0.7 * np.abs(row).mean()
        np.testing.assert_array_equal(code, np.sign(row) * beyond)
        assert step == pytest.approx(np.abs(row[beyond]).mean())


@pytest.mark.parametrize(("positive", "negative", "pair"), [(0.5, 0.7, (5, 7)), (0.3, 0.1, (3, 1)), (1, 1, (1, 1))])
def test_two_scales_keep_their_ratio(positive, negative, pair, rng):
    """A trained TTQ layer has its values exactly where their ratio is one of integers."""
    weight = rng.choice([positive, 0, -negative], (5, 60))
    codes, scale = two_scales(weight, 7)
    np.testing.assert_allclose(codes * scale, weight, atol=1e-12)
    assert codes.max() / -codes.min() == pytest.approx(pair[0] / pair[1])
