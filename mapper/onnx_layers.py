"""ONNX operators: convolutions, matrix products, arithmetic, activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from mapper.graph import Add, FakeQuantize, Quantized
from mapper.graph_attention import Constant as Fixed
from mapper.import_constants import spread
from mapper.import_parts import whole
from mapper.import_values import Activation, Constant
from mapper.onnx_registry import Call, onnx_operator


def pads(
    call: Call, size: Sequence[int], kernel: Sequence[int], strides: Sequence[int], spread: Sequence[int]
) -> list[int]:
    """Padding (top, left, bottom, right) of a window, from ``pads`` or ``auto_pad``."""
    kind = call.attribute("auto_pad", "NOTSET")
    if kind in ("NOTSET", ""):
        return call.ints("pads", default=[0] * 2 * len(size)) or []
    if kind == "VALID":
        return [0] * 2 * len(size)
    before, after = [], []
    for length, taps, step, distance in zip(size, kernel, strides, spread, strict=True):
        total = max(0, (-(-length // step) - 1) * step + distance * (taps - 1) + 1 - length)
        small, large = total // 2, total - total // 2
        before.append(small if kind == "SAME_UPPER" else large)
        after.append(large if kind == "SAME_UPPER" else small)
    return before + after


def window(call: Call, kernel: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
    """Strides, padding and dilation of a window over the first input."""
    size = call.shape(0)[2:]
    if len(size) != 2 or len(kernel) != 2:
        raise call.error(f"{call.op} is supported on (N, C, H, W) tensors, not on shape {call.shape(0)}")
    strides = call.ints("strides", default=[1, 1]) or []
    dilation = call.ints("dilations", default=[1, 1]) or []
    around = pads(call, size, kernel, strides, dilation)
    if min(around) < 0 or len(around) != 4 or min(*strides, *dilation, *kernel) < 1:
        raise call.error(f"{call.op} has pads {around}, strides {strides}, dilations {dilation}, which make no window")
    return strides, around, dilation


def convolution(call: Call, x: Any, weight: Any, bias: Any) -> Any:
    """A convolution with the attributes of the node; padding that differs between sides comes before it."""
    if not isinstance(weight, Constant):
        raise call.error(f"{call.op} is supported with weights that are constants of the model, not computed ones")
    if weight.data.ndim != 4:
        raise call.error(f"{call.op} is supported with weights of 4 dimensions, not {tuple(weight.data.shape)}")
    strides, (top, left, bottom, right), dilation = window(call, weight.data.shape[2:])
    if (top, left) != (bottom, right):
        place = call.builder.where
        call.builder.where = replace(place, path=f"{place.path}.pad")  # the convolution has the node's name
        x = call.run("pad", self=x, pad=[left, right, top, bottom])
        call.builder.where, top, left = place, 0, 0
    return call.run(
        "conv2d", input=x, weight=weight, bias=bias, stride=strides, padding=[top, left], dilation=dilation,
        groups=int(call.attribute("group", 1)),
    )  # fmt: skip


@onnx_operator("Conv")
def conv(call: Call) -> Any:
    """Convolution."""
    return convolution(call, call.value(0), call.value(1), call.value(2))


@onnx_operator("ConvTranspose", needs=("conv_transpose2d",))
def conv_transpose(call: Call) -> Any:
    """Transposed convolution."""
    weight = call.value(1)
    strides, around, dilation = window(call, tuple(weight.data.shape[2:]))
    if around[:2] != around[2:] or call.attribute("output_shape") or call.attribute("auto_pad", "NOTSET") != "NOTSET":
        raise call.error("ConvTranspose is supported with equal pads on both sides, without output_shape and auto_pad")
    return call.run(
        "conv_transpose2d", input=call.value(0), weight=weight, bias=call.value(2), stride=strides, padding=around[:2],
        output_padding=call.ints("output_padding", default=[0, 0]), groups=int(call.attribute("group", 1)),
        dilation=dilation,
    )  # fmt: skip


def product(call: Call, x: Any, weight: Any, bias: Any) -> Any:
    """``alpha * x @ weight + beta * bias`` with the attributes of a Gemm."""
    alpha, beta = call.attribute("alpha", 1.0), call.attribute("beta", 1.0)
    if call.attribute("transA", 0):
        raise call.error(f"{call.op} with transA is supported for constants only")
    if not isinstance(weight, Constant) or weight.data.ndim != 2:
        raise call.error(f"{call.op} is supported with a second matrix that is a constant of the model")
    rows = weight if call.attribute("transB", 0) else call.run("t", self=weight)
    if alpha != 1:
        rows = Constant(rows.name, rows.data * alpha, None if rows.steps is None else rows.steps * abs(alpha))
    if isinstance(bias, Activation):
        return call.run("add", self=call.run("linear", input=x, weight=rows), other=bias, alpha=beta)
    if bias is not None:
        bias = Constant(bias.name, (bias.data * beta).expand(1, len(rows.data)).reshape(-1))
    return call.run("linear", input=x, weight=rows, bias=bias)


@onnx_operator("Gemm")
def gemm(call: Call) -> Any:
    """Linear layer."""
    return product(call, call.value(0), call.value(1), call.value(2))


@onnx_operator("MatMul")
def matmul(call: Call) -> Any:
    """Linear layer, or a product of attention."""
    return call.run("matmul", self=call.value(0), other=call.value(1))


@onnx_operator("BatchNormalization")
def batch_norm(call: Call) -> Any:
    """Batch normalization with running statistics."""
    if call.attribute("training_mode", 0):
        raise call.error("BatchNormalization is in training mode; export the model in evaluation mode")
    return call.run(
        "batch_norm", input=call.value(0), weight=call.value(1), bias=call.value(2), running_mean=call.value(3),
        running_var=call.value(4), eps=float(call.attribute("epsilon", 1e-5)),
    )  # fmt: skip


@onnx_operator("Add")
def add(call: Call) -> Any:
    """Sum."""
    first, second = call.value(0), call.value(1)
    for x, other in ((first, second), (second, first)):
        if isinstance(x, Activation) and isinstance(other, Constant):
            rounded = isinstance(call.builder.maker(x.name), FakeQuantize)
            result = added(call, x, other) if rounded else None
            if result is not None:
                return result
    return call.run("add", self=first, other=second)


def added(call: Call, x: Activation, other: Constant) -> Activation | None:
    """The sum of a rounded tensor and a rounded constant: two tensors with scales, not a shift of one of them.

    None where the constant has several scales, or none.
    """
    if other.steps is None:
        return None
    step = float(other.steps.reshape(-1)[0])
    codes = torch.round(other.data.double() / step)
    least, most = int(codes.min()), int(codes.max())
    zero = 0 if least >= -128 and most <= 127 else -128 - min(least, 0) if most <= 255 + min(least, 0) else None
    if zero is None or not bool((other.steps == step).all()):
        return None
    x = whole(call.builder, x)
    held = call.builder.shape(x)
    values = spread(call.builder, x, other, "Add")
    filled = np.broadcast_to(np.asarray(values, np.float32), (1, *held[1:])).copy()
    title = f"{call.builder.where.path}.constant"
    fixed = call.builder.add(Fixed, [], held, title, value=filled)
    levels = Quantized(8, step, zero, -128, 127)
    rounded = call.builder.add(FakeQuantize, [fixed], held, title, levels=levels)
    result = call.builder.add(Add, [x, rounded], held)
    return Activation(result.name, x.shape, index=x.index)


def _plain(operator: str, target: str, *names: str) -> None:
    """An operator whose inputs are those of one of PyTorch's under other names, and that has no attributes."""

    def handler(call: Call) -> Any:
        return call.run(target, **{name: call.value(index) for index, name in enumerate(names)})

    handler.__doc__ = f"{operator} as {target}."
    onnx_operator(operator, needs=(target,))(handler)


