"""QONNX: nodes that quantize to any number of bits. The golden model's integers are those of the nodes' definition."""

import numpy as np
import onnx
import pytest

from dataflows.config import load
from dataflows.errors import InputError
from dataflows.network import Conv, Network
from mapper.bit_widths import widths
from mapper.calibrate import observe
from mapper.loading import import_model
from mapper.quantize import quantize
from mapper.samples import quantize_input
from sim import golden
from tests.mapper.onnx_models import Maker

DOMAIN = "qonnx.custom_op.general"
FUSION, FIXED = "configs/ws16_fusion.toml", "configs/ws16.toml"


def quant(m: Maker, x: str, scale, bits: int, zero: float = 0, op: str = "Quant", **attributes) -> str:
    """Append a Quant node."""
    inputs = [m.constant(np.float32(v)) for v in (scale, zero, bits)]
    return m.node(op, x, *inputs, domain=DOMAIN, **{"signed": 1, "narrow": 0, "rounding_mode": "ROUND", **attributes})


def limits(bits: int, signed: int, narrow: int) -> tuple[int, int]:
    return (-(1 << bits - 1) + narrow, (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1 - narrow)


def levels(x, scale, bits, zero=0, signed=1, narrow=0):
    """Integers of the definition, without their zero point."""
    return np.clip(np.rint(np.asarray(x, np.float64) / scale + zero), *limits(bits, signed, narrow)) - zero


def network(model: onnx.ModelProto, tmp_path, config: str, x) -> Network:
    onnx.save(model, tmp_path / "m.onnx")
    graph = import_model(tmp_path / "m.onnx")
    return quantize(graph, observe(graph, {graph.inputs[0]: x}), widths(graph, load(config)))


def codes(found: Network, x) -> np.ndarray:
    (source,), (target,) = found.inputs, found.outputs
    values = golden.run(found, {source: quantize_input(found, source, x)})[target].astype(int)
    return values.transpose(0, 3, 1, 2) - found.tensors[target].zero


@pytest.mark.parametrize("config", [FIXED, FUSION])
@pytest.mark.parametrize(
    ("a_bits", "w_bits", "signed", "narrow"), [(8, 8, 1, 0), (4, 4, 0, 0), (2, 2, 1, 1), (3, 5, 0, 1), (4, 2, 1, 1)]
)
def test_convolution_of_few_bits(config, a_bits, w_bits, signed, narrow, tmp_path, rng):
    m = Maker((1, 8, 7, 7))
    steps = 2.0 ** rng.integers(-5, -2, (6, 1, 1, 1))
    weight = rng.integers(*limits(w_bits, 1, narrow), (6, 8, 3, 3), endpoint=True) * steps
    x = quant(m, "x", 0.25, a_bits, signed=signed, narrow=narrow)
    name = m.constant((weight + rng.uniform(-0.01, 0.01, weight.shape)).astype(np.float32))
    y = m.node("Conv", x, quant(m, name, steps, w_bits, narrow=narrow), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    model = m.model(quant(m, m.node("Relu", y), 0.0625, 8, signed=0), domains=(DOMAIN,))
    data = rng.standard_normal((2, 8, 7, 7)).astype(np.float32) * 3
    found = network(model, tmp_path, config, data)
    conv = next(layer for layer in found.layers if isinstance(layer, Conv))
    np.testing.assert_array_equal(conv.weight_scale, steps.reshape(-1))
    np.testing.assert_array_equal(conv.weight, weight / steps)
    if config == FUSION:
        there = load(config).operand_bits
        assert conv.weight_bits == next(bits for bits in there if bits >= w_bits)
        assert found.tensors[conv.inputs[0]].bits == next(bits for bits in there if bits >= a_bits)
    given = np.pad(levels(data, 0.25, a_bits, 0, signed, narrow) * 0.25, ((0, 0), (0, 0), (1, 1), (1, 1)))
    views = np.lib.stride_tricks.sliding_window_view(given, (3, 3), (2, 3))
    expected = levels(np.maximum(np.einsum("ncijrs,ocrs->noij", views, weight), 0), 0.0625, 8, signed=0)
    np.testing.assert_array_equal(codes(found, data), expected)
    assert len(np.unique(expected)) > 5


def test_zero_points(tmp_path, rng):
    m = Maker((1, 4, 5, 5))
    x = quant(m, "x", 0.5, 8, zero=77, signed=0)
    model = m.model(quant(m, m.node("Relu", x), 0.5, 8, zero=3, signed=0, narrow=1), domains=(DOMAIN,))
    data = rng.standard_normal((3, 4, 5, 5)).astype(np.float32) * 60
    found = network(model, tmp_path, FIXED, data)
    expected = levels(np.maximum(levels(data, 0.5, 8, 77, 0) * 0.5, 0), 0.5, 8, 3, 0, 1)
    np.testing.assert_array_equal(codes(found, data), expected)


def test_signs(tmp_path, rng):
    """BipolarQuant on activations and weights: one bit of each, on arrays that have it."""
    m = Maker((1, 8, 6, 6))
    scale = (2.0 ** rng.integers(-3, 1, (8, 1, 1, 1))).astype(np.float32)
    first, second = m.weights(8, 8, 3, 3), m.weights(8, 8, 1, 1)
    x = m.node("Conv", quant(m, "x", 0.25, 8), quant(m, first, 2.0**-4, 4, narrow=1), kernel_shape=[3, 3])
    x = m.node("BipolarQuant", x, m.constant(np.float32(1)), domain=DOMAIN)
    x = m.node("Conv", x, m.node("BipolarQuant", second, m.constant(scale), domain=DOMAIN), kernel_shape=[1, 1])
    model = m.model(quant(m, x, 0.25, 8), domains=(DOMAIN,))
    data = rng.standard_normal((2, 8, 6, 6)).astype(np.float32)
    found = network(model, tmp_path, FIXED, data)
    given = np.lib.stride_tricks.sliding_window_view(levels(data, 0.25, 8), (3, 3), (2, 3))
    sums = np.einsum("ncijrs,ocrs->noij", given, levels(m.constants[first], 2.0**-4, 4, narrow=1))
    signs, weight = (np.where(values >= 0, 1.0, -1.0) for values in (sums, m.constants[second]))
    product = np.einsum("ncij,oc->noij", signs, (weight * scale)[..., 0, 0])
    np.testing.assert_array_equal(codes(found, data), levels(product, 0.25, 8))


@pytest.mark.parametrize("mode", ["FLOOR", "ROUND"])
@pytest.mark.parametrize("second", [False, True])
def test_trunc(mode, second, tmp_path, rng):
    """Lower bits go; version 1 keeps the scale, version 2 gives another one."""
    m = Maker((1, 4, 5, 5))
    x = quant(m, "x", 0.5, 8)
    after = 0.5 * 8 if second else 0.5
    values = (0.5, 0, 8, after, 0, 5) if second else (0.5, 0, 8, 5)
    inputs = [m.constant(np.float32(v)) for v in values]
    model = m.model(m.node("Trunc", x, *inputs, domain=DOMAIN, rounding_mode=mode, signed=1), domains=(DOMAIN,))
    data = rng.standard_normal((3, 4, 5, 5)).astype(np.float32) * 20
    found = network(model, tmp_path, FIXED, data)
    rounding = np.floor if mode == "FLOOR" else np.rint
    expected = np.clip(rounding(levels(data, 0.5, 8) / 8), -16, 15)
    assert found.tensors[found.outputs[0]].scale == after
    np.testing.assert_array_equal(codes(found, data), expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rounding_mode": "CEIL"}, "Quant with rounding mode CEIL is not supported; only ROUND is"),
        ({"bits": 40}, "a bit width of 40; whole numbers from 1 to 32 are possible"),
        ({"bits": 20}, "2 to 16 bits are"),
        ({"scale": [1, 2, 3]}, "one scale per tensor, not with 3 of them"),
        ({"scale": -1}, "scale -1 is not supported"),
    ],
)
def test_refusals(changes, message, tmp_path):
    m = Maker((1, 3, 5, 5))
    options = {"scale": 0.5, "bits": 8, **changes}
    model = m.model(quant(m, "x", options.pop("scale"), options.pop("bits"), **options), domains=(DOMAIN,))
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(InputError, match=message):
        import_model(tmp_path / "m.onnx")
