"""Models that PyTorch's PT2E quantization made: scales and zero points are kept, results are the reference's."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.ao.quantization.fx import _decomposed  # registers torch.ops.quantized_decomposed
from torch.nn import functional

from dataflows import network as ints
from dataflows.errors import InputError
from mapper.calibrate import observe
from mapper.graph import FloatGraph
from mapper.loading import import_model
from mapper.quantize import quantize
from mapper.samples import quantize_input
from sim import golden
from tests.mapper.models import save_export

OPS = torch.ops.quantized_decomposed
INT8 = -128, 127, torch.int8
UINT8 = 0, 255, torch.uint8
assert _decomposed.quantized_decomposed_lib


def rounded(x: torch.Tensor, scale: float, zero: int, kind: Any = INT8) -> torch.Tensor:
    """To integers and back."""
    return OPS.dequantize_per_tensor(OPS.quantize_per_tensor(x, scale, zero, *kind), scale, zero, *kind)


class Quantized(nn.Module):
    """What ``convert_pt2e`` leaves: integers as buffers, a pair of nodes at every activation."""

    def __init__(self, power: bool, kind: Any = INT8) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.kind, self.power = kind, power
        for name, shape in {"a": (8, 3, 3, 3), "b": (8, 1, 3, 3), "c": (8, 8, 1, 1), "d": (10, 32)}.items():
            lowest = -128 if name == "c" else -127
            codes = torch.randint(lowest, 128, shape, generator=generator)
            codes.view(-1)[0] = lowest
            scale = 2.0 ** torch.randint(-12, -8, shape[:1], generator=generator)
            scale = scale if power else scale * (1 + torch.rand(shape[:1], generator=generator))
            bias = torch.randn(shape[:1], generator=generator) * 0.3
            self.register_buffer(name, codes.to(torch.int8))
            self.register_buffer(f"{name}_scale", scale)
            self.register_buffer(f"{name}_zero", torch.zeros(shape[:1], dtype=torch.int64))
            self.register_buffer(f"{name}_bias", torch.round(bias * 1024) / 1024 if power else bias)

    def weight(self, name: str) -> torch.Tensor:
        return OPS.dequantize_per_channel(
            getattr(self, name), getattr(self, f"{name}_scale"), getattr(self, f"{name}_zero"), 0, -128, 127, torch.int8
        )

    def step(self, scale: float) -> float:
        """A scale near a power of two: sums and means of others that are multiples of each other meet ties."""
        return scale if self.power else scale * (1 + scale * 997 % 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        low = self.kind[0]  # of ReLUs
        x = rounded(x, self.step(2.0**-5), low + 120, self.kind)
        x = functional.relu(functional.conv2d(x, self.weight("a"), self.a_bias, padding=1))
        x = rounded(x, self.step(2.0**-7), low, self.kind)
        x = rounded(functional.max_pool2d(x, 2), self.step(2.0**-7), low, self.kind)
        y = functional.conv2d(x, self.weight("b"), self.b_bias, padding=1, groups=8)
        y = rounded(y, self.step(2.0**-7), low + 130, self.kind)
        z = rounded(functional.conv2d(x, self.weight("c"), self.c_bias), self.step(2.0**-8), low + 99, self.kind)
        x = rounded(functional.relu(y + z), self.step(2.0**-7), low, self.kind)
        x = rounded(functional.avg_pool2d(x, 2), self.step(2.0**-8), low + 3, self.kind)
        x = functional.linear(x.flatten(1), self.weight("d"), self.d_bias)
        return rounded(x, self.step(2.0**-7), low + 120, self.kind)


def imported(model: nn.Module, tmp_path) -> FloatGraph:
    return import_model(save_export(model.eval(), tmp_path / "m", torch.randn(1, 3, 8, 8)))


def share(model: Quantized, tmp_path, rng: np.random.Generator) -> tuple[float, float]:
    """Share of output elements that are those of PyTorch, and the largest difference in steps."""
    graph = imported(model, tmp_path)
    (source,), (target,) = graph.inputs, graph.outputs
    data = (rng.standard_normal((200, 3, 8, 8)) * 1.5).astype(np.float32)
    network = quantize(graph, observe(graph, {source: data}))
    found = golden.run(network, {source: quantize_input(network, source, data)})[target]
    tensor = network.tensors[target]
    expected = np.rint(model(torch.from_numpy(data)).numpy() / tensor.scale) + tensor.zero
    assert expected.std() > 25
    difference = np.abs(found.reshape(expected.shape) - expected)
    return float((difference == 0).mean()), float(difference.max())


@pytest.mark.parametrize("kind", [INT8, UINT8], ids=["int8", "uint8"])
def test_powers_of_two_are_exact(kind, tmp_path, rng):
    assert share(Quantized(True, kind), tmp_path, rng) == (1.0, 0.0)


@pytest.mark.parametrize("kind", [INT8, UINT8], ids=["int8", "uint8"])
def test_other_scales_differ_by_rounding_only(kind, tmp_path, rng):
    """PyTorch adds biases as floats and rounds products to float32: now and then the next step."""
    equal, most = share(Quantized(False, kind), tmp_path, rng)
    assert equal > 0.99 and most <= 1


def test_scales_are_kept(tmp_path):
    model = Quantized(False)
    graph = imported(model, tmp_path)
    network = quantize(graph, observe(graph, {graph.inputs[0]: np.zeros((1, 3, 8, 8), np.float32)}))
    convs = [layer for layer in network.layers if isinstance(layer, ints.Conv)]
    for layer, name in zip(convs, "abcd", strict=True):
        np.testing.assert_array_equal(layer.weight_scale, getattr(model, f"{name}_scale"))
        codes = getattr(model, name).numpy()
        if name != "d":  # its columns are in the order of pixels, channels innermost
            np.testing.assert_array_equal(layer.weight.reshape(codes.shape), codes)
        assert layer.weight.min() == codes.min()
    scales = [(network.tensors[layer.output].scale, network.tensors[layer.output].zero) for layer in convs]
    wanted = [(2.0**-7, -128), (2.0**-7, 2), (2.0**-8, -29), (2.0**-7, -8)]
    assert scales == [(np.float32(model.step(scale)), zero) for scale, zero in wanted]


class Wrong(nn.Module):
    """One convolution behind something that cannot be read."""

    def __init__(self, before: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.before, self.conv = before, nn.Conv2d(3, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(self.before(x))


def other_scale(x: torch.Tensor) -> torch.Tensor:
    return OPS.dequantize_per_tensor(OPS.quantize_per_tensor(x, 0.1, 0, *INT8), 0.2, 0, *INT8)


def on_integers(x: torch.Tensor) -> torch.Tensor:
    codes = functional.relu(OPS.quantize_per_tensor(x, 0.1, 0, *INT8))
    return OPS.dequantize_per_tensor(codes, 0.1, 0, *INT8)


def dynamic(x: torch.Tensor) -> torch.Tensor:
    scale, zero = OPS.choose_qparams(x, -128, 127, 1e-6, torch.int8)
    codes = OPS.quantize_per_tensor(x, scale, zero, *INT8)
    return OPS.dequantize_per_tensor(codes, scale, zero, *INT8)


@pytest.mark.parametrize(
    ("before", "message"),
    [
        (other_scale, r"quantized with scale 0\.1 and dequantized with 0\.2"),
        (on_integers, "clamp between quantization and dequantization is not supported"),
        (dynamic, "dynamic quantization is not supported: scales have to be in the file"),
        (lambda x: rounded(x, 0.1, 0, (0, 1, torch.uint8)), r"fake quantization to 0\.\.1 .* 2 to 16 bits"),
    ],
)
def test_what_cannot_be_kept_is_refused(before, message, tmp_path):
    with pytest.raises(InputError, match=message):
        imported(Wrong(before), tmp_path)
