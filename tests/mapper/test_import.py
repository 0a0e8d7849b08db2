"""Imported graphs compute what the PyTorch model computes, from both kinds of files."""

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from mapper.float_reference import run
from mapper.graph import AvgPool, Conv, MaxPool, Node
from mapper.loading import import_model
from tests.mapper import models

NETWORKS = {
    "resnet": (models.resnet_tiny, [(2, 3, 16, 16)]),
    "lenet": (models.lenet, [(3, 1, 24, 20)]),
    "mobile": (models.mobile, [(1, 3, 15, 12)]),
    "branches": (models.branches, [(2, 2, 10, 11), (2, 3, 10, 11)]),
    "single": (lambda: models.seeded(nn.Sequential(nn.Linear(1, 1))), [(1, 1)]),
}


def save(model: nn.Module, path, examples, how: str):
    if how == "export":
        return models.save_export(model, path, *examples)
    return models.save_torchscript(model, path, *(examples if how == "trace" else ()))


def check(model: nn.Module, graph, examples) -> None:
    """Every output of the graph equals the model's."""
    with torch.no_grad():
        expected = model(*examples)
    expected = expected if isinstance(expected, tuple) else (expected,)
    results = run(graph, {name: e.numpy() for name, e in zip(graph.inputs, examples, strict=True)})
    assert len(graph.outputs) == len(expected)
    for name, value in zip(graph.outputs, expected, strict=True):
        assert graph.ranks[name] == value.ndim
        wanted = value.numpy().reshape(results[name].shape)
        np.testing.assert_allclose(results[name], wanted, rtol=1e-4, atol=1e-5)
        assert np.abs(wanted).max() > 1e-2, "the test data must reach the output"


# A scripted archive with several inputs does not say their shapes.
@pytest.mark.parametrize(
    "name, how", [(n, h) for n in NETWORKS for h in ("export", "trace", "script") if (n, h) != ("branches", "script")]
)
def test_networks(name, how, tmp_path):
    make, shapes = NETWORKS[name]
    torch.manual_seed(1)
    model, examples = make(), [torch.randn(shape) for shape in shapes]
    path = save(model, tmp_path / "model.bin", examples, how)
    graph = import_model(path, shapes[0] if how == "script" else None)
    check(model, graph, examples)
    names = [node.name for node in graph.nodes]
    assert len(set(names)) == len(names)
    assert all(node.output == node.name for node in graph.nodes)
    assert {"affine", "pad"}.isdisjoint(node.op for node in graph.nodes)


def test_layer_names_are_module_paths(tmp_path):
    example = torch.randn(1, 3, 8, 8)
    expected = {"conv1", "stages.0.0.conv1", "stages.1.0.shortcut.0", "stages.1.0.add", "avgpool", "fc"}
    for how in ("export", "trace", "script"):
        graph = import_model(save(models.resnet_tiny(), tmp_path / how, [example], how), (1, 3, 8, 8))
        assert expected <= {node.name for node in graph.nodes}, how
        assert "clamp" not in {node.op for node in graph.nodes}


