"""Transformers: imported graphs compute what the PyTorch model computes."""

import numpy as np
import pytest
import torch

from mapper.float_reference import run
from mapper.graph import FloatGraph
from mapper.loading import import_model
from tests.mapper import attention_models as forms
from tests.mapper import models


def example(shape: tuple[int, ...]) -> torch.Tensor:
    """Ids for two dimensions, else normal values."""
    torch.manual_seed(4)
    return torch.randint(0, 19, shape) if len(shape) == 2 else torch.randn(shape)


def imported(model, shape, tmp_path) -> FloatGraph:
    """The graph, which equals the model."""
    x = example(shape)
    graph = import_model(models.save_export(model, tmp_path / "m", x))
    with torch.no_grad():
        wanted = model(x).numpy()
    (name,) = graph.outputs
    found = graph.modelled(name, run(graph, {graph.inputs[0]: x.numpy()})[name])
    assert graph.ranks[name] == wanted.ndim
    assert np.abs(wanted).max() > 0.1
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    return graph


@pytest.mark.parametrize("name", forms.MODELS)
def test_models(name, tmp_path):
    make, shape = forms.MODELS[name]
    imported(make(), shape, tmp_path)


@pytest.mark.parametrize("name", forms.ATTENTION)
def test_attention(name, tmp_path):
    graph = imported(forms.wrap(forms.ATTENTION[name]), (forms.N, forms.LENGTH, forms.WIDTH), tmp_path)
    assert [node.op for node in graph.nodes if node.op != "slice"] == ["conv"] * 3 + ["attention", "conv"]


@pytest.mark.parametrize("name", forms.OTHERS)
def test_operators(name, tmp_path):
    imported(forms.wrap(forms.OTHERS[name]), (forms.N, forms.LENGTH, forms.WIDTH), tmp_path)
