"""A small float graph per operator, for the table of what runs them. A new operator is one more entry here."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from dataflows.network import Window
from mapper.graph import Add, AvgPool, Concat, Conv, Flatten, FloatGraph, Floats, MaxPool, Node, Pad, Shape
from mapper.graph_attention import Attention, Constant, Embedding, Lookup, Norm, Slice
from mapper.graph_operators import ChannelSlice, Multiply, Spread, Upsample

MAP: Shape = (1, 16, 8, 8)
VECTOR: Shape = (1, 64, 1, 1)
TOKENS: Shape = (1, 16, 1, 8)


@dataclass
class Sketch:
    """A graph in the making: nodes are called by their number."""

    shapes: dict[str, Shape]
    nodes: list[Node] = field(default_factory=list)

    def add(self, make: type[Node], inputs: tuple[str, ...], shape: Shape, **fields: object) -> str:
        """Append a node; returns the name of its result."""
        name = f"n{len(self.nodes)}"
        self.nodes.append(make(name, inputs, name, **fields))  # type: ignore[arg-type]
        self.shapes[name] = shape
        return name

    def graph(self) -> FloatGraph:
        """The graph; what nothing reads is an output."""
        read = {name for node in self.nodes for name in node.inputs}
        inputs = tuple(name for name in self.shapes if not name.startswith("n"))
        outputs = tuple(node.output for node in self.nodes if node.output not in read)
        ranks = dict.fromkeys((*inputs, *outputs), 4)
        return FloatGraph("example", inputs, outputs, self.shapes, ranks, tuple(self.nodes))


def _weights(*shape: int) -> Floats:
    """Weights of few values, half of them zero."""
    return np.random.default_rng(1).choice(np.array([-0.5, 0, 0, 0.25], np.float32), shape)


def _one(make: type[Node], source: Shape, result: Shape, **fields: object) -> FloatGraph:
    """One node with one input."""
    sketch = Sketch({"x": source})
    sketch.add(make, ("x",), result, **fields)
    return sketch.graph()


def _conv(source: Shape, outputs: int, kernel: int, groups: int = 1, stride: int = 1, padding: int = 0) -> FloatGraph:
    """One convolution."""
    n, c, h, w = source
    window = Window((kernel, kernel), (stride, stride), (padding,) * 4)
    weight = _weights(outputs, c // groups, kernel, kernel)
    bias = np.zeros(outputs, np.float32)
    result = (n, outputs, *window.output_size(h, w))
    return _one(Conv, source, result, weight=weight, bias=bias, window=window, groups=groups)


def _two(make: type[Node], first: Shape, second: Shape, result: Shape, **fields: object) -> FloatGraph:
    """One node with two inputs."""
    sketch = Sketch({"x": first, "y": second})
    sketch.add(make, ("x", "y"), result, **fields)
    return sketch.graph()


def _transposed() -> FloatGraph:
    """A transposed convolution, 2x2 by strides of 2."""
    sketch = Sketch({"x": MAP})
    apart = sketch.add(Spread, ("x",), (1, 16, 15, 15), stride=(2, 2))
    window = Window((2, 2), padding=(1, 1, 1, 1))
    weight, bias = _weights(8, 16, 2, 2), np.zeros(8, np.float32)
    sketch.add(Conv, (apart,), (1, 8, 16, 16), weight=weight, bias=bias, window=window)
    return sketch.graph()


def _attention() -> FloatGraph:
    """Queries, keys and values, and attention of two heads."""
    sketch = Sketch({"x": TOKENS})
    parts = tuple(
        sketch.add(Conv, ("x",), TOKENS, weight=_weights(16, 16, 1, 1), bias=np.zeros(16, np.float32)) for _ in range(3)
    )
    sketch.add(Attention, parts, TOKENS, heads=2, factor=0.35)
    return sketch.graph()


def _constant() -> FloatGraph:
    """A value of the model, added."""
    sketch = Sketch({"x": TOKENS})
    value = sketch.add(Constant, (), TOKENS, value=np.ones(TOKENS, np.float32))
    sketch.add(Add, ("x", value), TOKENS)
    return sketch.graph()


def examples() -> dict[str, FloatGraph]:
    """Graphs by what they show."""
    ones = np.ones(16, np.float32)
    pooled, whole = Window((2, 2), (2, 2)), Window((8, 8))
    by = {count: np.full((side, side), count, np.int32) for count, side in ((4, 4), (64, 1))}
    return {
        "convolution 3x3": _conv(MAP, 16, 3, padding=1),
        "convolution 1x1": _conv(MAP, 32, 1),
        "grouped convolution": _conv(MAP, 16, 3, groups=4, padding=1),
        "depthwise 3x3": _conv(MAP, 16, 3, groups=16, padding=1),
        "depthwise 5x5": _conv(MAP, 16, 5, groups=16, padding=2),
        "transposed convolution": _transposed(),
        "linear layer, weights of few values": _conv(VECTOR, 64, 1),
        "max pooling 2x2": _one(MaxPool, MAP, (1, 16, 4, 4), window=pooled),
        "average pooling 2x2": _one(AvgPool, MAP, (1, 16, 4, 4), window=pooled, divisors=by[4]),
        "global average pooling": _one(AvgPool, MAP, (1, 16, 1, 1), window=whole, divisors=by[64]),
        "addition": _two(Add, MAP, MAP, MAP),
        "product of equal tensors": _two(Multiply, MAP, MAP, MAP),
        "product with a pixel (squeeze and excitation)": _two(Multiply, MAP, (1, 16, 1, 1), MAP),
        "product with a plane": _two(Multiply, MAP, (1, 1, 8, 8), MAP),
        "concatenation of channels": _two(Concat, MAP, MAP, (1, 32, 8, 8)),
        "concatenation of tokens": _two(Concat, TOKENS, TOKENS, (1, 16, 1, 16), axis=3),
        "upsampling, nearest": _one(Upsample, MAP, (1, 16, 16, 16), factor=(2, 2)),
        "channels of a map (split, chunk)": _one(ChannelSlice, MAP, (1, 4, 8, 8), start=4, stop=8),
        "channels of a vector": _one(ChannelSlice, VECTOR, (1, 16, 1, 1), start=16, stop=32),
        "tokens of a sequence": _one(Slice, (2, 16, 1, 8), (2, 16, 1, 3), start=2, stop=5),
        "padding": _one(Pad, MAP, (1, 16, 10, 10), padding=(1, 1, 1, 1)),
        "flatten": _one(Flatten, MAP, (1, 1024, 1, 1)),
        "function by table (SiLU, GELU, sigmoid, hard-swish, ...)": _one(Lookup, MAP, MAP, function="silu"),
        "layer norm, RMS norm": _one(Norm, TOKENS, TOKENS, gain=ones, bias=0 * ones),
        "attention, behind linear layers": _attention(),
        "embedding": _one(Embedding, (1, 1, 1, 8), TOKENS, table=_weights(32, 16)),
        "constant, added": _constant(),
    }
