"""Operators: fake quantization, as quantization-aware training leaves it."""

from __future__ import annotations

from typing import Any

import torch

from mapper.fake_quantize import quantized
from mapper.graph import FakeQuantize, Quantized
from mapper.import_builder import Builder
from mapper.import_registry import activation, operator, pointwise
from mapper.import_values import Activation, Constant


@operator("fake_quantize_per_tensor_affine")
def per_tensor(
    builder: Builder, x: Any, scale: Any, zero_point: Any, quant_min: int, quant_max: int, **_: Any
) -> Activation | Constant:
    """Rounding to equally spaced levels: it says how an activation is quantized; weights are rounded right away."""
    if isinstance(x, Constant):
        scales, zeros = (torch.as_tensor(_plain(v)).reshape(1) for v in (scale, zero_point))
        flat = _round(x.data.reshape(1, -1), scales, zeros, quant_min, quant_max)
        return Constant(x.name, flat.reshape(x.data.shape), scales.double().expand(x.data.shape))
    levels = per_tensor_levels(builder, scale, zero_point, quant_min, quant_max)
    return pointwise(builder, FakeQuantize, activation(builder, x, "fake quantization"), levels=levels)


def per_tensor_levels(builder: Builder, scale: Any, zero_point: Any, least: int, most: int) -> Quantized:
    """Levels with constant parameters."""
    try:
        return quantized(number(scale), int(number(zero_point)), least, most)
    except (ValueError, TypeError) as error:
        reason = f"fake quantization to {error} is not supported; 2 to 16 bits with constant scales are"
        raise builder.error(reason) from error


@operator("fake_quantize_per_tensor_affine_cachemask", "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams")
def per_tensor_with_mask(builder: Builder, **arguments: Any) -> tuple[Any, None]:
    """The same with a mask that only training reads."""
    return per_tensor(builder, **arguments), None


@operator("fake_quantize_per_channel_affine")
def per_channel(
    builder: Builder, x: Any, scale: Any, zero_point: Any, axis: int, quant_min: int, quant_max: int, **_: Any
) -> Constant:
    """Rounding of weights, with a scale per output channel."""
    if not (isinstance(x, Constant) and isinstance(scale, Constant) and isinstance(zero_point, Constant)):
        raise builder.error("fake quantization per channel is supported for constant weights and scales only")
    moved = x.data.movedim(axis, 0)
    flat = moved.reshape(len(moved), -1)
    rounded = _round(flat, scale.data, zero_point.data, quant_min, quant_max)
    steps = scale.data.double()[:, None].expand(flat.shape)
    return Constant(x.name, *(part.reshape(moved.shape).movedim(0, axis) for part in (rounded, steps)))


@operator("fake_quantize_per_channel_affine_cachemask")
def per_channel_with_mask(builder: Builder, **arguments: Any) -> tuple[Any, None]:
    """The same with a mask that only training reads."""
    return per_channel(builder, **arguments), None


def _round(x: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor, least: int, most: int) -> torch.Tensor:
    """Rows on their levels; in double precision, so that integers come out as such."""
    step, origin = scale.double()[:, None], zero.double()[:, None]
    codes = (torch.round(x.double() / step) + origin).clamp(least, most)
    return ((codes - origin) * step).to(x.dtype)


def _plain(value: Any) -> Any:
    return value.data if isinstance(value, Constant) else value


def number(value: Any) -> float:
    """A constant scalar. Raises ``TypeError`` for computed ones."""
    return float(torch.as_tensor(_plain(value)).reshape(()))


def parameters(builder: Builder, value: Any) -> torch.Tensor:
    """A constant tensor of scales or zero points."""
    if not isinstance(value, Constant):
        raise builder.error("quantization per channel is supported with constant scales only")
    return value.data
