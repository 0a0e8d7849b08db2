"""Operators of models that PyTorch's PT2E quantization made: ``quantized_decomposed``.

An activation is quantized and dequantized at once, which is rounding to levels; weights lie in the file as integers.
Scales and zero points of both are kept as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from mapper.graph import FakeQuantize, Quantized
from mapper.import_builder import Builder
from mapper.import_quantize import number, parameters, per_tensor_levels
from mapper.import_registry import operator, pointwise
from mapper.import_values import Activation, Constant, Rounded

SPACE = "quantized_decomposed"


@dataclass(frozen=True)
class _Scaled:
    """Integers ``q`` stand for ``scale * (q - zero)``; both have one element, or one for each index of an axis."""

    scale: torch.Tensor
    zero: torch.Tensor

    def integers(self, x: torch.Tensor, least: int, most: int, dtype: torch.dtype) -> torch.Tensor:
        return (torch.round(x.double() / self.scale) + self.zero).clamp(least, most).to(dtype)

    def floats(self, name: str, codes: torch.Tensor) -> Constant:
        data = ((codes.double() - self.zero) * self.scale).float()
        return Constant(name, data, self.scale.expand(codes.shape))


@operator(f"{SPACE}.quantize_per_tensor")
def quantize_per_tensor(
    builder: Builder, x: Any, scale: Any, zero_point: Any, quant_min: Any, quant_max: Any, dtype: Any, **_: Any
) -> Rounded | Constant:
    """Rounding of an activation to levels, or of a constant to integers."""
    least, most = int(number(quant_min)), int(number(quant_max))
    if isinstance(x, Constant):
        return Constant(x.name, _whole(scale, zero_point).integers(x.data, least, most, dtype))
    levels = per_tensor_levels(builder, scale, zero_point, least, most)
    if isinstance(x, Rounded):
        raise builder.error("quantize_per_tensor takes what is quantized already; dequantize it before")
    result = pointwise(builder, FakeQuantize, x, levels=levels)
    return Rounded(result.name, result.shape, index=result.index, levels=levels)


@operator(f"{SPACE}.dequantize_per_tensor")
def dequantize_per_tensor(
    builder: Builder, x: Any, scale: Any, zero_point: Any, quant_min: Any, quant_max: Any, **_: Any
) -> Activation | Constant:
    """The way back from integers, which has to have the scale and zero point of the way there."""
    if isinstance(x, Constant):
        return _whole(scale, zero_point).floats(x.name, x.data)
    levels = per_tensor_levels(builder, scale, zero_point, int(number(quant_min)), int(number(quant_max)))
    if not isinstance(x, Rounded) or x.levels is None:
        raise builder.error("dequantize_per_tensor takes integers that no quantize_per_tensor has made")
    if not _same(x.levels, levels):
        raise builder.error(
            f"a tensor is quantized with scale {x.levels.scale:g} and dequantized with {levels.scale:g}, or with other "
            "zero points or limits; that is not supported"
        )
    return Activation(x.name, x.shape, x.storage, x.index)


@operator(f"{SPACE}.quantize_per_channel")
def quantize_per_channel(
    builder: Builder, x: Any, scales: Any, zero_points: Any, axis: int, quant_min: int, quant_max: int, dtype: Any
) -> Constant:
    """Rounding of weights to integers, with a scale per index of an axis."""
    x, scaled = _channels(builder, x, scales, zero_points, axis)
    return Constant(x.name, scaled.integers(x.data, quant_min, quant_max, dtype))


@operator(f"{SPACE}.dequantize_per_channel")
def dequantize_per_channel(
    builder: Builder, x: Any, scales: Any, zero_points: Any, axis: int, quant_min: int, quant_max: int, **_: Any
) -> Constant:
    """Weights from integers, with a scale per index of an axis."""
    x, scaled = _channels(builder, x, scales, zero_points, axis)
    return scaled.floats(x.name, x.data)


@operator(f"{SPACE}.choose_qparams", f"{SPACE}.choose_qparams_symmetric", f"{SPACE}.choose_qparams_per_token")
def choose(builder: Builder, **_: Any) -> Any:
    """Scales that are chosen while the model runs: refused."""
    raise builder.error(
        "dynamic quantization is not supported: scales have to be in the file; quantize with is_dynamic=False"
    )


def _whole(scale: Any, zero: Any) -> _Scaled:
    return _Scaled(torch.tensor(number(scale), dtype=torch.float64), torch.tensor(number(zero), dtype=torch.float64))


def _channels(builder: Builder, x: Any, scales: Any, zeros: Any, axis: int) -> tuple[Constant, _Scaled]:
    if not isinstance(x, Constant):
        raise builder.error("quantization per channel is supported for constant weights only, not for activations")
    found = [parameters(builder, v).double().reshape(-1) for v in (scales, zeros) if v is not None]
    found += [torch.zeros_like(found[0])] if zeros is None else []
    if any(len(v) != x.data.shape[axis] for v in found):
        raise builder.error(f"{len(found[0])} scales do not fit axis {axis} of weights {tuple(x.data.shape)}")
    shape = [1] * x.data.ndim
    shape[axis] = -1
    return x, _Scaled(*(v.reshape(shape) for v in found))


def _same(a: Quantized, b: Quantized) -> bool:
    return replace(a, bits=0) == replace(b, bits=0)
