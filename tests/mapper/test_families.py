"""Networks of every family are imported, and their integers follow the float model."""

import numpy as np
import pytest
import torch

from mapper import float_reference
from mapper.calibrate import observe
from mapper.loading import import_model
from mapper.quality import all_sqnr
from mapper.quantize import quantize
from mapper.samples import quantize_input
from sim import golden
from tests.mapper import families
from tests.mapper.models import save_export, save_torchscript


def imported(name, path):
    """Model, graph and samples of a family."""
    model, examples = families.make(name)
    save_export(model, path, *examples)
    return model, import_model(path), examples


@pytest.mark.filterwarnings("ignore:The tensor attribute")  # of recurrent layers, by the export
@pytest.mark.parametrize("name", families.FAMILIES)
def test_family(name, tmp_path):
    model, graph, examples = imported(name, tmp_path / "model.pt2")
    with torch.no_grad():
        expected = model(*examples)
    expected = expected if isinstance(expected, tuple) else (expected,)
    samples = {name: graph.held(name, e.numpy()) for name, e in zip(graph.inputs, examples, strict=True)}
    reference = float_reference.run(graph, samples)
    for name, value in zip(graph.outputs, expected, strict=True):
        wanted = value.numpy()
        found = graph.modelled(name, reference[name]).reshape(wanted.shape)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    network = quantize(graph, observe(graph, samples))
    integers = golden.run(network, {n: quantize_input(network, n, x) for n, x in samples.items()})
    quality = all_sqnr(network, reference, integers)
    assert min(quality[name] for name in graph.outputs) > 15, quality


@pytest.mark.filterwarnings("ignore")  # of the tracer
@pytest.mark.parametrize("name", ["yolo", "llama", "gru"])
def test_traced(name, tmp_path):
    """TorchScript files give the same graph, apart from names."""
    model, examples = families.make(name)
    graph = import_model(save_torchscript(model, tmp_path / "model.pt", *examples))
    samples = {name: graph.held(name, e.numpy()) for name, e in zip(graph.inputs, examples, strict=True)}
    found = float_reference.outputs(graph, samples)[graph.outputs[0]]
    with torch.no_grad():
        wanted = model(*examples).numpy()
    np.testing.assert_allclose(graph.modelled(graph.outputs[0], found).reshape(wanted.shape), wanted, 1e-4, 1e-5)
