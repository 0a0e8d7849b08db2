"""ONNX operators: quantization as nodes (QDQ). A tensor between them has their scale and zero point, exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mapper.fake_quantize import quantized
from mapper.graph import FakeQuantize
from mapper.import_registry import pointwise
from mapper.import_scores import Scores
from mapper.import_values import Activation, Constant
from mapper.onnx_registry import MICROSOFT, REFUSED, Call, onnx_operator
from mapper.onnx_values import Array, Codes, Raw

RANGES = {
    "int8": (-128, 127), "uint8": (0, 255), "int16": (-(1 << 15), (1 << 15) - 1), "uint16": (0, (1 << 16) - 1),
    "int4": (-8, 7), "uint4": (0, 15), "int2": (-2, 1), "uint2": (0, 3),
}  # fmt: skip
"""Integers of each type that tensors are quantized to."""


SCORES = "scores of attention are not rounded as the model rounds them"
"""What is said where integers of products of queries and keys, or of their softmax, are left out."""


def parameters(call: Call, scale: int, zero: int, default: str = "uint8") -> tuple[float, int, str]:
    """Scale, zero point and type of a tensor that is quantized as a whole, from inputs by their numbers."""
    step = call.number(scale, "scale per tensor")
    kind = default if call.get(zero) is None else call.array(zero, "zero point").dtype.name
    if kind not in RANGES:
        raise call.error(f"{call.op} to {kind} is not supported; only to {', '.join(RANGES)}")
    origin = 0 if call.get(zero) is None else int(call.number(zero, "zero point"))
    if not step > 0 or not np.isfinite(step):
        raise call.error(f"{call.op} has the scale {step:g}; scales must be positive and finite")
    return step, origin, kind


def rounded(call: Call, x: Any, step: float, zero: int, kind: str) -> Codes:
    """An activation on the levels of a type; scores of attention as they are."""
    if isinstance(x, Scores):
        call.builder.note(SCORES)
        return Codes(x, step, zero, kind)
    if not isinstance(x, Activation):
        raise call.error(f"{call.op} needs a tensor computed from the model's inputs")
    levels = quantized(step, zero, *RANGES[kind])
    return Codes(pointwise(call.builder, FakeQuantize, x, levels=levels), step, zero, kind)


def codes(call: Call, index: int, scale: int, zero: int) -> Activation | Scores:
    """What integers stand for that an operator reads as input ``index`` with the scale and zero point it says."""
    found = call.get(index)
    step, origin, kind = parameters(call, scale, zero)
    if isinstance(found, Raw):
        return rounded(call, found.value, step, origin, found.type).value
    if not isinstance(found, Codes):
        raise call.error(f"{call.op} needs a quantized tensor as input {index}; put QuantizeLinear before it")
    if (found.scale, found.zero) != (step, origin):
        raise call.error(
            f"{call.op} reads with scale {step:g} and zero point {origin} what was quantized with {found.scale:g} "
            f"and {found.zero} ({kind})"
        )
    return found.value


def dequantized(call: Call, index: int, scale: int, zero: int, axis: int | None = None) -> Constant:
    """Integers of the model as real values that know their scales: one for all, or one per place of ``axis``."""
    found = call.get(index)
    name = found.name if isinstance(found, Array) else call.op
    values = call.array(index, "weights")
    steps = np.asarray(call.array(scale, "scale"), np.float32)
    zeros = np.zeros(1, np.int64) if call.get(zero) is None else call.array(zero, "zero point").astype(np.int64)
    block = int(call.attribute("block_size", 0))
    place = int(call.attribute("axis", 1) if axis is None else axis)
    spread = [_spread(call, array, values.shape, place, block) for array in (steps, zeros)]
    if not (steps > 0).all():
        raise call.error(f"{call.op} has scales that are not positive")
    data = np.asarray((values.astype(np.int64) - spread[1]) * spread[0].astype(np.float64), np.float32)
    narrow = values.dtype.name in RANGES
    return Constant(name, torch.from_numpy(data), torch.from_numpy(spread[0].copy()) if narrow else None)


def _spread(call: Call, array: Any, shape: tuple[int, ...], axis: int, block: int) -> Any:
    """Scales or zero points for every element."""
    if array.size == 1:
        return np.broadcast_to(array.reshape(()), shape)
    axis = axis % len(shape)
    if block:
        return np.repeat(array, block, axis).take(range(shape[axis]), axis)
    if array.ndim != 1 or len(array) != shape[axis]:
        raise call.error(f"{call.op} has {array.shape} scales or zero points along dimension {axis} of {shape}")
    return np.broadcast_to(array.reshape([-1 if i == axis else 1 for i in range(len(shape))]), shape)


@onnx_operator("QuantizeLinear")
@onnx_operator("QuantizeLinear", domain=MICROSOFT)
def quantize_linear(call: Call) -> Codes:
    """Rounding to integers."""
    return rounded(call, call.value(0), *parameters(call, 1, 2))


@onnx_operator("DequantizeLinear")
@onnx_operator("DequantizeLinear", domain=MICROSOFT)
def dequantize_linear(call: Call) -> Any:
    """Real values again: those that integers stand for, or constants with scales."""
    if isinstance(call.get(0), Array):
        return dequantized(call, 0, 1, 2)
    return codes(call, 0, 1, 2)


DYNAMIC = (
    "dynamic quantization, whose scales depend on the data; quantize the model statically "
    "(onnxruntime.quantization.quantize_static), or give the float model"
)
REFUSED.update(dict.fromkeys(("DynamicQuantizeLinear", "MatMulInteger", "ConvInteger"), DYNAMIC))
