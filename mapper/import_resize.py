"""Operators: maps that grow, by nearest neighbours or by transposed convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np

from dataflows.network import Window
from mapper.graph import Conv
from mapper.graph_operators import Spread, Upsample
from mapper.import_builder import Builder
from mapper.import_registry import activation, floats, operator, windowed
from mapper.import_values import Activation
from mapper.import_windows import pair


@operator("upsample_nearest2d", "_upsample_nearest_exact2d", "upsample_nearest_exact2d")
def upsample(
    builder: Builder, x: Any, output_size: Any = None, scale_factors: Any = None, scales_h: Any = None,
    scales_w: Any = None,
) -> Activation:  # fmt: skip
    """Nearest neighbours by whole factors."""
    source = activation(builder, x, "upsample_nearest2d", 4)
    n, c, h, w = source.shape
    if output_size is None:
        output_size = [int(size * scale) for size, scale in zip((h, w), scale_factors, strict=True)]
    height, width = (int(size) for size in output_size)
    if height % h or width % w:
        raise builder.error(
            f"upsampling from {(h, w)} to {(height, width)} is not supported; "
            "rows and columns must grow by whole factors"
        )
    if (height, width) == (h, w):
        return source
    return builder.add(Upsample, [source], (n, c, height, width), factor=(height // h, width // w))


@operator("upsample_bilinear2d", "upsample_bicubic2d", "_upsample_bilinear2d_aa", refused=True)
def interpolated(builder: Builder, **_: Any) -> Activation:
    """Interpolation, which is refused."""
    raise builder.error("upsampling is supported by nearest neighbours only (mode='nearest')")


@operator("conv_transpose2d")
def transposed_convolution(
    builder: Builder, x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1, **_: Any,
) -> Activation:  # fmt: skip
    """Transposed convolution with constant weights: a convolution of pixels that are spread apart."""
    x = activation(builder, x, "conv_transpose2d", 4)
    values = floats(builder, weight, "conv_transpose2d")
    if values.ndim != 4 or x.shape[1] != values.shape[0] or values.shape[0] % groups:
        raise builder.error(f"weights {values.shape} in {groups} group(s) do not fit an input of shape {x.shape}")
    n, c, h, w = x.shape
    steps, apart, less, more = pair(stride), pair(dilation), pair(padding), pair(output_padding)
    kernel = values.shape[2], values.shape[3]
    reach = [d * (k - 1) - p for d, k, p in zip(apart, kernel, less, strict=True)]
    if min(reach) < 0:
        raise builder.error(f"padding {less} of a transposed convolution with kernel {kernel} cuts into its result")
    if steps != (1, 1):
        size = (h - 1) * steps[0] + 1, (w - 1) * steps[1] + 1
        x = builder.add(Spread, [x], (n, c, *size), f"{builder.title('conv')}.spread", stride=steps)
    # (C, O / groups, ...) -> (O, C / groups, ...), the kernel turned around
    turned = values.reshape(groups, c // groups, *values.shape[1:]).transpose(0, 2, 1, 3, 4)[..., ::-1, ::-1]
    turned = np.ascontiguousarray(turned.reshape(-1, c // groups, *kernel))
    shift = np.zeros(len(turned), np.float32) if bias is None else floats(builder, bias, "conv_transpose2d")
    around = reach[0], reach[1], reach[0] + more[0], reach[1] + more[1]
    window = Window(kernel, (1, 1), around, apart)
    return windowed(builder, Conv, x, len(turned), window, weight=turned, bias=shift, groups=groups)
