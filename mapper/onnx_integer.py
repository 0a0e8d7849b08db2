"""ONNX operators on integers (QOperator): each is the operator on real values, rounded to the levels it says."""

from __future__ import annotations

from typing import Any

import numpy as np

from mapper.import_values import Activation, Constant
from mapper.onnx_layers import added, convolution, product
from mapper.onnx_pooling import average
from mapper.onnx_quantize import codes, dequantized, parameters, rounded
from mapper.onnx_registry import MICROSOFT, Call, onnx_operator
from mapper.onnx_values import Array, Codes, Raw


def _bias(call: Call, index: int, x: int, weight: Constant) -> Constant | None:
    """A bias of integers: they count the product of the scales of the input and of the weights."""
    if call.get(index) is None:
        return None
    values = call.array(index, "bias").reshape(-1)
    steps = weight.row_steps()
    if steps is None:
        raise call.error(f"{call.op} has weights with several scales for an output channel")
    scale = call.number(x, "scale") * np.broadcast_to(steps.astype(np.float64), len(values))
    return Array(call.op, (values * scale).astype(np.float32)).constant()


@onnx_operator("QLinearConv")
def conv(call: Call) -> Codes:
    """Convolution: x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias."""
    x, weight = codes(call, 0, 1, 2), dequantized(call, 3, 4, 5, axis=0)
    return rounded(call, convolution(call, x, weight, _bias(call, 8, 1, weight)), *parameters(call, 6, 7))


@onnx_operator("QLinearMatMul")
def matmul(call: Call) -> Codes:
    """Product with constant weights: a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero."""
    if isinstance(call.get(3), Codes | Raw):
        result = call.run("matmul", self=codes(call, 0, 1, 2), other=codes(call, 3, 4, 5))
        return rounded(call, result, *parameters(call, 6, 7))
    weight = dequantized(call, 3, 4, 5, axis=-1)
    return rounded(call, call.run("matmul", self=codes(call, 0, 1, 2), other=weight), *parameters(call, 6, 7))


@onnx_operator("QGemm", domain=MICROSOFT)
def gemm(call: Call) -> Any:
    """Linear layer: A, a_scale, a_zero, B, b_scale, b_zero, C, y_scale, y_zero; without y_scale the result is real."""
    turned = bool(call.attribute("transB", 0))
    weight = dequantized(call, 3, 4, 5, axis=0 if turned else 1)
    bias = _bias(call, 6, 1, weight if turned else weight_rows(call, weight))
    result = product(call, codes(call, 0, 1, 2), weight, bias)
    return result if call.get(7) is None else rounded(call, result, *parameters(call, 7, 8))


def weight_rows(call: Call, weight: Constant) -> Constant:
    """A matrix with output channels as rows."""
    found = call.run("t", self=weight)
    assert isinstance(found, Constant)
    return found


@onnx_operator("QLinearAdd", domain=MICROSOFT)
def add(call: Call) -> Codes:
    """Sum: A, a_scale, a_zero, B, b_scale, b_zero, y_scale, y_zero; one of them may be a constant."""
    places = [(index, isinstance(call.get(index), Array)) for index in (0, 3)]
    if any(constant for _, constant in places):
        (at, _), (constant, _) = sorted(places, key=lambda place: place[1])
        other = dequantized(call, constant, constant + 1, constant + 2)
        x = codes(call, at, at + 1, at + 2)
        result = (added(call, x, other) if isinstance(x, Activation) else None) or call.run("add", self=x, other=other)
    else:
        result = call.run("add", self=codes(call, 0, 1, 2), other=codes(call, 3, 4, 5))
    return rounded(call, result, *parameters(call, 6, 7))


@onnx_operator("QLinearMul", domain=MICROSOFT)
def mul(call: Call) -> Codes:
    """Product: as the sum."""
    values = [
        dequantized(call, i, i + 1, i + 2) if isinstance(call.get(i), Array) else codes(call, i, i + 1, i + 2)
        for i in (0, 3)
    ]
    return rounded(call, call.run("mul", self=values[0], other=values[1]), *parameters(call, 6, 7))


@onnx_operator("QLinearConcat", domain=MICROSOFT)
def concat(call: Call) -> Codes:
    """Concatenation: y_scale, y_zero, then tensor, scale and zero point of every part."""
    parts = [codes(call, index, index + 1, index + 2) for index in range(2, len(call), 3)]
    result = call.run("cat", tensors=parts, dim=int(call.attribute("axis", 1)))
    return rounded(call, result, *parameters(call, 0, 1))


@onnx_operator("QLinearAveragePool", domain=MICROSOFT)
def average_pool(call: Call) -> Codes:
    """Average pooling: x, x_scale, x_zero, y_scale, y_zero."""
    inner = _real(call)
    return rounded(call, average(inner), *parameters(call, 3, 4))


@onnx_operator("QLinearGlobalAveragePool", domain=MICROSOFT)
def global_average_pool(call: Call) -> Codes:
    """Mean of the map: x, x_scale, x_zero, y_scale, y_zero."""
    result = call.run("mean", self=_real(call).value(0), dim=[2, 3], keepdim=True)
    return rounded(call, result, *parameters(call, 3, 4))


def _real(call: Call) -> Call:
    """The call with real values, in the order (N, C, H, W) that the import knows."""
    if call.attribute("channels_last", 0):
        raise call.error(f"{call.op} is supported on (N, C, H, W) tensors only, not with channels_last")
    return Call(call.builder, call.op, [codes(call, 0, 1, 2)], call.attributes, call.opset)


@onnx_operator("QLinearSoftmax", domain=MICROSOFT)
def softmax(call: Call) -> Codes:
    """Softmax: x, x_scale, x_zero, y_scale, y_zero."""
    result = call.run("softmax", self=codes(call, 0, 1, 2), dim=int(call.attribute("axis", -1)))
    return rounded(call, result, *parameters(call, 3, 4))


def _function(name: str, target: str) -> None:
    """A function of single elements: x, x_scale, x_zero, y_scale, y_zero."""

    def handler(call: Call) -> Codes:
        slope = {"negative_slope": float(call.attribute("alpha", 0.01))} if target == "leaky_relu" else {}
        return rounded(call, call.run(target, self=codes(call, 0, 1, 2), **slope), *parameters(call, 3, 4))

    handler.__doc__ = f"{name} as {target}."
    onnx_operator(name, domain=MICROSOFT, needs=(target,))(handler)


for _name, _target in (("QLinearSigmoid", "sigmoid"), ("QLinearLeakyRelu", "leaky_relu")):
    _function(_name, _target)
