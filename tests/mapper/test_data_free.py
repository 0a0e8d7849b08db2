"""Bias correction without data: means of clipped normals, expected values of tensors, errors of biases."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn import functional

from dataflows.config import load
from dataflows.errors import InputError
from mapper.bit_widths import widths
from mapper.calibrate import observe
from mapper.cli import main
from mapper.cluster import cluster
from mapper.correct_bias import biases_by, corrected, expected_biases
from mapper.equalize import equalize
from mapper.expected_values import expected_values
from mapper.float_reference import run
from mapper.graph import Conv, FloatGraph
from mapper.layer_specs import LayerSpec
from mapper.layer_specs import parse as parse_specs
from mapper.loading import import_model
from mapper.normals import Normal
from mapper.options import parse
from mapper.precision import request
from mapper.prune import PruneSpec, prune
from mapper.quantize import rounded_model
from mapper.samples import dequantize_output, quantize_input
from sim import golden
from tests.mapper.models import save_export, seeded

BOUNDS = [(-np.inf, np.inf), (0.0, np.inf), (0.0, 6.0), (-1.0, 1.0), (-np.inf, 2.0), (3.0, 3.0)]


@pytest.mark.parametrize(("low", "high"), BOUNDS)
def test_means_of_clipped_normals(low, high, rng):
    """Against drawn values, and against the integral of the density."""
    mean = np.concatenate([rng.uniform(-8, 8, 12), [0, -40, 40]])
    normal = Normal(mean, np.concatenate([rng.uniform(0.01, 5, 12), [1e-9, 0.5, 0.5]]))
    found = normal.clipped_mean(low, high)
    drawn = np.clip(mean + normal.deviation * rng.standard_normal((100_000, len(mean))), low, high)
    assert (np.abs(found - drawn.mean(0)) <= 5 * drawn.std(0) / np.sqrt(len(drawn)) + 1e-9).all()
    z = np.linspace(-12, 12, 40_001)[:, None]
    exact = np.trapezoid(np.clip(mean + normal.deviation * z, low, high) * stats.norm.pdf(z), z, axis=0)
    np.testing.assert_allclose(found, exact, atol=1e-6)


def test_channels_that_are_constant():
    normal = Normal(np.array([-1.0, 0.5, 9.0]), np.zeros(3))
    np.testing.assert_array_equal(normal.clipped_mean(0, 6), [0, 0.5, 6])
    np.testing.assert_array_equal(normal.clipped_mean(-np.inf, np.inf), normal.mean)


class Normed(nn.Module):
    """Convolutions behind batch normalizations: clipped, padded, added, joined, pooled, flattened."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.depth = nn.Conv2d(3, 16, 1, bias=False), nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False)
        self.project, self.again = nn.Conv2d(16, 8, 1), nn.Conv2d(16, 8, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for channels in (16, 16, 8, 8))
        self.wide, self.last = nn.Conv2d(8, 12, 3, padding=(1, 0)), nn.Linear(6 * 3 * 10, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.norms[0](self.stem(x)))
        x = functional.relu6(self.norms[1](self.depth(x)))
        return self.behind(functional.relu(self.norms[2](self.project(x)) + self.norms[3](self.again(x))))

    def behind(self, x: torch.Tensor) -> torch.Tensor:
        """The linear rest."""
        y = functional.avg_pool2d(self.wide(x), (4, 1))
        return self.last(torch.cat([y[:, :4], y[:, 6:8]], 1).flatten(1))


