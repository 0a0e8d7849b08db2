"""Widths: what ``--bits`` asks for, what every tensor gets, and networks of few bits close to their float models."""

import argparse

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from dataflows import network as ints
from dataflows.config import Config, load
from dataflows.errors import InputError
from mapper.bit_widths import uniform, widths
from mapper.calibrate import observe
from mapper.float_reference import run
from mapper.graph import FloatGraph
from mapper.layer_specs import parse
from mapper.loading import import_model
from mapper.precision import Precision, request, resolve, usual
from mapper.quantize import quantize
from mapper.samples import dequantize_output, quantize_input, random_samples
from sim import golden
from tests.mapper import models

FUSION, XNOR, TERNARY, FIXED = (f"configs/{name}.toml" for name in ("ws16_fusion", "xnor", "ternary", "ws16"))


def imported(model: nn.Module, tmp_path, *shapes) -> FloatGraph:
    return import_model(models.save_export(model, tmp_path / "m", *(torch.randn(shape) for shape in shapes)))


def quantized(graph: FloatGraph, cfg: Config, spec: str = "", samples=None) -> ints.Network:
    samples = random_samples(graph, 6, seed=3) if samples is None else samples
    chosen = widths(graph, cfg, parse(spec, request) if spec else None)
    return quantize(graph, observe(graph, samples, histograms=True), chosen)


class Mixed(nn.Module):
    """A chain with pooling, a concatenation, a residual addition and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        self.left = nn.Conv2d(16, 12, 3, padding=1)
        self.right = nn.Conv2d(16, 12, 1)
        self.joined = nn.Conv2d(24, 24, 3, padding=1)
        self.fc = nn.Linear(24 * 16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        x = torch.cat([functional.relu(self.left(x)), functional.relu(self.right(x))], 1)
        x = functional.relu(self.joined(x) + x)
        return self.fc(torch.flatten(x, 1))


@pytest.mark.parametrize(
    ("text", "config", "wanted"),
    [
        ("4", FUSION, Precision(4, 4)),
        ("8/3", FUSION, Precision(8, 3)),
        ("8/ternary", FUSION, Precision(8, 2, "ternary")),
        ("ternary", FUSION, Precision(8, 2, "ternary")),
        ("4/ttq", FUSION, Precision(4, 4, "ttq")),
        ("2/binary", FUSION, Precision(2, 2, "binary")),
        ("binary", XNOR, Precision(1, 1, "binary")),
        ("1/1", XNOR, Precision(1, 1, "binary")),
        ("ternary", TERNARY, Precision(2, 2, "ternary")),
        ("ttq", TERNARY, Precision(2, 2, "ttq")),
        ("8/ternary", FIXED, Precision(8, 8, "ternary")),
    ],
)
def test_requests(text, config, wanted):
    assert resolve(request(text), load(config)) == wanted


@pytest.mark.parametrize("text", ["", "9", "0", "4/", "/4", "four", "4/4/4", "-4", "4.0", "4/tern"])
def test_requests_that_mean_nothing(text):
    with pytest.raises(argparse.ArgumentTypeError, match="must be"):
        request(text)


@pytest.mark.parametrize(
    ("text", "config", "words"),
    [
        ("4", FIXED, "--bits 4: ws16 takes operands of 8 bits, not inputs of 4.*ws16_fusion"),
        ("8/4", TERNARY, "takes operands of 2 bits, not inputs of 8"),
        ("1", FUSION, "takes operands of 2 3 4 5 6 7 8 bits, not inputs of 1"),
        ("16", FUSION, "not inputs of 16"),
        ("ternary", XNOR, "weights of xnor have 1 bit and are never zero"),
    ],
)
def test_widths_that_the_hardware_lacks(text, config, words):
    with pytest.raises(InputError, match=words):
        resolve(request(text), load(config))


def test_usual_precision():
    found = {name: usual(load(f"configs/{name}.toml")) for name in ("ws16", "ws16_fusion", "xnor", "ternary", "bismo")}
    assert {name: str(p) for name, p in found.items()} == {
        "ws16": "8/8", "ws16_fusion": "8/8", "xnor": "1/binary", "ternary": "2/2", "bismo": "4/4",
    }  # fmt: skip


def test_widths_of_tensors(tmp_path):
    """The layer that reads a tensor decides; the widest wish wins; nobody's tensors and outputs have 8 bits."""
    graph = imported(Mixed(), tmp_path, (1, 3, 8, 8))
    found = widths(graph, load(FUSION), parse("4,conv1=8/2,right=2/2,fc=4/ternary", request))
    pool, cat, flat = "max_pool", "concat", "flatten"
    by_part = {part: bits for part in (pool, cat, flat, "add") for name, bits in found.tensors.items() if part in name}
    # 12 channels of 4 bits are whole bytes.
    assert by_part == {pool: 4, cat: 4, flat: 4, "add": 4}
    assert found.tensors["conv1"] == 4 and found.tensors["fc"] == 8 and found.tensors[graph.inputs[0]] == 8
    # What only the addition reads has 8 bits.
    assert found.tensors["left"] == found.tensors["right"] == found.tensors["joined"] == 8
    assert str(found.layers["right"]) == "4/2" and str(found.layers["fc"]) == "4/ternary"
    assert not found.notes


