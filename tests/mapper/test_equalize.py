"""Data-free quantization: equalized models compute the same, corrected biases take the mean error away."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from dataflows import network as ints
from mapper.calibrate import observe
from mapper.correct_bias import corrected_biases, with_biases
from mapper.equalize import equalize, pairs
from mapper.float_reference import run
from mapper.graph import Conv, FloatGraph
from mapper.loading import import_model
from mapper.quality import own_sqnr
from mapper.quantize import quantize, rounded_model
from mapper.samples import dequantize_output, quantize_input
from sim import golden
from tests.mapper.models import save_export, seeded


class Uneven(nn.Module):
    """A MobileNet-like net whose channels differ by factors of up to 1000, through all that a factor passes."""

    def __init__(self, ceiling: float = float("inf")) -> None:
        super().__init__()
        self.expand, self.norm = nn.Conv2d(3, 12, 1), nn.BatchNorm2d(12)
        self.depth, self.project = nn.Conv2d(12, 12, 3, groups=12), nn.Conv2d(12, 8, 1)
        self.grouped, self.last = nn.Conv2d(8, 12, 3, padding=1, groups=2), nn.Conv2d(12, 5, 1)
        self.ceiling = ceiling

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.activate(self.norm(self.expand(x)))
        x = self.activate(self.depth(functional.pad(x, (1, 0, 0, 1))))
        x = functional.avg_pool2d(functional.max_pool2d(self.project(x), 2), 2)
        return self.last(functional.relu(self.grouped(x)))

    def activate(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(x) if self.ceiling == float("inf") else functional.hardtanh(x, 0, self.ceiling)


def uneven(ceiling: float = float("inf")) -> nn.Module:
    model = seeded(Uneven(ceiling))
    generator = torch.Generator().manual_seed(5)
    for layer in (model.expand, model.depth, model.project, model.grouped):
        layer.weight.data *= 10 ** (3 * torch.rand((len(layer.weight), 1, 1, 1), generator=generator) - 1.5)
    model.depth.weight.data[4] = 0
    return model


def imported(model: nn.Module, tmp_path) -> FloatGraph:
    return import_model(save_export(model.eval(), tmp_path / "m", torch.randn(1, 3, 12, 12)))


def samples(graph: FloatGraph, rng: np.random.Generator, count: int = 16) -> dict[str, np.ndarray]:
    return {graph.inputs[0]: rng.standard_normal((count, 3, 12, 12)).astype(np.float32)}


def ranges(weight: np.ndarray, groups: int) -> tuple[list[float], list[float]]:
    """Largest magnitudes by output and by input channel, element by element."""
    out, channels, *_ = weight.shape
    rows, columns = [0.0] * out, [0.0] * (channels * groups)
    for o in range(out):
        for i in range(channels):
            largest = float(np.abs(weight[o, i]).max())
            column = o // (out // groups) * channels + i
            rows[o], columns[column] = max(rows[o], largest), max(columns[column], largest)
    return rows, columns


def test_the_function_stays(tmp_path, rng):
    graph = imported(uneven(), tmp_path)
    equal, found = equalize(graph)
    assert [(p.first, p.second) for p in found] == [
        ("expand", "depth"), ("depth", "project"), ("project", "grouped"), ("grouped", "last")
    ]  # fmt: skip
    data = samples(graph, rng)
    (name,) = graph.outputs
    before, after = run(graph, data)[name], run(equal, data)[name]
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5 * np.abs(before).max())


def test_ranges_are_equal(tmp_path):
    graph = imported(uneven(), tmp_path)
    equal, found = equalize(graph)
    layers = {node.name: node for node in equal.nodes if isinstance(node, Conv)}
    for pair in found:
        rows, _ = ranges(layers[pair.first].weight, layers[pair.first].groups)
        _, columns = ranges(layers[pair.second].weight, layers[pair.second].groups)
        alive = np.array(rows) * np.array(columns) > 0
        assert alive.sum() >= len(rows) - 1
        np.testing.assert_allclose(np.array(rows)[alive], np.array(columns)[alive], rtol=0.02)
        layer = layers[pair.first]
        factor = 1 if layer.unfolded is None else layer.unfolded.factor[:, None, None, None]
        np.testing.assert_allclose(layer.weight, layer.plain * factor, rtol=1e-5)


def test_ceilings_are_taken_away_only_if_asked_for(tmp_path, rng):
    graph = imported(uneven(6), tmp_path)
    assert [(p.first, p.second) for p in pairs(graph)] == [("project", "grouped"), ("grouped", "last")]
    equal, found = equalize(graph, unclamp=True)
    assert len(found) == 4 and all(node.high == np.inf for node in equal.nodes)
    data = samples(graph, rng)
    plain = imported(uneven(), tmp_path)
    (name,) = graph.outputs
    np.testing.assert_allclose(run(equal, data)[name], run(plain, data)[name], rtol=1e-4, atol=1e-2)


def test_what_others_read_or_the_model_fixes_is_left_alone(tmp_path):
    class Forked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c, self.d = (nn.Conv2d(3, 3, 1) for _ in range(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = functional.relu(self.a(x))
            x = self.b(x) + x
            x = torch.fake_quantize_per_tensor_affine(self.c(x), 0.1, 0, -128, 127)
            return self.d(x)

    assert not list(pairs(imported(Forked(), tmp_path)))


def test_equalization_saves_one_scale_for_all(tmp_path, rng):
    graph = imported(uneven(), tmp_path)
    found = {}
    for name, model in (("plain", graph), ("equal", equalize(graph)[0])):
        data = samples(graph, np.random.default_rng(3), 32)
        network = quantize(model, observe(model, data), one_scale=True)
        assert all(len(set(la.weight_scale.tolist())) == 1 for la in network.layers if isinstance(la, ints.Conv))
        (out,) = network.outputs
        got = golden.run(network, {n: quantize_input(network, n, v) for n, v in data.items()})[out]
        exact = run(graph, data)[out]
        noise = ((dequantize_output(network, out, got) - exact) ** 2).sum()
        found[name] = 10 * np.log10((exact**2).sum() / noise)
    assert found["equal"] > found["plain"] + 6


@pytest.mark.parametrize("one_scale", [False, True])
def test_correction_removes_the_mean_error(one_scale, tmp_path, rng):
    """Of the golden model's outputs, in steps."""
    graph = imported(uneven(), tmp_path)
    data = samples(graph, rng, 64)
    known = observe(graph, data)
    corrected = with_biases(graph, corrected_biases(rounded_model(graph, known, one_scale=one_scale), data))
    exact = run(graph, data)
    off = []
    for model in (graph, corrected):
        network = quantize(model, known, one_scale=one_scale)
        got = golden.run(network, {n: quantize_input(network, n, v) for n, v in data.items()})
        (name,) = network.outputs
        mean = (dequantize_output(network, name, got[name]) - exact[name]).mean((0, 2, 3))
        off.append(float(np.abs(mean).max()) / network.tensors[name].scale)
    assert off[0] > 0.5 and off[1] < 0.12


