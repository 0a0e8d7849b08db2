"""The float graph: what an imported model is before quantization.

Shapes are (N, C, H, W); a matrix of N x F is held as (N, F, 1, 1).  Weights are float32.  Every node has one
output and clamps it to ``low``..``high`` (infinite where there is no activation).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import inf, prod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dataflows.network import Window
from mapper.normals import Normal

Shape = tuple[int, int, int, int]
Floats = NDArray[np.float32]

WHOLE = Window()
"""The window of one element."""


@dataclass(frozen=True)
class Node:
    """Base of all nodes: unique name, input tensors, output tensor, clamp, and where the model has it.

    With ``sign`` the result is +1 where it would not be negative, else -1; there is no clamp then.
    """

    op: ClassVar[str] = ""
    name: str
    inputs: tuple[str, ...]
    output: str
    low: float = -inf
    high: float = inf
    where: str = ""
    sign: bool = field(default=False, kw_only=True)


@dataclass(frozen=True)
class Unfolded:
    """Weights as they were before batch normalization became part of them, and its factor per output channel.

    Attributes
    ----------
    weight : float32 array, shaped like the weights of the layer
    factor : float64 array (out channels,)
    """

    weight: Floats
    factor: NDArray[np.float64]


@dataclass(frozen=True)
class Conv(Node):
    """Convolution with padding; a linear layer is a 1x1 convolution.

    Attributes
    ----------
    weight : float32 array (out channels, in channels / groups, kernel rows, kernel columns)
    bias : float32 array (out channels,)
    unfolded : Unfolded or None
        What the weights come from, where channels were scaled; values that they share are shared there.
    padding_value : float
        What the padding holds.
    steps : float64 array (out channels,) or None
        Scales of the weights that the model came with: integers times these are the weights.
    normal : Normal or None
        How the result is distributed before the clamp, where batch normalization made it.
    """

    op: ClassVar[str] = "conv"
    weight: Floats = field(default_factory=lambda: np.zeros((1, 1, 1, 1), np.float32))
    bias: Floats = field(default_factory=lambda: np.zeros(1, np.float32))
    window: Window = WHOLE
    groups: int = 1
    unfolded: Unfolded | None = None
    padding_value: float = 0.0
    steps: NDArray[np.float64] | None = None
    normal: Normal | None = None

    @property
    def plain(self) -> Floats:
        """Weights without factors per channel."""
        return self.weight if self.unfolded is None else self.unfolded.weight


@dataclass(frozen=True)
class Affine(Node):
    """``x * scale + shift`` per channel: batch normalization (then ``normal`` is set), or arithmetic with constants."""

    op: ClassVar[str] = "affine"
    scale: Floats = field(default_factory=lambda: np.ones(1, np.float32))
    shift: Floats = field(default_factory=lambda: np.zeros(1, np.float32))
    normal: Normal | None = None


@dataclass(frozen=True)
class Clamp(Node):
    """Nothing but the clamp that every node has."""

    op: ClassVar[str] = "clamp"


@dataclass(frozen=True)
class Sign(Node):
    """Nothing but ``sign``, on its way into the node before."""

    op: ClassVar[str] = "sign"


@dataclass(frozen=True)
class Quantized:
    """Levels that values are rounded to: ``scale * (q - zero)`` for ``least <= q <= most``, which fit ``bits`` bits."""

    bits: int
    scale: float
    zero: int
    least: int
    most: int


@dataclass(frozen=True)
class FakeQuantize(Node):
    """Rounding to ``levels``, on its way to become a property of the tensor (``FloatGraph.quantized``)."""

    op: ClassVar[str] = "fake_quantize"
    levels: Quantized = Quantized(8, 1.0, 0, -128, 127)


@dataclass(frozen=True)
class Pad(Node):
    """Zeros, or another value, around the map: padding is (top, left, bottom, right)."""

    op: ClassVar[str] = "pad"
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    value: float = 0.0


@dataclass(frozen=True)
class MaxPool(Node):
    """Maximum over windows; padding never wins."""

    op: ClassVar[str] = "max_pool"
    window: Window = WHOLE


@dataclass(frozen=True)
class AvgPool(Node):
    """Sum over windows divided by ``divisors`` (output rows, output columns); padding counts as zero."""

    op: ClassVar[str] = "avg_pool"
    window: Window = WHOLE
    divisors: NDArray[np.int32] = field(default_factory=lambda: np.ones((1, 1), np.int32))


@dataclass(frozen=True)
class Add(Node):
    """Sum of two tensors of equal shape."""

    op: ClassVar[str] = "add"


@dataclass(frozen=True)
class Concat(Node):
    """Channels of all inputs one after the other; with ``axis`` 3 columns, which are the tokens of sequences."""

    op: ClassVar[str] = "concat"
    axis: int = 1


@dataclass(frozen=True)
class Flatten(Node):
    """(N, C, H, W) to (N, C*H*W, 1, 1), elements in NCHW order."""

    op: ClassVar[str] = "flatten"


@dataclass(frozen=True)
class FloatGraph:
    """A model: nodes in execution order and the shape of every tensor.

    Attributes
    ----------
    name : str
        Name of the model.
    inputs, outputs : tuple of str
        Tensor names.
    shapes : dict
        (N, C, H, W) of every tensor.
    ranks : dict
        Dimensions (2 to 4) that inputs and outputs have in the original model.
    nodes : tuple of Node
    quantized : dict
        Levels of tensors that the model rounds.
    notes : tuple of str
        What a reader should know about the import.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shapes: dict[str, Shape]
    ranks: dict[str, int]
    nodes: tuple[Node, ...]
    quantized: dict[str, Quantized] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def form(self, name: str) -> tuple[int, ...]:
        """Shape of an input or output in the original model: (N, C, H, W), (N, L, C), (N, F), or (N, L) of ids."""
        n, c, h, w = self.shapes[name]
        return {4: (n, c, h, w), 3: (n, w, c), 2: (n, c * w)}[self.ranks[name]]

    def held(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        """An array (samples, ...) of an input as (samples, C, H, W)."""
        if self.ranks[name] == 3 and array.ndim == 3:
            array = array.transpose(0, 2, 1)
        return array.reshape(len(array), *self.shapes[name][1:])

    def modelled(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        """An array (samples, C, H, W) of an output as the original model has it; it may have fewer tokens."""
        if self.ranks[name] == 3:
            return array.reshape(*array.shape[:2], -1).transpose(0, 2, 1)
        return array.reshape(len(array), -1) if self.ranks[name] == 2 else array

    def uses(self) -> Counter[str]:
        """How often each tensor is read; being an output of the graph is one use."""
        return Counter([name for node in self.nodes for name in node.inputs] + list(self.outputs))

    @property
    def parameters(self) -> int:
        """Weights and biases of all convolutions."""
        return sum(node.weight.size + node.bias.size for node in self.nodes if isinstance(node, Conv))

    def macs(self) -> int:
        """Dense multiply-accumulates of one run."""
        total = 0
        for node in self.nodes:
            if isinstance(node, Conv):
                n, _, h, w = self.shapes[node.output]
                total += n * h * w * prod(node.weight.shape)
            elif node.op == "attention":
                total += 2 * prod(self.shapes[node.output]) * self.shapes[node.inputs[1]][3]
        return total
