"""Values that a model rounds several times are rounded as often, and weights keep their scales."""

import numpy as np
import pytest
import torch
from torch import nn

from dataflows import network as ints
from mapper.calibrate import observe
from mapper.quantize import quantize
from mapper.samples import quantize_input
from sim import golden
from tests.mapper.models import seeded
from tests.mapper.test_bits import imported


class Twice(nn.Module):
    """Levels before and behind operators that keep them."""

    def __init__(self, between: nn.Module, second: float) -> None:
        super().__init__()
        self.conv, self.between, self.second = nn.Conv2d(3, 5, 3), between, second

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.fake_quantize_per_tensor_affine(x, 2.0**-5, 3, -128, 127)
        weight = torch.fake_quantize_per_tensor_affine(self.conv.weight, 2.0**-9, 0, -128, 127)
        x = torch.nn.functional.conv2d(x, weight)
        x = torch.fake_quantize_per_tensor_affine(x, 2.0**-5, 0, -128, 127)
        return torch.fake_quantize_per_tensor_affine(self.between(x), self.second, -7, -128, 127)


@pytest.mark.parametrize("between", [nn.ReLU(), nn.MaxPool2d(2), nn.Identity(), nn.Hardtanh(-0.3, 0.5)], ids=str)
@pytest.mark.parametrize("second", [2.0**-5, 2.0**-6, 3 * 2.0**-7])
def test_every_rounding_happens(between, second, tmp_path, rng):
    model = seeded(Twice(between, second))
    graph = imported(model, tmp_path, (2, 3, 8, 7))
    data = rng.standard_normal((2, 3, 8, 7)).astype(np.float32) * 4
    (source,), (target,) = graph.inputs, graph.outputs
    network = quantize(graph, observe(graph, {source: data}))
    (conv,) = (layer for layer in network.layers if isinstance(layer, ints.Conv))
    assert (conv.weight_scale == 2.0**-9).all()
    assert network.tensors[target].scale == second
    got = golden.run(network, {source: quantize_input(network, source, data)})[target].transpose(0, 3, 1, 2)
    expected = np.rint(model(torch.from_numpy(data)).detach().numpy().astype(np.float64) / second) - 7
    np.testing.assert_array_equal(got, expected)
    assert len(np.unique(got)) > 10
