"""Helpers for fine-tuning: masks and centroids hold while a model trains, and the exported weights are plain."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from dataflows.errors import InputError
from mapper.finetune import Pruner, Sharer
from mapper.graph import Conv
from mapper.loading import import_model
from tests.mapper import models


def problem() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A small model, inputs, and labels that it can learn."""
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(96, 24), nn.ReLU(), nn.Linear(24, 4)
    x = torch.randn(120, 1, 4, 4)
    labels = (x[:, 0, :2].sum((1, 2)) > 0).long() + 2 * (x[:, 0, 2:].sum((1, 2)) > 0).long()
    return nn.Sequential(*layers), x, labels


def train(model: nn.Module, x: torch.Tensor, labels: torch.Tensor, steps: int = 40) -> tuple[float, float]:
    """Loss before and after; momentum and weight decay are what would move pruned weights."""
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=1e-2)
    losses = []
    for _ in range(steps):
        loss = functional.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses[0], losses[-1]


def weights(model: nn.Module) -> dict[str, np.ndarray]:
    kinds = nn.Conv2d | nn.Linear
    return {name: m.weight.detach().numpy().copy() for name, m in model.named_modules() if isinstance(m, kinds)}


def test_prune_share_export(tmp_path):
    """The whole way, as the documentation shows it."""
    model, x, labels = problem()
    train(model, x, labels)
    pruner = Pruner(model, {"3": 0.1, "5": 0.25})
    zeros = {name: weight == 0 for name, weight in weights(model).items()}
    before, after = train(model, x, labels)
    assert after < before
    assert pruner.densities == pytest.approx({"3": 230 / 2304, "5": 0.25})
    pruner.finish()
    for name, weight in weights(model).items():
        np.testing.assert_array_equal(weight == 0, zeros[name])
    assert not zeros["0"].any()

    sharer = Sharer(model, 8)
    codes = {name: np.unique(weight, return_inverse=True)[1] for name, weight in weights(model).items()}
    before, after = train(model, x, labels, 20)
    assert after < before
    assert sharer.values == {"0": 7, "3": 8, "5": 8}
    sharer.finish()
    kept = weights(model)
    for name, weight in kept.items():
        np.testing.assert_array_equal(weight == 0, zeros[name])
        np.testing.assert_array_equal(  # weights that shared a value still do
            len(np.unique(np.stack([codes[name].reshape(-1), weight.reshape(-1)]), axis=1).T), len(np.unique(weight))
        )

    assert all(type(module) in (nn.Conv2d, nn.Linear, nn.ReLU, nn.Flatten) for module in model)
    assert all(isinstance(parameter, nn.Parameter) for parameter in model.parameters())
    graph = import_model(models.save_export(model, tmp_path / "m", x[:1]))
    assert len(graph.nodes) == 4
    for node, weight in zip((n for n in graph.nodes if isinstance(n, Conv)), kept.values(), strict=True):
        np.testing.assert_array_equal(node.weight.reshape(weight.shape), weight)


def test_gradient_of_a_centroid_is_the_sum_over_its_weights():
    torch.manual_seed(1)
    layer = nn.Linear(20, 10)
    Pruner(layer, {"": 0.5}).finish()
    Sharer(layer, {"": 5})
    x, seed = torch.randn(7, 20), torch.randn(7, 10)
    weight = layer.weight
    layer(x).backward(seed)
    dense = (seed.T @ x).detach()
    values = torch.unique(weight.detach())
    wanted = [dense[weight.detach() == value].sum() for value in values if value != 0]
    found = layer.parametrizations.weight.original
    np.testing.assert_allclose(found.grad, torch.stack(wanted), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.detach(), values[values != 0])


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision(kind):
    """Types keep, zeros and numbers of values hold."""
    torch.manual_seed(2)
    layer = nn.Linear(64, 32).to(kind)
    Pruner(layer, 0.2).finish()
    assert int((layer.weight != 0).sum()) == round(0.2 * 2048)
    zeros = layer.weight == 0
    Sharer(layer, 16)
    layer(torch.randn(3, 64, dtype=kind)).sum().backward()
    assert layer.parametrizations.weight.original.grad.dtype == kind
    assert layer.weight.dtype == kind and len(torch.unique(layer.weight)) == 16
    assert torch.equal(layer.weight == 0, zeros)


def test_assigned_weights_take_their_centroids():
    """Loading weights into a shared layer averages them by code."""
    layer = nn.Linear(6, 4)
    Sharer(layer, 4)
    before = layer.weight.detach().clone()
    with torch.no_grad():
        layer.weight = 2 * before
    torch.testing.assert_close(layer.weight, 2 * before)


@pytest.mark.parametrize("density", [0, -0.1, 1.5, float("nan")])
def test_densities_out_of_range(density):
    with pytest.raises(InputError, match=r"layer 0: the density must be above 0 and at most 1, not"):
        Pruner(problem()[0], density)


@pytest.mark.parametrize("clusters", [0, 1, 257])
def test_clusters_out_of_range(clusters):
    with pytest.raises(InputError, match=rf"layer 5: clusters must be 2 to 256, zero among them, not {clusters}"):
        Sharer(problem()[0], {"5": clusters})


def test_bad_layers():
    model = problem()[0]
    with pytest.raises(InputError, match=r"no linear or convolutional layer 'fc'; it has 0, 3, 5"):
        Pruner(model, {"fc": 0.5})
    Pruner(model, {"3": 0.5})
    with pytest.raises(InputError, match=r"layer 3: its weights are parametrized already; finish\(\) that first"):
        Sharer(model, 16)
    model[5].weight.data[1, :3] = torch.tensor([float("nan"), float("inf"), -float("inf")])
    with pytest.raises(InputError, match=r"layer 5: 3 of 96 weights are NaN or infinite"):
        Sharer(model, {"5": 16})
    assert not hasattr(model[5], "parametrizations")


def test_the_whole_density_keeps_everything():
    layer = nn.Linear(5, 3)
    before = layer.weight.detach().clone()
    Pruner(layer, 1).finish()
    assert torch.equal(layer.weight, before)
