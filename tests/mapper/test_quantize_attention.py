"""Quantized transformers come close to the float model."""

import pytest

from dataflows import attention as ints
from dataflows.errors import InputError
from mapper.calibrate import observe
from mapper.float_reference import run
from mapper.graph import FloatGraph
from mapper.loading import import_model
from mapper.quality import all_sqnr
from mapper.quantize import quantize
from mapper.samples import quantize_input, random_samples
from sim import golden
from tests.mapper import attention_models as forms
from tests.mapper import models
from tests.mapper.test_import_attention import example


def graph_of(model, shape, tmp_path) -> FloatGraph:
    return import_model(models.save_export(model, tmp_path / "m", example(shape)))


def qualities(graph: FloatGraph) -> dict[str, float]:
    """SQNR of every tensor in dB, and the network."""
    samples = random_samples(graph, 4 * graph.shapes[graph.inputs[0]][0], seed=3)
    network = quantize(graph, observe(graph, samples, batch=3))
    codes = golden.run(network, {name: quantize_input(network, name, samples[name]) for name in network.inputs})
    found = all_sqnr(network, run(graph, samples), codes)
    for layer in network.layers:
        if isinstance(layer, ints.Attention):
            assert all(network.tensors[name].zero == 0 for name in layer.inputs)
    return {layer.name: found.get(layer.output) or 99.0 for layer in network.layers}


@pytest.mark.parametrize("name", ["encoder", "padded", "tokens", "digits"])
def test_models(name, tmp_path):
    make, shape = forms.MODELS[name]
    found = qualities(graph_of(make(), shape, tmp_path))
    assert min(found.values()) > 25, found


def test_other_widths_are_refused(tmp_path):
    graph = graph_of(forms.encoder(), (forms.N, forms.LENGTH, forms.WIDTH), tmp_path)
    with pytest.raises(InputError, match=r"self_attn\.attention: attention has operands of 8 bits, not 16"):
        quantize(graph, observe(graph, random_samples(graph)), 16)


# Most forms become the same layers.
@pytest.mark.parametrize("name", ["sdpa", "sdpa_both", "plain_added", "grouped", "cross"])
def test_attention(name, tmp_path):
    found = qualities(graph_of(forms.wrap(forms.ATTENTION[name]), (forms.N, forms.LENGTH, forms.WIDTH), tmp_path))
    assert min(found.values()) > 30, found


@pytest.mark.parametrize("name", forms.OTHERS)
def test_operators(name, tmp_path):
    found = qualities(graph_of(forms.wrap(forms.OTHERS[name]), (forms.N, forms.LENGTH, forms.WIDTH), tmp_path))
    assert min(found.values()) > 30, found
