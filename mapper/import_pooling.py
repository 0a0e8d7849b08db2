"""Operators: pooling."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from dataflows.network import Window
from mapper.graph import AvgPool, MaxPool
from mapper.import_builder import Builder
from mapper.import_parts import rows
from mapper.import_registry import activation, operator, windowed
from mapper.import_values import Activation
from mapper.import_views import viewed
from mapper.import_windows import adaptive_window, divisors, pair, pool_window
from mapper.simplify import always_hits


@operator("max_pool2d")
def max_pool2d(
    builder: Builder,
    x: Any,
    kernel_size: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Activation:
    """Max pooling."""
    x = activation(builder, x, "max_pool2d", 4)
    kernel, size = pair(kernel_size), (x.shape[2], x.shape[3])
    window = pool_window(kernel, pair(stride) if stride else kernel, pair(padding), pair(dilation), ceil_mode, size)
    if not always_hits(window, *size):
        raise builder.error(f"a window of max_pool2d covers nothing but padding (map {size}, {window})")
    return windowed(builder, MaxPool, x, x.shape[1], window)


@operator("max_pool2d_with_indices")
def max_pool2d_with_indices(builder: Builder, **arguments: Any) -> tuple[Any, None]:
    """Max pooling whose indices nobody reads."""
    return max_pool2d(builder, **arguments), None


@operator("avg_pool2d")
def avg_pool2d(
    builder: Builder,
    x: Any,
    kernel_size: Any,
    stride: Any = (),
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Activation:
    """Average pooling."""
    x = activation(builder, x, "avg_pool2d", 4)
    kernel, size = pair(kernel_size), (x.shape[2], x.shape[3])
    window = pool_window(kernel, pair(stride) if stride else kernel, pair(padding), (1, 1), ceil_mode, size)
    by = divisors(window, size, pair(padding), count_include_pad)
    if divisor_override is not None:
        if divisor_override < 1:
            raise builder.error(f"divisor_override of avg_pool2d must be at least 1, not {divisor_override}")
        by = np.full_like(by, divisor_override)
    return windowed(builder, AvgPool, x, x.shape[1], window, divisors=by)


def _adaptive(builder: Builder, x: Activation, output_size: Any, op: str) -> Window:
    size = (x.shape[2], x.shape[3])
    wanted = [output_size] * 2 if isinstance(output_size, int) else list(output_size)
    output = tuple(s if o is None else int(o) for o, s in zip(wanted, size, strict=True))
    window = adaptive_window(size, (output[0], output[1]))
    if window is None:
        raise builder.error(
            f"{op} from {size} to {output} has windows of different sizes; choose an output size that divides the map"
        )
    return window


@operator("adaptive_avg_pool2d", "_adaptive_avg_pool2d")
def adaptive_avg_pool2d(builder: Builder, x: Any, output_size: Any) -> Activation:
    """Adaptive average pooling with windows that are all alike."""
    x = activation(builder, x, "adaptive_avg_pool2d", 4)
    window = _adaptive(builder, x, output_size, "adaptive_avg_pool2d")
    return _mean(builder, x, window)


@operator("adaptive_max_pool2d")
def adaptive_max_pool2d(builder: Builder, x: Any, output_size: Any) -> tuple[Activation, None]:
    """Adaptive max pooling with windows that are all alike; nobody reads the indices."""
    x = activation(builder, x, "adaptive_max_pool2d", 4)
    return windowed(builder, MaxPool, x, x.shape[1], _adaptive(builder, x, output_size, "adaptive_max_pool2d")), None


def _mean(builder: Builder, x: Activation, window: Window) -> Activation:
    size = (x.shape[2], x.shape[3])
    return windowed(builder, AvgPool, x, x.shape[1], window, divisors=divisors(window, size, (0, 0), True))


@operator("mean")
def mean(builder: Builder, x: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Activation:
    """Mean over rows, columns or both, or over all tokens of a sequence."""
    x = activation(builder, x, "mean")
    if x.index is not None and len(x.shape) == 3:
        return _over_tokens(builder, x, [dim] if isinstance(dim, int) else list(dim or ()), keepdim)
    x = activation(builder, x, "mean", 4)
    axes = {int(d) % 4 for d in ([dim] if isinstance(dim, int) else dim or range(4))}
    if not axes <= {2, 3} or (len(axes) == 1 and not keepdim):
        raise builder.error(f"mean over dimensions {sorted(axes)} is not supported; only over 2 and 3, the map")
    kernel = tuple(x.shape[axis] if axis in axes else 1 for axis in (2, 3))
    result = _mean(builder, x, Window((kernel[0], kernel[1])))
    return result if keepdim else builder.view(result, x.shape[:2])


def _over_tokens(builder: Builder, x: Activation, axes: list[int], keepdim: bool) -> Activation:
    """Mean of a sequence (N, L, C) over L."""
    if [axis % 3 for axis in axes] != [1]:
        raise builder.error(f"mean of sequences {x.shape} over dimensions {axes} is not supported; only over tokens, 1")
    tensor, where = rows(builder, x, "mean")
    n, c, h, w = builder.shape(tensor)
    if not torch.equal(where, torch.arange(n * h * w).reshape(x.shape[:2])):
        raise builder.error(f"mean over dimension 1 of {x.shape}, which are not tokens of a sample, is not supported")
    result = builder.view(_mean(builder, tensor, Window((h, w))), (n, c))
    return viewed(builder, result, lambda places: places.reshape(n, 1, c)) if keepdim else result
