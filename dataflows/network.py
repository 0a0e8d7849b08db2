"""The quantized network: plain data that the mapper writes, and mapper and golden model read.

It holds integers and scales only.  How scales become multipliers and shifts is written down in
``docs/numerics.md`` and implemented twice, once by the golden model and once by the mapper.

Tensors are NHWC (a vector is N x 1 x 1 x C), signed, real value = scale * (q - zero). Each tensor and the weights of
each layer have their own width of 1 to 8 bits, or all of them have 16.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dataflows.formats import ACC_BITS, container, pitch

Codes = NDArray[np.signedinteger[Any]]
"""Quantized values: int8, or int16 where they are wider."""


@dataclass(frozen=True)
class Tensor:
    """An activation: name, shape (N, H, W, C), float32 scale, zero point (any value of its type), width in bits.

    One-bit elements are +1 and -1, and their zero point is 0; ``ternary`` ones, of two bits, are -1, 0 and +1
    (``docs/numerics.md``, section 8).
    """

    name: str
    shape: tuple[int, int, int, int]
    scale: float
    zero: int
    bits: int = 8
    ternary: bool = False

    @property
    def size(self) -> int:
        """Elements."""
        n, h, w, c = self.shape
        return n * h * w * c

    @property
    def container(self) -> int:
        """Bits of an element in memory."""
        return container(self.bits)

    @property
    def pitch(self) -> int:
        """Bytes from pixel to pixel: its channels, rounded up to whole bytes."""
        return pitch(self.shape[3], self.bits)

    @property
    def bytes(self) -> int:
        """Bytes in memory."""
        n, h, w, _ = self.shape
        return n * h * w * self.pitch

    @property
    def dtype(self) -> np.dtype[np.signedinteger[Any]]:
        """Type of an element."""
        return np.dtype(f"i{max(8, self.container) // 8}")

    @property
    def lowest(self) -> int:
        """Smallest value of an element."""
        return -1 if self.ternary else -(1 << self.bits - 1)

    @property
    def highest(self) -> int:
        """Largest value of an element."""
        return 1 if self.bits == 1 else (1 << self.bits - 1) - 1

    @property
    def acc_bits(self) -> int:
        """Width of accumulators of what is computed from this tensor."""
        return ACC_BITS[self.bits]


@dataclass(frozen=True)
class Window:
    """Sliding window: sizes as (rows, columns); padding as (top, left, bottom, right)."""

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the result (padding already includes what ceil_mode adds)."""
        top, left, bottom, right = self.padding
        return (
            (height + top + bottom - self.dilation[0] * (self.kernel[0] - 1) - 1) // self.stride[0] + 1,
            (width + left + right - self.dilation[1] * (self.kernel[1] - 1) - 1) // self.stride[1] + 1,
        )


@dataclass(frozen=True)
class Layer:
    """Base of all layers. ``low``/``high`` clamp the result: the range of its type, or tighter for an activation."""

    op: ClassVar[str] = ""
    name: str
    inputs: tuple[str, ...]
    output: str
    low: int = -128
    high: int = 127

    def macs(self, tensors: Mapping[str, Tensor]) -> int:
        """Dense multiply-accumulates (0 for layers without products)."""
        return 0


@dataclass(frozen=True)
class Conv(Layer):
    """Convolution, and linear layers as 1x1 convolutions on N x 1 x 1 x C.

    ``acc = bias + sum(w * (x - x_zero))``; padding elements equal the zero point of the input.

    Attributes
    ----------
    weight : int8 or int16 array (out channels, in channels / groups, kernel rows, kernel columns)
    weight_scale : float32 array (out channels,)
    bias : int32 or (48 bits) int64 array (out channels,), in units of input scale * weight scale
    weight_bits : width of the weights, which fit it; one-bit weights are +1 and -1
    """

    op: ClassVar[str] = "conv"
    weight: Codes = field(default_factory=lambda: np.zeros((1, 1, 1, 1), np.int8))
    weight_scale: NDArray[np.float32] = field(default_factory=lambda: np.ones(1, np.float32))
    bias: Codes = field(default_factory=lambda: np.zeros(1, np.int32))
    window: Window = Window()
    groups: int = 1
    weight_bits: int = 8

    def macs(self, tensors: Mapping[str, Tensor]) -> int:
        """Every output pixel takes each weight once."""
        n, h, w, _ = tensors[self.output].shape
        return n * h * w * self.weight.size


@dataclass(frozen=True)
class MaxPool(Layer):
    """Maximum over windows; padding never wins. Output scale and zero point equal the input's."""

    op: ClassVar[str] = "max_pool"
    window: Window = Window()


@dataclass(frozen=True)
class AvgPool(Layer):
    """Mean over windows. Global pooling is a window of the whole map.

    ``divisors`` (output rows, output columns) holds what each window's sum is divided by, exactly as
    the framework counts borders; padding contributes the real value zero.
    """

    op: ClassVar[str] = "avg_pool"
    window: Window = Window()
    divisors: NDArray[np.int32] = field(default_factory=lambda: np.ones((1, 1), np.int32))


@dataclass(frozen=True)
class Add(Layer):
    """Element-wise sum of two tensors of equal shape (they may be the same tensor)."""

    op: ClassVar[str] = "add"


@dataclass(frozen=True)
class Concat(Layer):
    """Channels of all inputs one after the other, each requantized to the output's scale; with ``axis`` 2 columns,
    which are the tokens of sequences."""

    op: ClassVar[str] = "concat"
    axis: int = 3


@dataclass(frozen=True)
class Reshape(Layer):
    """Flatten N x H x W x C to N x 1 x 1 x (H*W*C), or to a sequence N x 1 x (H*W) x C.

    NHWC bytes, scale and zero are unchanged.

    A model's flatten is in NCHW order; the importer permutes the weights of what follows.  Where the
    flattened tensor is an output of the network, ``Network.output_order`` says how to permute it back.
    """

    op: ClassVar[str] = "reshape"


@dataclass(frozen=True)
class Network:
    """Layers in execution order, every tensor by name, graph inputs and outputs.

    ``output_order`` maps an output's name to the index array that turns its flat NHWC vector into the
    order of the original model, where that differs. ``caches`` are tensors that keep their value from run to run
    (``docs/numerics.md``, section 11); they are outputs of layers. ``input_range`` has the smallest and largest integer
    of inputs whose samples are to be clamped to less than what their width holds.
    """

    name: str
    tensors: dict[str, Tensor]
    layers: tuple[Layer, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    output_order: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    caches: tuple[str, ...] = ()
    input_range: dict[str, tuple[int, int]] = field(default_factory=dict)

    def macs(self, layer: Layer) -> int:
        """Dense multiply-accumulates of a layer (0 for layers without products)."""
        return layer.macs(self.tensors)
