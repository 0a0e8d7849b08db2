"""What cannot be kept of a quantized model is told."""

import numpy as np
import onnx
import pytest

from dataflows.config import load
from mapper.bit_widths import widths
from mapper.given_scales import all_given, not_kept
from mapper.loading import import_model
from tests.mapper.onnx_models import NETWORKS, Maker


def told(model: onnx.ModelProto, tmp_path) -> tuple[list[str], bool]:
    onnx.save(model, tmp_path / "m.onnx")
    graph = import_model(tmp_path / "m.onnx")
    return list(not_kept(graph, widths(graph, load("configs/ws16.toml")))), all_given(graph)


def made(kind: type, zero: int, weights: type = np.int8, weight_zero: int = 0) -> onnx.ModelProto:
    """A convolution of quantized tensors of some type."""
    m = Maker((1, 3, 6, 6), opset=21)
    scale, origin = m.constant(np.float32(0.25)), m.constant(kind(zero))
    limits = np.iinfo(weights)
    weight = m.constant(m.rng.integers(limits.min, limits.max, (4, 3, 3, 3), weights, endpoint=True))
    turned = m.node("DequantizeLinear", weight, m.constant(np.float32(0.125)), m.constant(weights(weight_zero)))
    x = m.node("DequantizeLinear", m.node("QuantizeLinear", "x", scale, origin), scale, origin)
    x = m.node("Conv", x, turned)
    return m.model(m.node("DequantizeLinear", m.node("QuantizeLinear", x, scale, origin), scale, origin))


@pytest.mark.parametrize(
    ("model", "expected", "given"),
    [
        (made(np.int8, 3), [], True),
        (made(np.uint8, 200, np.uint8, 128), [], True),
        (made(np.int16, 3), ["x, Conv_t3: the model's levels need more bits than the accelerator has there"], True),
        (made(np.uint8, 7, np.uint8, 100), ["Conv_t3: the model's weights .less zero points. do not fit"], True),
        (NETWORKS["mlp"](), [], False),
    ],
)  # fmt: skip
def test_notes(model, expected, given, tmp_path):
    notes, found = told(model, tmp_path)
    assert found == given and len(notes) == len(expected)
    for note, text in zip(notes, expected, strict=True):
        assert note.startswith(text) or note.replace("(", ".").replace(")", ".").startswith(text)