def test_correction_follows_its_definition(tmp_path, rng):
    """The first layer against the plain formula: mean of (rounded - exact weights) * inputs, inputs rounded too."""
    graph = imported(uneven(), tmp_path)
    data = samples(graph, rng, 8)
    model = rounded_model(graph, observe(graph, data), one_scale=True)
    first = graph.nodes[0]
    bias = corrected_biases(model, data)[first.name]
    tensor = model.network.tensors[graph.inputs[0]]
    (x,) = data.values()
    rounded = (np.clip(np.rint(x / np.float64(tensor.scale)) + tensor.zero, -128, 127) - tensor.zero) * tensor.scale
    expected = first.bias - np.einsum("oi,i->o", model.weights[first.name][:, :, 0, 0], rounded.mean((0, 2, 3)))
    expected += np.einsum("oi,i->o", first.weight[:, :, 0, 0], x.mean((0, 2, 3)))
    np.testing.assert_allclose(bias, expected, atol=2e-5 * np.abs(expected).max())


def test_own_noise_finds_the_bad_layer(tmp_path, rng):
    """The layer whose weights one scale does not fit stands out, though all behind it are as bad at their outputs."""
    model = seeded(nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(5))))
    graph = imported(model, tmp_path)
    data = samples(graph, rng, 20)
    known = observe(graph, data)
    good = own_sqnr(rounded_model(graph, known), data)
    assert min(good.values()) > 30
    bad = rounded_model(graph, known)
    names = [node.name for node in graph.nodes]
    weights = dict(bad.weights) | {names[2]: np.rint(bad.weights[names[2]] * 4) / 4}
    found = own_sqnr(replace(bad, weights=weights), data)
    assert {name for name in names if found[name] != good[name]} == {names[2]}
    network, before = bad.network, run(graph, data)
    rounded = dequantize_output(network, names[1], quantize_input(network, names[1], before[names[1]]))
    real = np.einsum("oi,nihw->nohw", weights[names[2]][:, :, 0, 0], rounded) + graph.nodes[2].bias[:, None, None]
    result = dequantize_output(network, names[2], quantize_input(network, names[2], real.astype(np.float32)))
    noise = ((result - before[names[2]]) ** 2).sum()
    assert found[names[2]] == pytest.approx(10 * np.log10((before[names[2]] ** 2).sum() / noise), abs=0.01)