def test_parts_fill_bytes(tmp_path):
    class Parts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 5, 1), nn.Conv2d(3, 6, 1), nn.Conv2d(11, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.c(torch.cat([self.a(x), self.b(x)], 1))

    found = widths(imported(Parts(), tmp_path, (1, 3, 4, 4)), load(FUSION), parse("2", request))
    assert found.layers["c"] == Precision(8, 2)
    assert len(found.notes) == 1 and "8 bits instead of 2" in found.notes[0] and "must fill bytes" in found.notes[0]


def test_depthwise_layers_keep_eight_bits(tmp_path):
    graph = imported(models.mobile(), tmp_path, (1, 3, 15, 12))
    found = widths(graph, load(FUSION), parse("4", request))
    assert found.layers["depthwise"].w_bits == 8 and found.layers["grouped"].w_bits == 4
    asked = widths(graph, load(FUSION), parse("4,depthwise=4/4", request))
    assert asked.layers["depthwise"].w_bits == 4


def test_unknown_layers(tmp_path):
    graph = imported(Mixed(), tmp_path, (1, 3, 8, 8))
    with pytest.raises(InputError, match="--bits: there is no such layer as 'conv9'; there are conv1, left"):
        widths(graph, load(FUSION), parse("conv9=4/4", request))


def test_one_bit_needs_signs(tmp_path):
    graph = imported(nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 1)), tmp_path, (1, 8, 4, 4))
    with pytest.raises(InputError, match=r"layer 2 would take the result of 0 as one bit.*torch.sign"):
        widths(graph, load(XNOR))


@pytest.mark.parametrize(("spec", "least"), [("8", 30), ("6", 20), ("4", 10), ("8/4", 14), ("8/ternary", 4), ("2", 1)])
def test_networks_lose_with_bits_only(spec, least, tmp_path):
    graph = imported(models.seeded(Mixed()), tmp_path, (1, 3, 8, 8))
    samples = random_samples(graph, 16, seed=5)
    network = quantized(graph, load(FUSION), spec, samples)
    for tensor in network.tensors.values():
        assert tensor.lowest <= tensor.zero <= tensor.highest
    for layer in network.layers:
        if isinstance(layer, ints.Conv):
            limit = (1 << layer.weight_bits - 1) - 1
            assert -limit <= layer.weight.min() and layer.weight.max() <= limit
    values = golden.run(network, {name: quantize_input(network, name, samples[name]) for name in network.inputs})
    for name in network.outputs:
        reference, found = run(graph, samples)[name], dequantize_output(network, name, values[name])
        noise = float(((reference - found) ** 2).sum())
        assert 10 * np.log10(float((reference**2).sum()) / noise) > least


def test_one_width_for_all(tmp_path):
    graph = imported(Mixed(), tmp_path, (1, 3, 8, 8))
    found = uniform(graph, 16)
    assert set(found.tensors.values()) == {16} and set(map(str, found.layers.values())) == {"16/16"}


@pytest.mark.parametrize("config", ["configs/bitfusion.toml", "configs/bismo.toml", TERNARY])
def test_groups_need_not_fill_bytes(config, tmp_path):
    """Arrays take several groups together, with weights of zero between them."""
    graph = imported(models.mobile(), tmp_path, (1, 3, 15, 12))
    found = widths(graph, load(config), parse("2/2", request))
    assert found.tensors["expand"] == found.tensors["depthwise"] == found.tensors["add"] == 2 and not found.notes
