"""The user guide's example runs: a model from PyTorch's quantizer arrives with its scales."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from mapper.calibrate import observe
from mapper.graph import Conv
from mapper.loading import import_model
from mapper.quantize import quantize
from mapper.samples import quantize_input
from sim import golden

GUIDE = Path(__file__).parents[2] / "docs" / "quantization.md"


@pytest.mark.filterwarnings("ignore")  # of the quantizer and what it imports
def test_the_example(tmp_path, monkeypatch, rng):
    pytest.importorskip("torchao")
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    torch.manual_seed(0)
    exec(compile(code, str(GUIDE), "exec"), {"__name__": "guide"})
    program = torch.export.load(tmp_path / "model.pt2")
    graph = import_model(tmp_path / "model.pt2")
    (source,), (target,) = graph.inputs, graph.outputs
    data = rng.standard_normal((50, 3, 8, 8)).astype(np.float32)
    known = observe(graph, {source: data})
    network = quantize(graph, known)
    scales = {name: value.numpy() for name, value in program.state_dict.items() if "scale" in name}
    convs = [node for node in graph.nodes if isinstance(node, Conv)]
    for layer, node, wanted in zip(network.layers, convs, scales.values(), strict=True):
        assert node.steps is not None
        np.testing.assert_array_equal(layer.weight_scale, wanted)
    assert len({source, convs[0].output} & graph.quantized.keys()) == 2
    codes = golden.run(network, {source: quantize_input(network, source, data)})[target]
    tensor = network.tensors[target]
    expected = torch.cat([program.module()(torch.from_numpy(x)[None]) for x in data]).detach().numpy()
    wanted = np.clip(np.rint(expected / tensor.scale) + tensor.zero, -128, 127).transpose(0, 2, 3, 1)
    difference = np.abs(wanted - codes)
    assert difference.max() <= 1 and (difference == 0).mean() > 0.99
