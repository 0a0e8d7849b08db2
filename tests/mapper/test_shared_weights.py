"""Models that arrive pruned or clustered stay as they are, from the model file to the integers that are mapped."""

import numpy as np
import pytest
import torch
from torch import nn

from dataflows import network as ints
from mapper.calibrate import observe
from mapper.cluster import cluster
from mapper.finetune import Pruner, Sharer
from mapper.float_reference import run
from mapper.graph import Conv, FloatGraph
from mapper.layer_specs import LayerSpec
from mapper.loading import import_model
from mapper.prune import PruneSpec, changed, prune
from mapper.quantize import quantize
from mapper.samples import dequantize_output, quantize_input, random_samples
from mapper.weights import quantize_weights
from sim import golden
from tests.mapper import models


def build(prepare, tmp_path, kind=torch.float32) -> tuple[nn.Module, FloatGraph]:
    """A network of a convolution, a flatten and two linear layers, prepared, exported and imported."""
    torch.manual_seed(4)
    layers = nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 40), nn.ReLU(), nn.Linear(40, 50)
    model = models.seeded(nn.Sequential(*layers)).to(kind)
    prepare(model)
    return model, import_model(models.save_export(model, tmp_path / "m", torch.randn(1, 2, 6, 6, dtype=kind)))


def quantized(graph: FloatGraph, bits: int) -> dict[str, ints.Conv]:
    network = quantize(graph, observe(graph, random_samples(graph, 4)), bits)
    return {layer.name: layer for layer in network.layers if isinstance(layer, ints.Conv)}


def pruned(model: nn.Module) -> None:
    Pruner(model, {"3": 0.1, "5": 0.3}).finish()


def shared(model: nn.Module) -> None:
    pruned(model)
    Sharer(model, {"0": 16, "3": 16, "5": 256}).finish()


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bits", [8, 16])
def test_clustered_models_keep_zeros_and_values(bits, kind, tmp_path):
    model, graph = build(shared, tmp_path, kind)
    conv, fc1, fc2 = quantized(graph, bits).values()
    for layer, module in ((conv, model[0]), (fc2, model[5])):
        weight = module.weight.detach().float().numpy().reshape(layer.weight.shape)
        check(layer, weight, bits)
    # The first linear layer reads a flattened map: its columns are in another order.
    weight = model[3].weight.detach().float().numpy().reshape(40, 6, 16).transpose(0, 2, 1).reshape(40, 96, 1, 1)
    check(fc1, weight, bits)


def check(layer: ints.Conv, weight: np.ndarray, bits: int) -> None:
    """One scale; equal weights are equal integers and others are not; zero is zero."""
    assert len(np.unique(layer.weight_scale)) == 1 and layer.weight_scale.shape == (len(weight),)
    values, codes = np.unique(weight, return_inverse=True)
    integers = np.unique(np.stack([codes.reshape(-1), layer.weight.reshape(-1).astype(np.int64)]), axis=1)
    assert integers.shape[1] == len(values)
    # Values that are closer than a step of 8 bits fall together; that happens with 256 of them only.
    assert len(np.unique(layer.weight)) == len(values) or (bits == 8 and len(values) > 100)
    assert np.abs(layer.weight.astype(int)).max() == 2 ** (bits - 1) - 1
    zeros = layer.weight == 0
    assert zeros[weight == 0].all()
    assert not zeros[np.abs(weight) > layer.weight_scale[0]].any()
    np.testing.assert_allclose(layer.weight * layer.weight_scale[0], weight, atol=layer.weight_scale[0] * 0.501)


@pytest.mark.parametrize("bits", [8, 16])
def test_pruned_models_keep_zeros_and_scales_per_channel(bits, tmp_path):
    model, graph = build(pruned, tmp_path)
    layers = quantized(graph, bits)
    last = list(layers.values())[-1]
    weight = model[5].weight.detach().numpy().reshape(last.weight.shape)
    assert not last.weight[weight == 0].any()
    assert np.count_nonzero(last.weight) >= 0.95 * np.count_nonzero(weight)
    assert len(np.unique(last.weight_scale)) == 50
    for layer in layers.values():
        rows = np.abs(layer.weight.reshape(len(layer.weight), -1).astype(int)).max(1)
        assert set(rows) <= {0, 2 ** (bits - 1) - 1}


