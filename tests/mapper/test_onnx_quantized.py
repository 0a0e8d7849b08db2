"""Models quantized by ONNX Runtime: the golden model's integers are those of its kernels."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from dataflows.network import Network
from mapper.calibrate import observe
from mapper.loading import import_model
from mapper.quantize import quantize
from mapper.samples import quantize_input
from sim import golden
from tests.mapper import onnx_models as models

FORMS = [
    (form, channels, kind, symmetric)
    for form in ("QDQ", "QOperator")
    for channels, kind, symmetric in ((True, "QUInt8", False), (False, "QInt8", True), (True, "QInt8", False))
]


def quantized_file(name: str, folder: Path, *options: Any) -> onnx.ModelProto:
    """A network as ONNX Runtime quantizes it."""
    return models.quantized(models.NETWORKS[name](), folder / "q.onnx", *options)


def network_of(model: onnx.ModelProto, path) -> Network:
    """The integer network of an ONNX model."""
    onnx.save(model, path)
    graph = import_model(path)
    x = models.samples(model, 2, seed=9)
    return quantize(graph, observe(graph, {graph.inputs[0]: x}))


def golden_codes(network: Network, x: np.ndarray) -> list[np.ndarray]:
    """Integers of all outputs, as the model has them."""
    (source,) = network.inputs
    values = golden.run(network, {source: quantize_input(network, source, x)})
    found = []
    for name in network.outputs:
        whole = values[name].transpose(0, 3, 1, 2)
        order = network.output_order.get(name)
        found.append(whole if order is None else whole.reshape(len(whole), -1)[:, order])
    return found


def compared(model: onnx.ModelProto, path, x: np.ndarray, plain: bool = False) -> list[np.ndarray]:
    """Differences in steps of every quantized tensor, as it comes out of the whole network."""
    shown = models.exposed(model)
    got, expected = golden_codes(network_of(shown, path), x), models.run(shown, x, plain)
    assert len(got) == len(expected)
    for values in expected[1:]:
        assert len(np.unique(values)) > 10
    return [a.reshape(b.shape).astype(int) - b for a, b in zip(got, expected, strict=True)]


def first_differences(differences: list[np.ndarray]) -> int:
    """The largest difference in the first tensor of a sample that has one: what a layer makes, not what comes of it."""
    largest = 0
    for sample in zip(*differences, strict=True):
        largest = max(largest, next((int(np.abs(d).max()) for d in sample if d.any()), 0))
    return largest


@pytest.mark.parametrize("name", models.NETWORKS)
@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(map(str, form)))
def test_integers_are_those_of_onnx_runtime(name, form, tmp_path):
    model = quantized_file(name, tmp_path, *form)
    x = models.samples(model, 24)
    differences = compared(model, tmp_path / "shown.onnx", x)
    total = sum(d.size for d in differences)
    assert sum(int((d != 0).sum()) for d in differences) <= 1e-4 * total
    assert first_differences(differences) <= 1


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
@pytest.mark.parametrize("integers", [True, False])
def test_inputs_of_integers(kind, integers, tmp_path):
    """They stand for real values, whose scale their reader says."""
    m = models.Maker((1, 4, 5, 5))
    scale, zero = m.constant(np.float32(0.25)), m.constant(kind(77))
    steps, weight_zero = m.constant(np.float32(0.5)), m.constant(np.int8(0))
    weight = m.constant(m.rng.integers(-128, 127, (3, 4, 3, 3), np.int8, endpoint=True))
    wide = m.constant(np.float32(32))
    if integers:
        y = m.node("QLinearConv", "x", scale, zero, weight, steps, weight_zero, wide, zero)
    else:
        y = m.node("Conv", m.node("DequantizeLinear", "x", scale, zero), m.node("DequantizeLinear", weight, steps))
        y = m.node("QuantizeLinear", y, wide, zero)
    model = m.model(y, kind=onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind)))
    model.graph.output[0].type.tensor_type.elem_type = model.graph.input[0].type.tensor_type.elem_type
    codes = m.rng.integers(0, 128, (6, 4, 5, 5)).astype(kind)
    network = network_of(model, tmp_path / "m.onnx")
    got = golden_codes(network, (codes.astype(np.float32) - 77) * 0.25)[0]
    np.testing.assert_array_equal(got, models.run(model, codes, plain=True)[0])
    assert len(np.unique(got)) > 20


@pytest.mark.parametrize("name", models.NETWORKS)
@pytest.mark.parametrize(("kind", "plain"), [("QUInt8", True), ("QInt8", False)])
def test_powers_of_two_are_exact(name, kind, plain, tmp_path):
    """Nodes as ONNX defines them (dequantize, compute, quantize), and kernels on integers."""
    model = quantized_file(name, tmp_path, "QDQ", True, kind)
    model = models.powers_of_two(model)
    x = models.samples(model, 16)
    for difference in compared(model, tmp_path / "shown.onnx", x, plain):
        assert not difference.any()