def drawn(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, 12, 12, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    """With the statistics of normally distributed images, as a trained model has those of its data."""
    model, images = seeded(Normed()), drawn(200, 1)
    for module in model.norms:
        module.momentum = 1.0
    model.train()
    with torch.no_grad():
        model(images)
    return model.eval()


@pytest.fixture(scope="module")
def graph(model, tmp_path_factory) -> FloatGraph:
    return import_model(save_export(model, tmp_path_factory.mktemp("model") / "m.pt2", drawn(1)))


def layer(graph: FloatGraph, name: str) -> Conv:
    (found,) = (node for node in graph.nodes if node.name == name)
    assert isinstance(found, Conv)
    return found


def test_expected_values_are_those_of_samples(model, graph):
    """Exactly, where values are normally distributed; else nearly, which is what there is without data."""
    means, values = expected_values(graph), run(graph, {graph.inputs[0]: drawn(400).numpy()})
    assert set(means) == {node.output for node in graph.nodes}
    for name, most in {"stem": 0.02, "depth": 0.15, "project": 0.03, "again": 0.03, "add": 0.15}.items():
        exact, spread = values[name].mean((0, 2, 3)), values[name].std((0, 2, 3)).max()
        assert np.abs(means[name].numpy().mean((0, 2, 3)) - exact).max() < most * spread, name
    with torch.no_grad():
        rest = model.behind(means["add"])
    np.testing.assert_allclose(means["last"].reshape(1, -1).numpy(), rest.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer(graph, "stem").normal.mean, model.norms[0].bias.detach(), rtol=1e-6)
    np.testing.assert_allclose(layer(graph, "stem").normal.deviation, model.norms[0].weight.detach(), rtol=1e-3)


def test_expected_values_of_equalized_layers(graph):
    """Equalization scales them along."""
    equal, found = equalize(graph)
    assert ("stem", "depth") in {(pair.first, pair.second) for pair in found}
    old, new = layer(graph, "stem"), layer(equal, "stem")
    factor = np.abs(old.weight).max((1, 2, 3)) / np.abs(new.weight).max((1, 2, 3))
    assert factor.max() > 1.1
    before, after = ({name: mean.numpy() for name, mean in expected_values(g).items()} for g in (graph, equal))
    np.testing.assert_allclose(after["stem"] * factor[:, None, None], before["stem"], rtol=1e-4)
    np.testing.assert_allclose(after["depth"], before["depth"], rtol=1e-4)


def test_corrections_follow_their_definition(graph):
    """Errors of weights times expected inputs, with padding as often as it is seen."""
    data = {graph.inputs[0]: drawn(16).numpy()}
    model = rounded_model(graph, observe(graph, data), one_scale=True)
    biases, means = expected_biases(model), expected_values(graph)
    assert set(biases) == {node.name for node in graph.nodes if isinstance(node, Conv)} - {"stem"}
    seen = np.array([11, 12, 11]) / 12  # rows and columns of 12 outputs that a tap has
    for name, taps in (("depth", np.outer(seen, seen)), ("project", np.ones((1, 1)))):
        node = layer(graph, name)
        errors = ((model.weights[name].astype(float) - node.weight) * taps).sum((2, 3))
        inputs = means[node.inputs[0]][0, :, 0, 0].numpy()
        expected = node.bias - (errors[:, 0] * inputs if node.groups > 1 else errors @ inputs)
        np.testing.assert_allclose(biases[name], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("one_scale", [False, True])
def test_correction_brings_means_closer(one_scale, graph):
    """Of the golden model's outputs on other data, in shares of the error without; weights have 4 bits."""
    data, others = ({graph.inputs[0]: drawn(count, seed).numpy()} for count, seed in ((32, 2), (200, 3)))
    known, exact = observe(graph, data), run(graph, others)
    wide = widths(graph, load("configs/ws16_fusion.toml"), parse_specs("8/4", request))
    rounded, off = rounded_model(graph, known, wide, one_scale), []
    for found in (rounded, corrected(rounded, expected_biases(rounded), known, wide, one_scale)):
        network, (name,) = found.network, found.network.outputs
        codes = golden.run(network, {n: quantize_input(network, n, v) for n, v in others.items()})
        off.append(np.abs((dequantize_output(network, name, codes[name]) - exact[name]).mean((0, 2, 3))).max())
    assert off[1] < 0.6 * off[0]


def test_what_is_not_known_is_left_alone_and_told(graph):
    data = {graph.inputs[0]: drawn(4).numpy()}
    found, note = biases_by("data-free", rounded_model(graph, observe(graph, data)), data)
    assert len(found) == 5 and note == (
        "biases of 5 layers are corrected without data; "
        "those of 1, of whose input nothing is known without data, are not"
    )
    pruned = prune(graph, PruneSpec(channels=LayerSpec(layers={"stem": 0.5})))
    shared = cluster(graph, LayerSpec(layers={"stem": 4}))
    for changed in (pruned, shared):
        assert "stem" not in expected_values(changed) and "depth" in expected_values(changed)
    nodes = [replace(node, normal=None) if isinstance(node, Conv) else node for node in graph.nodes]
    plain = rounded_model(replace(graph, nodes=tuple(nodes)), observe(graph, data))
    with pytest.raises(InputError, match="none of the model's 6 layers with biases has a batch normalization before"):
        biases_by("data-free", plain, data)


def test_signs_and_maxima_say_nothing(tmp_path):
    class Signs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c, self.d = (nn.Conv2d(3, 3, 1) for _ in range(4))
            self.norms = nn.ModuleList(nn.BatchNorm2d(3) for _ in range(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = functional.max_pool2d(functional.relu(self.norms[0](self.a(x))), 2)
            x = torch.sign(self.norms[1](self.b(x)))
            return self.d(functional.relu(self.c(x)))

    graph = import_model(save_export(seeded(Signs()), tmp_path / "m.pt2", drawn(1)))
    assert set(expected_values(graph)) == {"a"}


def test_batch_normalizations_alone_and_scaled(tmp_path):
    """One that stands before its layer, read twice; arithmetic behind one moves what it says."""

    class Early(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (nn.Conv2d(3, 3, 1) for _ in range(3))
            self.norms = nn.ModuleList(nn.BatchNorm2d(3) for _ in range(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.norms[0](functional.relu(self.a(x)))
            return self.b(functional.relu(x)) + 0 * x + (self.norms[1](self.c(x)) * -2 + 1)

    model = seeded(Early())
    graph = import_model(save_export(model, tmp_path / "m.pt2", drawn(1)))
    laws = [node.normal for node in graph.nodes if isinstance(node, Conv) and node.normal]
    offsets = [norm.bias.detach().double().numpy() for norm in model.norms]
    assert any(np.allclose(law.mean, offsets[0]) for law in laws)
    assert any(np.allclose(law.mean, offsets[1] * -2 + 1) and (law.deviation > 0).all() for law in laws)
    relu = next(node for node in graph.nodes if node.op == "clamp")
    assert (expected_values(graph)[relu.output] > 0).all()


def test_options(model, graph, tmp_path, capsys):
    path, samples = save_export(model, tmp_path / "m.pt2", drawn(1)), tmp_path / "c.npz"
    np.savez(samples, x=drawn(2).numpy())
    given = "--calibration", str(samples)
    for words, expected in (
        ((), None), (("--correct-bias",), "data-free"), (("--correct-bias", *given), "samples"),
        (("--correct-bias", "data-free", *given), "data-free"), (("--correct-bias", "samples"), "samples"),
    ):  # fmt: skip
        rounding = parse([str(path), *words]).rounding
        assert rounding.correct_bias == expected
        assert rounding.words == (["--correct-bias", expected] if expected else [])
    assert main(["--correct-bias", str(path)]) == 2
    assert "is neither samples nor data-free; a model's file stands before it" in capsys.readouterr().err
    plain = save_export(seeded(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1))), tmp_path / "p.pt2", drawn(1))
    assert main([str(plain), "--out", str(tmp_path / "out"), "--correct-bias", "data-free", *given]) == 2
    assert "none of the model's 2 layers with biases has a batch normalization before it" in capsys.readouterr().err