def test_one_scale_costs_little(tmp_path):
    """The integer network of a clustered model is as close to it as that of any other."""
    _, graph = build(shared, tmp_path)
    samples = random_samples(graph, 8)
    network = quantize(graph, observe(graph, samples))
    values = golden.run(network, {name: quantize_input(network, name, samples[name]) for name in network.inputs})
    (name,) = network.outputs
    reference, found = run(graph, samples)[name], dequantize_output(network, name, values[name])
    assert 10 * np.log10((reference**2).sum() / ((reference - found) ** 2).sum()) > 25


def test_a_bias_beyond_the_scale_gets_its_own():
    """A channel whose bias needs a coarser scale gets one; the others share theirs."""
    source = ints.Tensor("x", (1, 1, 1, 8), 1.0, 0)
    weight = np.tile(np.array([0.5, -0.25, 0, 0.125], np.float32), (3, 2)).reshape(3, 8, 1, 1)
    weight[1] /= 2
    codes, scale, bias = quantize_weights("fc", weight, np.array([1.0, 2, 1e9], np.float32), source, 1e4, np.ones(3))
    assert scale[0] == scale[1] < scale[2]
    assert codes[0].ravel().tolist() == [127, -64, 0, 32] * 2 and codes[1].ravel().tolist() == [64, -32, 0, 16] * 2
    assert float(bias[2] * scale[2]) == pytest.approx(1e9, rel=1e-6)


class Normalized(nn.Module):
    """A linear layer and a 1x1 convolution, both with batch normalization behind."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(6, 20, 1, bias=False), nn.BatchNorm2d(20)
        self.fc, self.scale = nn.Linear(20 * 4, 30), nn.BatchNorm1d(30)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale(self.fc(torch.flatten(torch.relu(self.norm(self.conv(x))), 1)))


@pytest.mark.parametrize("bits", [8, 16])
def test_batch_normalization_keeps_values_shared(bits, tmp_path):
    """Its factors go into the scales per channel; one of them is negative, one zero."""
    torch.manual_seed(5)
    model = models.seeded(Normalized())
    Pruner(model, 0.3).finish()
    Sharer(model, 16).finish()
    with torch.no_grad():
        model.scale.weight.uniform_(0.2, 3)
        model.scale.running_var.uniform_(0.2, 3)
        model.scale.weight[3], model.scale.weight[4] = -0.7, 0
    graph = import_model(models.save_export(model, tmp_path / "m", torch.randn(2, 6, 2, 2)))
    conv, fc = quantized(graph, bits).values()
    allowed = (16,) if bits == 16 else (14, 15, 16)  # two values may be closer than a step of 8 bits
    assert len(np.unique(conv.weight)) in allowed and len(np.unique(conv.weight_scale)) == 20
    assert len(np.unique(fc.weight[np.arange(30) != 3])) in allowed and not fc.weight[4].any()
    floats = {node.name: node.weight for node in graph.nodes if isinstance(node, Conv)}
    floats["fc"] = floats["fc"].reshape(30, 20, 4).transpose(0, 2, 1).reshape(30, 80, 1, 1)
    for layer in (conv, fc):
        scale, weight = layer.weight_scale[:, None, None, None], floats[layer.name]
        assert (np.abs(layer.weight * scale - weight) <= scale * 0.501).all()
        assert not layer.weight[weight == 0].any()
    samples = random_samples(graph, 8)
    network = quantize(graph, observe(graph, samples), bits)
    found = golden.run(network, {name: quantize_input(network, name, samples[name]) for name in network.inputs})
    (name,) = network.outputs
    reference, result = run(graph, samples)[name], dequantize_output(network, name, found[name])
    assert 10 * np.log10((reference**2).sum() / ((reference - result) ** 2).sum()) > 25 + 4 * (bits - 8)


def test_folded_layers_can_be_pruned_and_clustered_further(tmp_path):
    model = models.seeded(Normalized())
    Sharer(model, 16).finish()
    graph = import_model(models.save_export(model, tmp_path / "m", torch.randn(2, 6, 2, 2)))
    assert not changed(graph, cluster(graph, LayerSpec(16)))
    pruned = prune(graph, PruneSpec(LayerSpec(0.25)))
    assert not changed(pruned, cluster(pruned, LayerSpec(16)))
    for layer in quantized(pruned, 8).values():
        assert len(np.unique(layer.weight)) <= 16
        assert np.count_nonzero(layer.weight) == round(0.25 * layer.weight.size)
    fewer = cluster(pruned, LayerSpec(8))
    assert changed(pruned, fewer) == {"conv", "fc"}
    for layer in quantized(fewer, 8).values():
        assert len(np.unique(layer.weight)) == 8
