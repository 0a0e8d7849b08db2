"""Classifier layers over the plane on the RTL: right sums in the predicted cycles."""

from pathlib import Path

import pytest

from mapper.classifier_plan import ClassifierPlan
from mapper.compile import compile_network
from mapper.conv_plan import Options
from mapper.run import execute
from mapper.timing import predict
from sim.runner import Dram
from tests.mapper.test_classifier_plan import linear
from tests.mapper.test_programs import small
from tests.random_layers import random_input


@pytest.mark.parametrize(("images", "inputs", "outputs"), [(1, 70, 150), (2, 33, 17), (1, 300, 16), (3, 5, 1)])
def test_linear_layers(images, inputs, outputs):
    cfg = small("output_stationary_plane", 4, 3).model_copy(update={"name": "plane4x3"})
    dram = Dram(20, cfg.bus_bytes)
    network, _ = linear(images, inputs, outputs)
    program = compile_network(cfg, network, Options(dram.latency, cfg.bus_bytes))
    assert isinstance(program.schedule[0].plan, ClassifierPlan)
    run = execute(program, {"x": random_input(network, 1)}, dram=dram, build_root=Path("build/test/rtl"), seed=1)
    assert not run.mismatches
    assert run.cycles == predict(program, dram.latency, cfg.bus_bytes).cycles
