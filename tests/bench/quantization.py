"""What ways of quantizing do to models: SQNR of the output, and accuracy on digits, in the golden model."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from math import inf

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dataflows.config import load
from mapper import float_reference
from mapper.bit_widths import Widths, uniform, widths
from mapper.calibrate import observe
from mapper.correct_bias import biases_by, corrected
from mapper.equalize import equalize, pairs, rescaled
from mapper.graph import Conv, FloatGraph
from mapper.layer_specs import parse
from mapper.loading import import_model
from mapper.precision import request
from mapper.quality import sqnr
from mapper.quantization_options import Rounding
from mapper.quantize import rounded_model
from mapper.samples import dequantize_output, quantize_input
from sim import golden
from tests.bench import separable_train
from tests.bench.figures import FOLDER, Figure
from tests.bench.networks import NETWORKS
from tests.demo import train, transformer_train

COMMAND = "python -m tests.bench quantization"
CONFIG = "configs/ws16_fusion.toml"
"""Takes weights of 4 bits."""

CEILING = 6.0
"""Of ReLU6."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Case:
    """A model with samples to calibrate and to judge; ``labels`` of the latter where it is a classifier.

    ``narrow``: methods with weights of 4 bits suit it, ``ceilings``: it has ReLU6, ``normed``: its batch normalizations
    know its data, ``methods``: those that it is for, if not all.
    """

    name: str
    graph: FloatGraph
    calibration: Floats
    images: Floats
    labels: NDArray[np.int64] | None = None
    narrow: bool = True
    ceilings: bool = False
    normed: bool = False
    methods: tuple[str, ...] | None = None


METHODS: dict[str, tuple[str, Rounding]] = {
    "minmax": ("8", Rounding()),
    "percentile 99.99": ("8", Rounding("percentile")),
    "percentile 99": ("8", Rounding("percentile", 99)),
    "entropy": ("8", Rounding("entropy")),
    "mse": ("8", Rounding("mse")),
    "mse, corrected": ("8", Rounding("mse", correct_bias="samples")),
    "equalized": ("8", Rounding(equalize=True)),
    "equalized, corrected": ("8", Rounding(equalize=True, correct_bias="samples")),
    "per tensor": ("8", Rounding(one_scale=True)),
    "per tensor, equalized": ("8", Rounding(one_scale=True, equalize=True)),
    "per tensor, corrected": ("8", Rounding(one_scale=True, correct_bias="samples")),
    "per tensor, corrected without data": ("8", Rounding(one_scale=True, correct_bias="data-free")),
    "per tensor, both": ("8", Rounding(one_scale=True, equalize=True, correct_bias="samples")),
    "per tensor, both, without data": ("8", Rounding(one_scale=True, equalize=True, correct_bias="data-free")),
    "per tensor, both, unclamped": ("8", Rounding(one_scale=True, equalize=True, unclamp=True, correct_bias="samples")),
    "4-bit weights": ("8/4", Rounding("mse")),
    "4-bit weights, corrected": ("8/4", Rounding("mse", correct_bias="samples")),
    "4-bit weights, corrected without data": ("8/4", Rounding("mse", correct_bias="data-free")),
    "4-bit weights, equalized, corrected": ("8/4", Rounding("mse", equalize=True, correct_bias="samples")),
}
"""Widths and how they are used; the first one is the baseline."""

CORRECTIONS = (
    "minmax", "per tensor", "per tensor, equalized", "per tensor, corrected", "per tensor, corrected without data",
    "per tensor, both", "per tensor, both, without data", "4-bit weights", "4-bit weights, corrected",
    "4-bit weights, corrected without data",
)  # fmt: skip
"""Of :data:`METHODS`: what tells the two ways to correct biases apart."""


def imported(model: nn.Module, images: Floats) -> FloatGraph:
    """The float graph of a module for one image at a time."""
    buffer, path = io.BytesIO(), FOLDER / "quantization" / "model.pt2"
    torch.export.save(torch.export.export(model.eval(), (torch.from_numpy(images[:1]),)), buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())
    return import_model(path)


