"""Classifier layers on the array over the output plane: output channels in the PEs."""

import numpy as np
import pytest

from dataflows import config
from dataflows.network import Conv, Network, Tensor, Window
from mapper.array_plan import plane_or_classifier
from mapper.classifier_plan import ClassifierPlan
from mapper.conv_plan import Options
from mapper.plane_plan import PlanePlan
from tests.mapper.test_programs import check, small
from tests.random_layers import convolution


def linear(images: int, inputs: int, outputs: int, seed: int = 0) -> tuple[Network, Conv]:
    """A network of one linear layer."""
    source = Tensor("x", (images, 1, 1, inputs), 0.1, -5)
    layer, target = convolution(np.random.default_rng(seed), "fc", source, outputs, 1, Window())
    return Network("fc", {"x": source, target.name: target}, (layer,), ("x",), (target.name,)), layer


def plan_of(cfg: config.Config, network: Network, layer: Conv):
    tensors = network.tensors
    return plane_or_classifier(cfg, layer, tensors["x"], tensors[layer.output], Options())


@pytest.mark.parametrize("lean", [False, True], ids=["ample", "little"])
@pytest.mark.parametrize(("rows", "cols"), [(1, 4), (4, 4), (3, 4), (4, 3), (6, 4), (5, 1)])
@pytest.mark.parametrize("outputs", [1, 15, 16, 17, 150])
def test_programs(rows, cols, outputs, lean):
    """Any number of channels: less than a block, blocks that fill their sums or not, several banks."""
    network, layer = linear(2, 70, outputs, outputs)
    cfg = small("output_stationary_plane", rows, cols, lean=lean)
    if outputs >= 15 and not lean:
        assert isinstance(plan_of(cfg, network, layer), ClassifierPlan)
    check(network, cfg, outputs)


def test_every_channel_has_one_place():
    network, layer = linear(1, 20, 61)
    found = plan_of(small("output_stationary_plane", 3, 4), network, layer)
    assert isinstance(found, ClassifierPlan)
    places = found.channels
    assert sorted(places[places < 61]) == list(range(61))
    words = places.reshape(-1, 4)[:4]  # the first block: turned, its words hold neighbouring channels
    assert words.T.tolist() == np.arange(16).reshape(4, 4).tolist()


def test_few_pixels_take_the_memorys_time_many_the_arrays():
    """AlexNet's layer of 9216 x 4096: 64 channels a step, as fast as 16 bytes a cycle bring their weights."""
    cfg = config.load("configs/shidiannao.toml")
    found = plan_of(cfg, *linear(1, 9216, 4096))
    assert isinstance(found, ClassifierPlan)
    assert found.steps == 9216 * 4096 / 64
    assert found.cycles == pytest.approx(9216 * 4096 * 2 / 16, rel=0.01)
    assert isinstance(plan_of(cfg, *linear(64, 512, 512)), PlanePlan)