class Wrap(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function
        self.scale = nn.Parameter(torch.tensor([2.0, -1.0, 0.5]))
        self.matrix = nn.Parameter(torch.linspace(-1, 1, 12).reshape(3, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(self, x)


MAPS = {
    "max_pool": lambda m, x: functional.max_pool2d(x, 3, 2, 1),
    "max_pool_ceil": lambda m, x: functional.max_pool2d(x, 2, 2, 0, ceil_mode=True),
    "max_pool_ceil_drops_window": lambda m, x: functional.max_pool2d(x, 2, 3, 1, ceil_mode=True),
    "max_pool_dilated": lambda m, x: functional.max_pool2d(x, 2, 1, 0, 2),
    "max_pool_then_relu": lambda m, x: functional.relu(functional.max_pool2d(x, 2)),
    "avg_pool": lambda m, x: functional.avg_pool2d(x, 3, 2, 1),
    "avg_pool_ceil": lambda m, x: functional.avg_pool2d(x, (3, 2), (2, 3), (1, 0), ceil_mode=True),
    "avg_pool_ceil_exclude": lambda m, x: functional.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
    "avg_pool_divisor": lambda m, x: functional.avg_pool2d(x, 2, divisor_override=3),
    "adaptive": lambda m, x: functional.adaptive_avg_pool2d(x, (1, 7)),
    "adaptive_overlapping": lambda m, x: functional.adaptive_avg_pool2d(x, (2, 2)),
    "adaptive_max": lambda m, x: functional.adaptive_max_pool2d(x, (9, 1)),
    "mean": lambda m, x: x.mean((2, 3)),
    "mean_keep": lambda m, x: x.mean([-1, -2], keepdim=True),
    "mean_rows": lambda m, x: x.mean(2, keepdim=True),
    "mean_squeezed": lambda m, x: x.mean((2, 3), keepdim=True).squeeze(-1).squeeze(-1),
    "clamp": lambda m, x: x.clamp(-0.5, 0.75),
    "clamp_min": lambda m, x: torch.clamp_min(x, 0.25),
    "two_clamps": lambda m, x: functional.relu6(x).clamp(0.5, 20.0),
    "add_self": lambda m, x: x + x,
    "in_place_ignored_result": lambda m, x: _relu_in_place(x + 1),
    "clone_protects": lambda m, x: _clone_then_relu(x + 1),
    "cat_self": lambda m, x: torch.cat([x, x, x], 1),
    "pad": lambda m, x: functional.pad(x, (1, 2, 0, 3)),
    "pad_then_relu": lambda m, x: functional.relu(functional.pad(x, (1, 1, 1, 1))),
    "pad_twice_then_mean": lambda m, x: functional.avg_pool2d(functional.pad(functional.pad(x, (1,) * 4), (0, 1)), 2),
    "pad_positive_then_max": lambda m, x: functional.max_pool2d(functional.pad(x.relu(), (1, 1, 1, 1)), 3, 2),
    "pad_negative_then_max": lambda m, x: functional.max_pool2d(functional.pad(x - 9, (1, 1, 1, 1)), 3, 2),
    "scalars": lambda m, x: (3 - x * 2) / 4 + 0.5,
    "per_channel": lambda m, x: (x - m.scale[:, None, None]) / m.scale.reshape(1, 3, 1, 1),
    "flatten": lambda m, x: x.flatten(1),
    "view": lambda m, x: x.view(x.size(0), -1).relu(),
    "flatten_cat": lambda m, x: torch.cat([x.flatten(1), x.mean((2, 3))], 1),
    "flatten_add": lambda m, x: x.flatten(1) + x.relu().flatten(1),
    "flatten_single_row": lambda m, x: x.mean((2, 3), keepdim=True).flatten(1),
    "matmul": lambda m, x: x.mean((2, 3)) @ m.matrix,
    "addmm": lambda m, x: torch.addmm(m.matrix[0], x.mean((2, 3)), m.matrix),
    "vector_as_map": lambda m, x: functional.conv2d(x.mean((2, 3))[:, :, None, None], m.matrix.t()[:, :, None, None]),
    "input_is_output": lambda m, x: x,
    "dropout": lambda m, x: functional.dropout(x, 0.5, m.training).detach().contiguous(),
}


def _relu_in_place(x: torch.Tensor) -> torch.Tensor:
    torch.relu_(x)
    return x * 2


def _clone_then_relu(x: torch.Tensor) -> torch.Tensor:
    y = x.clone()
    torch.relu_(y)
    return x + y


@pytest.mark.parametrize("how", ["export", "trace"])
@pytest.mark.parametrize("name", MAPS)
def test_operators(name, how, tmp_path):
    torch.manual_seed(2)
    model, example = Wrap(MAPS[name]).eval(), torch.randn(2, 3, 9, 7)
    check(model, import_model(save(model, tmp_path / "m", [example], how)), [example])


@pytest.mark.filterwarnings("ignore::FutureWarning")  # PyTorch's own, in run_decompositions
def test_decomposed_export(tmp_path):
    """An export after ``run_decompositions`` has other operators for the same things."""
    example = torch.randn(2, 1, 24, 20)
    program = torch.export.export(models.lenet(), (example,)).run_decompositions()
    torch.export.save(program, tmp_path / "m.pt2")
    check(models.lenet(), import_model(tmp_path / "m.pt2"), [example])
    example = torch.randn(2, 3, 8, 8)
    program = torch.export.export(models.resnet_tiny(), (example,)).run_decompositions()
    torch.export.save(program, tmp_path / "r.pt2")
    check(models.resnet_tiny(), import_model(tmp_path / "r.pt2"), [example])


def test_dynamic_batch_with_shape(tmp_path):
    shapes = {"x": {0: torch.export.Dim("batch", min=2, max=64)}}
    path = models.save_export(models.lenet(), tmp_path / "m", torch.randn(4, 1, 24, 20), dynamic_shapes=shapes)
    check(models.lenet(), import_model(path, (3, 1, 24, 20)), [torch.randn(3, 1, 24, 20)])


def test_half_precision(tmp_path):
    model = models.seeded(nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU()))
    path = models.save_export(model.half(), tmp_path / "m", torch.randn(1, 2, 5, 5).half())
    check(model.float(), import_model(path), [torch.randn(1, 2, 5, 5)])


def test_frozen_torchscript(tmp_path):
    """Frozen archives hold their weights as constants of the code, with batch norm folded by PyTorch."""
    example = torch.randn(2, 3, 8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.jit.freeze(torch.jit.script(models.resnet_tiny()))
        torch.jit.save(module, tmp_path / "m")
    check(models.resnet_tiny(), import_model(tmp_path / "m", (2, 3, 8, 8)), [example])


@pytest.mark.parametrize("how", ["export", "trace", "script"])
def test_vectors(how, tmp_path):
    """A network without maps, with the batch norm of vectors."""
    model = models.seeded(
        nn.Sequential(nn.Linear(7, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.BatchNorm1d(5), nn.Linear(5, 3))
    )
    for index in (1, 3):
        model[index].running_mean.uniform_(-1, 1)
        model[index].running_var.uniform_(0.5, 2)
    graph = import_model(save(model, tmp_path / "m", [torch.randn(4, 7)], how), (4, 7) if how == "script" else None)
    check(model, graph, [torch.randn(4, 7)])
    assert [node.op for node in graph.nodes] == ["conv"] * 3


def test_folding(tmp_path):
    """Batch norm, activation and padding leave no node behind."""
    path = models.save_export(models.mobile(), tmp_path / "m", torch.randn(1, 3, 15, 12))
    nodes: dict[str, Node] = {node.name: node for node in import_model(path).nodes}
    assert [node.op for node in nodes.values()] == ["conv"] * 4 + ["add", "conv", "avg_pool"]
    stem = nodes["stem"]
    assert isinstance(stem, Conv)
    assert stem.window.padding == (0, 0, 1, 1)
    assert (stem.low, stem.high) == (0.0, 6.0)
    assert nodes["depthwise"].groups == 24
    assert nodes["depthwise"].window.padding == (1, 1, 1, 1)
    assert (nodes["grouped"].low, nodes["grouped"].high) == (-1.0, 1.0)


def test_lone_batch_norm_is_depthwise(tmp_path):
    path = models.save_export(models.branches(), tmp_path / "m", torch.randn(1, 2, 9, 9), torch.randn(1, 3, 9, 9))
    graph = import_model(path)
    nodes = {node.name: node for node in graph.nodes}
    assert isinstance(nodes["pool"], MaxPool)
    assert isinstance(nodes["bn"], Conv)
    assert nodes["bn"].groups == 9
    assert isinstance(nodes["mean"], AvgPool)
    assert len(graph.inputs) == 2
    assert len(graph.outputs) == 2


def test_resnet18_sizes(tmp_path):
    path = models.save_export(models.resnet18_cifar(), tmp_path / "m", torch.randn(1, 3, 32, 32))
    graph = import_model(path)
    assert graph.macs() == 555_422_720
    assert sum(isinstance(node, Conv) for node in graph.nodes) == 21
    values = run(graph, {graph.inputs[0]: np.random.default_rng(0).standard_normal((2, 3, 32, 32), np.float32)})
    for node in graph.nodes:
        assert 0.05 < values[node.output].std() < 50, node.name