def cases() -> list[Case]:
    """Trained digits, the same with uneven channels, a transformer, an untrained MobileNetV2, that with ReLU, and
    digits again with depthwise layers and batch normalizations before all layers but the first."""
    data = train.digits()
    known, images, labels = data.train_images[:256], data.test_images, data.test_labels
    plain, encoder = train.train(data), transformer_train.train(data)
    found = [Case("digits", imported(plain, images), known, images, labels, normed=True)]
    found.append(Case("digits, uneven", uneven_channels(found[0].graph), known, images, labels, normed=True))
    found.append(Case("digits transformer", imported(encoder, images), known, images, labels, narrow=False))
    drawn = np.random.default_rng(0).standard_normal((40, 3, 64, 64)).astype(np.float32)
    graph = imported(NETWORKS["mobilenet_v2"](), drawn)
    found.append(Case("MobileNetV2, random", graph, drawn[:32], drawn[32:], ceilings=True))
    open_ = replace(graph, nodes=tuple(replace(n, high=inf) if n.high == CEILING else n for n in graph.nodes))
    found.append(Case("the same with ReLU, uneven", uneven_channels(open_), drawn[:32], drawn[32:]))
    for name, activation in (("separable digits, ReLU6", nn.ReLU6), ("separable digits, ReLU", nn.ReLU)):
        graph = imported(separable_train.train(data, activation), images)
        found.append(Case(name, graph, known, images, labels, normed=True, methods=CORRECTIONS))
    return found


def uneven_channels(graph: FloatGraph) -> FloatGraph:
    """The same function, its channels scaled at random by factors from a tenth to ten."""
    generator, layers = np.random.default_rng(0), {n.name: n for n in graph.nodes if isinstance(n, Conv)}
    for pair in pairs(graph):
        first, second = layers[pair.first], layers[pair.second]
        factor = 10 ** generator.uniform(-1, 1, len(first.weight))
        layers[pair.first], layers[pair.second] = rescaled(first, second, factor)
    return replace(graph, nodes=tuple(layers.get(node.name, node) for node in graph.nodes))


def judged(case: Case, bits: str, how: Rounding) -> tuple[float, float | None]:
    """SQNR of the output in dB against the model as it came, and accuracy."""
    graph = equalize(case.graph, how.unclamp)[0] if how.equalize else case.graph
    (source,), (target,) = graph.inputs, graph.outputs
    known = {source: case.calibration}
    observed = observe(graph, known, how.method, how.percentile, histograms=True)
    wide: Widths = uniform(graph, 8) if bits == "8" else widths(graph, load(CONFIG), parse(bits, request))
    model = rounded_model(graph, observed, wide, how.one_scale)
    if how.correct_bias is not None:
        biases, _ = biases_by(how.correct_bias, model, known)
        model = corrected(model, biases, observed, wide, how.one_scale)
    network, exact = model.network, float_reference.outputs(case.graph, {source: case.images})[target]
    codes = golden.run(network, {source: quantize_input(network, source, graph.held(source, case.images))})[target]
    found = dequantize_output(network, target, codes).reshape(len(case.images), -1)
    value = sqnr(exact, network.tensors[target], codes) or 0.0
    return value, None if case.labels is None else float(np.mean(found.argmax(1) == case.labels))


def run() -> list[Figure]:
    """Every model with every method."""
    result: list[Figure] = []
    for case in cases():
        base: float | None = None
        for name, (bits, how) in METHODS.items():
            if (bits != "8" and not case.narrow) or (how.unclamp and not case.ceilings):
                continue
            if how.correct_bias == "data-free" and not case.normed:
                continue
            if case.methods is not None and name not in case.methods:
                continue
            value, accuracy = judged(case, bits, how)
            base = value if base is None else base
            result.append(Figure(f"{case.name}, {name}: SQNR", value, "dB", "minmax", base, COMMAND))
            if accuracy is not None:
                result.append(Figure(f"{case.name}, {name}: accuracy", accuracy, "1", "float", exact(case), COMMAND))
    return result


def exact(case: Case) -> float:
    """Accuracy of the float model."""
    (source,), (target,) = case.graph.inputs, case.graph.outputs
    values = float_reference.outputs(case.graph, {source: case.images})[target].reshape(len(case.images), -1)
    return float(np.mean(values.argmax(1) == case.labels))
