"""QONNX: quantization of any number of bits as nodes on real values (Quant, BipolarQuant, Trunc).

Brevitas and QKeras write it. ``Quant`` is ``scale * (round(clamp(x / scale + zero)) - zero)``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mapper.fake_quantize import quantized
from mapper.graph import FakeQuantize
from mapper.import_registry import pointwise
from mapper.import_values import Activation, Constant
from mapper.onnx_registry import Call, onnx_operator
from mapper.onnx_values import Array

DOMAINS = ("qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas")
"""What the domain has been called over time."""


def limits(call: Call, bits: int) -> tuple[int, int]:
    """Smallest and largest integer, from ``signed`` and ``narrow``."""
    narrow = int(call.attribute("narrow", 0))
    if call.attribute("signed", 1):
        return -(1 << bits - 1) + narrow, (1 << bits - 1) - 1
    return 0, (1 << bits) - 1 - narrow


def bit_width(call: Call, index: int) -> int:
    """A number of bits, which is an input."""
    found = call.number(index, "bit width")
    if found != int(found) or not 1 <= found <= 32:
        raise call.error(f"{call.op} has a bit width of {found:g}; whole numbers from 1 to 32 are possible")
    return int(found)


def _rounding(call: Call) -> str:
    return str(call.attribute("rounding_mode", "ROUND")).upper()


def quant(call: Call) -> Any:
    """Quantization: x, scale, zero point, bit width."""
    bits = bit_width(call, 3)
    if bits == 1 and call.attribute("signed", 1):
        return bipolar(call)
    if _rounding(call) != "ROUND":
        raise call.error(f"{call.op} with rounding mode {_rounding(call)} is not supported; only ROUND is")
    least, most = limits(call, bits)
    if isinstance(call.get(0), Array | Constant):
        return _constant(call, least, most)
    scale, zero = call.number(1, "scale per tensor"), call.number(2, "zero point per tensor")
    x = call.value(0)
    if not isinstance(x, Activation):
        raise call.error(f"{call.op} needs a tensor computed from the model's inputs, or a constant")
    try:
        levels = quantized(scale, int(zero), least, most)
    except ValueError as error:
        raise call.error(f"{call.op} to {error} is not supported; 2 to 16 bits are") from error
    return pointwise(call.builder, FakeQuantize, x, levels=levels)


def _constant(call: Call, least: int, most: int) -> Constant:
    """Weights on their levels."""
    found = call.get(0)
    values = call.array(0, "weights").astype(np.float64)
    scale, zero = (call.array(i, what).astype(np.float64) for i, what in ((1, "scale"), (2, "zero point")))
    if not (scale > 0).all():
        raise call.error(f"{call.op} has scales that are not positive")
    integers = np.clip(np.rint(values / scale + zero), least, most) - zero
    steps = np.broadcast_to(scale, values.shape).astype(np.float32)
    data = (integers * scale).astype(np.float32)
    # 17 bits and more are those of biases, which have the scale of the accumulator anyway.
    return Constant(found.name, torch.from_numpy(data), torch.from_numpy(steps) if most - least < 1 << 16 else None)


def bipolar(call: Call) -> Any:
    """+1 or -1 times a scale: x, scale."""
    scale = call.array(1, "scale").astype(np.float64)
    if isinstance(call.get(0), Array | Constant):
        values = call.array(0, "weights")
        data = (np.where(values >= 0, 1.0, -1.0) * scale).astype(np.float32)
        steps = np.broadcast_to(scale, data.shape).astype(np.float32)
        return Constant(call.get(0).name, torch.from_numpy(data), torch.from_numpy(steps))
    result = call.run("sign", self=call.value(0))
    factor = call.number(1, "scale per tensor")
    return result if factor == 1 else call.run("mul", self=result, other=factor)


def trunc(call: Call) -> Any:
    """Lower bits dropped: x, scale, zero point, bits before, bits after; version 2 has scale and zero after, too.

    ``floor(n / 2**s)`` of whole numbers n is ``round((n - 2**(s-1) + 1/2) / 2**s)``, without ties.
    """
    scale, zero = call.number(1, "scale per tensor"), call.number(2, "zero point per tensor")
    second = len(call) > 5
    if second:
        after, bits = call.number(4, "scale per tensor"), bit_width(call, 6)
        shift = round(float(np.log2(after / scale)))
    else:
        shift, bits, after = bit_width(call, 3) - bit_width(call, 4), bit_width(call, 4), scale
    mode = str(call.attribute("rounding_mode", "FLOOR")).upper()
    if zero or shift < 0 or mode not in ("FLOOR", "ROUND"):
        raise call.error(
            f"{call.op} by {shift} bits with zero point {zero:g} and rounding mode {mode} is not supported; only zero "
            "point 0, fewer bits than before, and FLOOR or ROUND are"
        )
    least, most = limits(call, bits)
    x = call.value(0)
    factor = after / (scale * (1 << shift))
    down = (0.5 - 0.5 / (1 << shift)) * after if mode == "FLOOR" else 0.0
    if factor != 1:
        x = call.run("mul", self=x, other=factor)
    if down:
        x = call.run("sub", self=x, other=down)
    return pointwise(call.builder, FakeQuantize, x, levels=quantized(after, 0, least, most))


for _domain in DOMAINS:
    onnx_operator("Quant", "IntQuant", domain=_domain)(quant)
    onnx_operator("BipolarQuant", domain=_domain)(bipolar)
    onnx_operator("Trunc", domain=_domain)(trunc)
