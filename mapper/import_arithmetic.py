"""Operators: convolutions, arithmetic with constants, activations."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from dataflows.network import Window
from mapper.graph import Add, Affine, Clamp, Conv, Sign
from mapper.graph_attention import Constant as Fixed
from mapper.import_builder import Builder
from mapper.import_constants import alike, in_a_row, spread
from mapper.import_parts import whole
from mapper.import_registry import activation, floats, operator, pointwise, windowed
from mapper.import_resize import transposed_convolution
from mapper.import_values import Activation
from mapper.import_windows import pair, same_padding
from mapper.normals import Normal


@operator("conv2d", "convolution", "_convolution", "_convolution_mode")
def conv2d(
    builder: Builder,
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    transposed: bool = False,
    **_: Any,
) -> Activation:
    """Convolution with constant weights."""
    if transposed:
        return transposed_convolution(builder, x, weight, bias, stride, padding, groups=groups, dilation=dilation, **_)
    x = activation(builder, x, "conv2d", 4)
    values = floats(builder, weight, "conv2d")
    if values.ndim != 4 or x.shape[1] != values.shape[1] * groups or values.shape[0] % groups:
        raise builder.error(f"weights {values.shape} in {groups} group(s) do not fit an input of shape {x.shape}")
    kernel, spread = (values.shape[2], values.shape[3]), pair(dilation)
    if padding == "same":
        around = same_padding(kernel, spread)
    else:
        top, left = (0, 0) if padding == "valid" else pair(padding)
        around = (top, left, top, left)
    shift = np.zeros(len(values), np.float32) if bias is None else floats(builder, bias, "conv2d")
    window = Window(kernel, pair(stride), around, spread)
    fields = {"weight": values, "bias": shift, "groups": groups, "steps": weight.row_steps()}
    return windowed(builder, Conv, x, len(values), window, **fields)


@operator("batch_norm")
def batch_norm(
    builder: Builder,
    x: Any,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    training: bool = False,
    eps: float = 1e-5,
    **_: Any,
) -> Any:
    """Batch normalization with running statistics."""
    x = activation(builder, x, "batch_norm")
    if training or running_mean is None or running_var is None:
        raise builder.error("batch_norm uses the statistics of the batch; call model.eval() before exporting")
    mean, var = (floats(builder, v, "batch_norm").astype(np.float64) for v in (running_mean, running_var))
    gain = np.ones_like(mean) if weight is None else floats(builder, weight, "batch_norm")
    offset = np.zeros_like(mean) if bias is None else floats(builder, bias, "batch_norm")
    if (var + eps <= 0).any():
        raise builder.error("batch_norm has a running variance that is not positive; mend or retrain the model")
    scale = gain / np.sqrt(var + eps)
    normal = Normal(offset.astype(np.float64), np.abs(scale) * np.sqrt(np.maximum(var, 0)))
    return affine(builder, x, scale, offset - mean * scale, normal)


@operator("_native_batch_norm_legit_no_training", "native_batch_norm")
def native_batch_norm(builder: Builder, **arguments: Any) -> tuple[Any, None, None]:
    """Batch normalization whose batch statistics nobody reads."""
    return batch_norm(builder, **arguments), None, None


def affine(builder: Builder, x: Activation, scale: Any, shift: Any, normal: Normal | None = None) -> Activation:
    """``x * scale + shift``, each a scalar or one value per channel; ``normal``: how it is known to be distributed."""
    x = whole(builder, x)
    both = [np.broadcast_to(np.asarray(v, np.float32), (builder.shape(x)[1],)).copy() for v in (scale, shift)]
    return pointwise(builder, Affine, x, scale=both[0], shift=both[1], normal=normal)


def per_channel(builder: Builder, x: Activation, value: Any, op: str) -> Any:
    """A constant operand as a float or as one value per channel."""
    found = spread(builder, x, value, op)
    if not isinstance(found, float) and found.shape[2:] != (1, 1):
        raise builder.error(
            f"{op} with a constant of shape {tuple(value.data.shape)} is not supported on shape {x.shape}; "
            "the constant must be a scalar or one value per channel"
        )
    return found if isinstance(found, float) else found.reshape(-1)


@operator("add")
def add(builder: Builder, x: Any, other: Any, alpha: float = 1) -> Activation:
    """Sum of two activations of equal shape, or with a constant."""
    if not isinstance(x, Activation):
        if alpha != 1:
            raise builder.error("add with alpha other than 1 is not supported here")
        x, other = other, x
    x = activation(builder, x, "add")
    if not isinstance(other, Activation):
        return _shifted(builder, x, other, alpha)
    other = activation(builder, other, "add")
    if alpha != 1:
        raise builder.error(f"add of two tensors is supported with alpha 1 only, not {alpha}")
    if x.shape != other.shape:
        raise builder.error(f"add is supported for tensors of equal shape, not {x.shape} and {other.shape}")
    x, other = alike(builder, x, other, "add")
    result = builder.add(Add, [x, other], builder.shape(x))
    return Activation(result.name, x.shape, index=x.index)


def _shifted(builder: Builder, x: Activation, other: Any, factor: float) -> Activation:
    """``x`` and ``factor`` times a constant, which may differ from pixel to pixel."""
    x = whole(builder, x)
    if x.index is not None and len(x.shape) == 3:
        x = in_a_row(builder, x)
    found = spread(builder, x, other, "add")
    if isinstance(found, float) or found.shape[2:] == (1, 1):
        return affine(builder, x, 1.0, factor * (found if isinstance(found, float) else found.reshape(-1)))
    held = builder.shape(x)
    value = builder.add(Fixed, [], held, value=np.broadcast_to(np.float32(factor) * found, (1, *held[1:])).copy())
    result = builder.add(Add, [x, value], held)
    return Activation(result.name, x.shape, index=x.index)


@operator("sub")
def sub(builder: Builder, x: Any, other: Any, alpha: float = 1) -> Activation:
    """Difference of two activations of equal shape, or of one and a constant."""
    return _sub(builder, x, other, alpha)


def _sub(builder: Builder, x: Any, other: Any, alpha: float) -> Activation:
    if isinstance(x, Activation) and not isinstance(other, Activation):
        return _shifted(builder, activation(builder, x, "sub"), other, -alpha)
    other = activation(builder, other, "sub")
    if isinstance(x, Activation):
        return add(builder, x, affine(builder, other, -alpha, 0.0))
    return affine(builder, other, -alpha, per_channel(builder, other, x, "sub"))


@operator("rsub")
def rsub(builder: Builder, x: Any, other: Any, alpha: float = 1) -> Activation:
    """``other - alpha * x`` with a constant."""
    return _sub(builder, other, x, alpha)


@operator("div")
def div(builder: Builder, x: Any, other: Any, rounding_mode: Any = None) -> Activation:
    """Quotient of an activation by a constant."""
    if not isinstance(x, Activation) or isinstance(other, Activation) or rounding_mode is not None:
        raise builder.error("div is supported for a tensor divided by a constant, without rounding, only")
    x = activation(builder, x, "div")
    divisor = np.asarray(per_channel(builder, x, other, "div"))
    if (divisor == 0).any():
        raise builder.error("div by a constant that is zero")
    return affine(builder, x, 1.0 / divisor, 0.0)


def clamped(builder: Builder, x: Any, low: Any, high: Any) -> Activation:
    """A clamp; None for a bound that there is none."""
    x = activation(builder, x, "clamp")
    low, high = -inf if low is None else low, inf if high is None else high
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        raise builder.error("clamp is supported with scalar bounds only")
    if not low <= high:
        raise builder.error(f"clamp needs a lower bound that is not above the upper one, not {low} and {high}")
    return pointwise(builder, Clamp, x, low=float(low), high=float(high))


@operator("sign")
def sign(builder: Builder, x: Any) -> Activation:
    """Sign; zero counts as positive."""
    x = activation(builder, x, "sign")
    return pointwise(builder, Sign, x, sign=True)


@operator("neg", "negative")
def neg(builder: Builder, x: Any) -> Activation:
    """Minus an activation."""
    return affine(builder, activation(builder, x, "neg"), -1.0, 0.0)


@operator("relu")
def relu(builder: Builder, x: Any) -> Activation:
    """ReLU."""
    return clamped(builder, x, 0.0, inf)


@operator("relu6")
def relu6(builder: Builder, x: Any) -> Activation:
    """ReLU6."""
    return clamped(builder, x, 0.0, 6.0)


@operator("hardtanh")
def hardtanh(builder: Builder, x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Activation:
    """Hardtanh."""
    return clamped(builder, x, min_val, max_val)


@operator("clamp", "clamp_min", "clamp_max", "clip")
def clamp(builder: Builder, x: Any, min: Any = None, max: Any = None) -> Activation:
    """Clamp with one or two bounds."""
    return clamped(builder, x, min, max)
