"""Models of mixed precision from file to program: every tensor that leaves the chip has the golden model's bits."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from mapper.bit_widths import widths
from mapper.calibrate import observe
from mapper.layer_specs import parse
from mapper.loading import import_model
from mapper.precision import request
from mapper.quantize import quantize
from mapper.samples import random_samples
from tests.mapper import models
from tests.mapper.packed_vector import configuration
from tests.mapper.test_packed_vector import check


class Fire(nn.Module):
    """SqueezeNet in small: squeezed channels, two branches joined, maxima and means with padding, odd channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 13, 3, stride=2)
        self.squeeze, self.left, self.right = nn.Conv2d(13, 5, 1), nn.Conv2d(5, 8, 1), nn.Conv2d(5, 11, 3, padding=1)
        self.mean, self.out = nn.AvgPool2d(3, 2, 1), nn.Conv2d(19, 6, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.max_pool2d(functional.relu(self.stem(x)), 3, 2, ceil_mode=True)
        x = functional.relu(self.squeeze(x))
        x = torch.cat([functional.relu(self.left(x)), functional.relu(self.right(x))], 1)
        x = functional.max_pool2d(x, 3, 1, 1) + x
        return self.out(self.mean(x)).mean((2, 3))


@pytest.mark.parametrize(
    ("model", "kind", "spec", "windows"),
    [
        (Fire, "fusion", "4/4,stem=8/8,right=3/2,out=2/8", True), (Fire, "serial", "3/5,squeeze=6/2,left=8/8", False),
        (models.Mobile, "fusion", "2/2,expand=8/4,grouped=4/8", False),
        (models.Mobile, "table", "5/3,depthwise=2/2", True), (models.Mobile, "ternary", "2/2", False),
    ],
)  # fmt: skip
def test_models_of_mixed_precision(model, kind, spec, windows, tmp_path):
    cfg = configuration(kind, operand_bytes=2048)
    if not windows:
        cfg = cfg.model_copy(update={"vector": None})
    path = models.save_export(models.seeded(model()), tmp_path / "m", torch.zeros(1, 3, 19, 16))
    graph = import_model(path)
    chosen = widths(graph, cfg, parse(spec, request))
    network = quantize(graph, observe(graph, random_samples(graph, 2, seed=1), histograms=True), chosen)
    assert len({tensor.bits for tensor in network.tensors.values()}) > 1
    for fuse in (True, False):
        check(network, cfg, 7, fuse=fuse)