for _operator, _target in (
    ("Sub", "sub"), ("Mul", "mul"), ("Div", "div"), ("Pow", "pow"), ("Where", "where"), ("Min", "minimum"),
    ("Max", "maximum"),
):  # fmt: skip
    if _operator == "Pow":
        _plain(_operator, _target, "self", "exponent")
    elif _operator == "Where":
        _plain(_operator, _target, "condition", "self", "other")
    else:
        _plain(_operator, _target, "self", "other")

for _operator, _target in (
    ("Relu", "relu"), ("Sigmoid", "sigmoid"), ("Tanh", "tanh"), ("Sign", "sign"), ("HardSwish", "hardswish"),
    ("Identity", "alias"), ("Erf", "erf"), ("Sqrt", "sqrt"), ("Neg", "neg"), ("Softplus", "softplus"),
    ("Mish", "mish"), ("Exp", "exp"), ("Abs", "abs"),
):  # fmt: skip
    _plain(_operator, _target, "self")


@onnx_operator("Clip")
def clip(call: Call) -> Any:
    """Clamp; its bounds are attributes in old versions."""
    bounds = {}
    for index, name in ((1, "min"), (2, "max")):
        if name in call.attributes:
            bounds[name] = float(call.attributes[name])
        elif call.get(index) is not None:
            bounds[name] = call.number(index, f"{name}imum")
    low, high = bounds.get("min"), bounds.get("max")
    return call.run("clamp", self=call.value(0), min=low, max=high)


@onnx_operator("LeakyRelu", needs=("leaky_relu",))
def leaky_relu(call: Call) -> Any:
    """ReLU with a slope below zero."""
    return call.run("leaky_relu", self=call.value(0), negative_slope=float(call.attribute("alpha", 0.01)))


@onnx_operator("Elu", needs=("elu",))
def elu(call: Call) -> Any:
    """ELU."""
    return call.run("elu", self=call.value(0), alpha=float(call.attribute("alpha", 1.0)))


@onnx_operator("PRelu", needs=("prelu",))
def prelu(call: Call) -> Any:
    """ReLU with learned slopes."""
    return call.run("prelu", self=call.value(0), weight=call.run("reshape", self=call.value(1), shape=[-1]))


@onnx_operator("HardSigmoid", needs=("hardsigmoid",))
def hard_sigmoid(call: Call) -> Any:
    """Hard sigmoid, of the slope that PyTorch has."""
    alpha, beta = call.attribute("alpha", 0.2), call.attribute("beta", 0.5)
    if abs(alpha - 1 / 6) > 1e-6 or beta != 0.5:
        raise call.error(f"HardSigmoid is supported with alpha 1/6 and beta 0.5, not {alpha:g} and {beta:g}")
    return call.run("hardsigmoid", self=call.value(0))
