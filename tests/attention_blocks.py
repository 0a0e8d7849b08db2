"""Quantized transformer layers one by one: each scale is chosen by what the golden model computes on a random input."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from dataflows.attention import Append, Attention, Constant, Embedding, Lookup, Norm, Positional, Slice
from dataflows.network import Add, AvgPool, Conv, Layer, Network, Reshape, Tensor, Window
from sim import golden
from sim.golden.conv import accumulate

FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "gelu": lambda x: 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}


class Blocks:
    """A network that grows layer by layer; methods return the new tensor's name.

    Parameters
    ----------
    seed : int
    x : int array (N, H, W, C)
        Its only input, ``"x"``, on which scales are chosen: int8, or int16 for ids.
    scale, zero : of that input
    """

    def __init__(self, seed: int, x: np.ndarray, scale: float = 0.05, zero: int = 0):
        self.rng = np.random.default_rng([seed, 12])
        self.layers: list[Layer] = []
        bits = 8 * x.dtype.itemsize
        self.tensors = {"x": Tensor("x", x.shape, float(np.float32(scale)), zero, bits)}
        self.values = {"x": x}
        self.caches: tuple[str, ...] = ()

    def network(self, name: str, *outputs: str) -> Network:
        """What has grown so far; without names, the last tensor is its output."""
        wanted = outputs or (self.layers[-1].output,)
        return Network(name, self.tensors, tuple(self.layers), ("x",), wanted, caches=self.caches)

    def _append(self, layer: Layer, shape: tuple[int, ...], scale: float, zero: int) -> str:
        name = layer.output
        self.tensors[name] = Tensor(name, tuple(shape), float(np.float32(scale)), zero)
        self.layers.append(layer)
        self.values[name] = golden.run_layer(self.network("so far"), layer, self.values)
        return name

    def _name(self, op: str) -> str:
        return f"{op}{len(self.layers)}"

    def _zero(self) -> int:
        """A zero point, extremes included."""
        return int(self.rng.choice([-128, 127, 0, *self.rng.integers(-128, 128, 3)]))

    def _scale(self, real: np.ndarray) -> float:
        """A scale with which the range is used, and now and then left by the largest values."""
        spread = float(np.sqrt(np.mean(real.astype(np.float64) ** 2)))
        return max(spread, 1e-6) / self.rng.uniform(30, 70)

    def real(self, name: str) -> np.ndarray:
        """Dequantized values of a tensor, float64."""
        tensor = self.tensors[name]
        return np.float64(tensor.scale) * (self.values[name].astype(np.float64) - tensor.zero)

    def linear(self, source: str, channels: int, *, symmetric: bool = False, kernel: int = 1, stride: int = 1) -> str:
        """A layer per token, or a convolution with ``kernel`` x ``kernel`` patches; ``symmetric``: zero point 0."""
        rng, name, x = self.rng, self._name("linear"), self.tensors[source]
        window = Window((kernel, kernel), (stride, stride))
        weight = rng.integers(-128, 128, (channels, x.shape[3], kernel, kernel)).astype(np.int8)
        reach = max(1, int(math.sqrt(weight[0].size) * 70 * 20))
        bias = rng.integers(-reach, reach + 1, channels).astype(np.int32)
        weight_scale = (rng.uniform(0.5, 2, channels) * 0.01).astype(np.float32)
        layer = Conv(name, (source,), name, -128, 127, weight, weight_scale, bias, window)
        acc = accumulate(layer, self.values[source], x)
        scale = self._scale(acc * (weight_scale * np.float64(x.scale)))
        zero = 0 if symmetric else self._zero() // 3
        return self._append(layer, acc.shape, scale, zero)

    def attention(
        self, queries: str, keys: str, values: str, heads: int, *, causal: bool = False,
        lengths: tuple[int, ...] | None = None, sharpness: float = 1.5, cached: bool = False, threshold: float = 0.0,
    ) -> str:  # fmt: skip
        """Attention whose scores spread by ``sharpness`` (natural logarithms); 100 and more saturate."""
        rng, name, v = self.rng, self._name("attention"), self.tensors[values]
        products = np.mean(self.real(queries) ** 2) * np.mean(self.real(keys) ** 2)
        shape = self.tensors[queries].shape
        factor = float(np.float32(sharpness / max(math.sqrt(products * shape[3] / heads), 1e-9)))
        layer = Attention(
            name, (queries, keys, values), name, heads=heads, factor=factor, causal=causal, lengths=lengths,
            cached=cached, threshold=float(np.float32(threshold)),
        )  # fmt: skip
        return self._append(layer, shape, v.scale * rng.uniform(0.2, 1.2), self._zero() // 4)

    def add(self, a: str, b: str) -> str:
        """A residual."""
        name, total = self._name("add"), self.real(a) + self.real(b)
        return self._append(Add(name, (a, b), name), total.shape, self._scale(total), self._zero() // 3)

    def norm(self, source: str, *, centered: bool = True, epsilon: float = 1e-5) -> str:
        """A norm with gains of both signs, some of them zero."""
        rng, name, shape = self.rng, self._name("norm"), self.tensors[source].shape
        gain, bias = rng.normal(1, 0.5, shape[3]), rng.normal(0, 0.3, shape[3])
        gain[rng.random(shape[3]) < 0.05] = 0
        layer = Norm(
            name, (source,), name, centered=centered, epsilon=float(np.float32(epsilon)),
            gain=gain.astype(np.float32), bias=bias.astype(np.float32),
        )  # fmt: skip
        return self._append(layer, shape, rng.uniform(0.015, 0.05), self._zero() // 4)

    def lookup(self, source: str, function: str) -> str:
        """An activation; ``"random"`` is a table of random codes."""
        name, x = self._name("lookup"), self.tensors[source]
        real = x.scale * (np.arange(-128, 128) - x.zero)
        scale, zero = 0.05, 0
        table = self.rng.integers(-128, 128, 256)
        if function != "random":
            wanted = FUNCTIONS[function](real)
            low, high = min(wanted.min(), 0), max(wanted.max(), 1e-3)
            scale = (high - low) / 255
            zero = int(np.clip(round(-128 - low / scale), -128, 127))
            table = np.rint(wanted / scale) + zero
        codes = np.clip(table, -128, 127).astype(np.int8)
        return self._append(Lookup(name, (source,), name, function=function, table=codes), x.shape, scale, zero)

    def embedding(self, entries: int, channels: int) -> str:
        """Rows of a random table by the ids of the input."""
        name, (samples, _, length, _) = self._name("embedding"), self.tensors["x"].shape
        table = self.rng.integers(-128, 128, (entries, channels)).astype(np.int8)
        layer = Embedding(name, ("x",), name, table=table)
        return self._append(layer, (samples, 1, length, channels), self.rng.uniform(0.01, 0.1), self._zero() // 3)

    def constant(self, like: str) -> str:
        """A random value in the shape of a tensor, at about its scale."""
        name, tensor = self._name("constant"), self.tensors[like]
        value = self.rng.integers(-128, 128, (1, *tensor.shape[1:])).astype(np.int8)
        scale = tensor.scale * self.rng.uniform(0.3, 1.5)
        return self._append(Constant(name, (), name, value=value), tensor.shape, scale, self._zero() // 3)

    def slice(self, source: str, start: int, stop: int) -> str:
        """Tokens of a sequence."""
        name, tensor = self._name("slice"), self.tensors[source]
        samples, _, _, channels = tensor.shape
        layer = Slice(name, (source,), name, start=start, stop=stop)
        return self._append(layer, (samples, 1, stop - start, channels), tensor.scale, tensor.zero)

    def tokens(self, source: str) -> str:
        """The pixels of a map as a sequence."""
        name, tensor = self._name("tokens"), self.tensors[source]
        samples, height, width, channels = tensor.shape
        layer = Reshape(name, (source,), name)
        return self._append(layer, (samples, 1, height * width, channels), tensor.scale, tensor.zero)

    def mean(self, source: str) -> str:
        """The mean over all tokens."""
        name, tensor = self._name("mean"), self.tensors[source]
        samples, _, length, channels = tensor.shape
        divisors = np.full((1, 1), length, np.int32)
        layer = AvgPool(name, (source,), name, window=Window((1, length)), divisors=divisors)
        return self._append(layer, (samples, 1, 1, channels), tensor.scale * 0.5, self._zero() // 3)

    def append(self, source: str, most: int) -> str:
        """A cache of ``most`` tokens."""
        name, tensor = self._name("cache"), self.tensors[source]
        shape = (1, 1, most, tensor.shape[3])
        self.caches += (name,)
        self.values[name] = np.zeros(shape, np.int8)
        return self._append(Append(name, (source,), name), shape, tensor.scale, tensor.zero)

    def positional(self, like: str, most: int) -> str:
        """Values of ``most`` positions, for the tokens of a tensor."""
        name, tensor = self._name("positional"), self.tensors[like]
        value = self.rng.integers(-128, 128, (1, 1, most, tensor.shape[3])).astype(np.int8)
        scale = tensor.scale * self.rng.uniform(0.3, 1.5)
        return self._append(Positional(name, (), name, value=value), tensor.shape, scale, self._zero() // 3)

    def self_attention(
        self, source: str, heads: int, channels: int, *, queries: str = "", most: int = 0, **fields: object
    ) -> str:
        """Three linear layers and attention; queries may come from another tensor, or keys go to caches of ``most``."""
        q, k, v = (self.linear(s, channels, symmetric=True) for s in (queries or source, source, source))
        if most:
            k, v, fields = self.append(k, most), self.append(v, most), fields | {"cached": True}
        return self.attention(q, k, v, heads, **fields)

    def encoder(self, source: str, heads: int, inner: int, *, function: str = "gelu", before: bool = False,
                centered: bool = True, **fields: object) -> str:  # fmt: skip
        """A layer of a transformer; its norms come ``before`` attention and linear layers, or behind the additions."""
        channels = self.tensors[source].shape[3]
        seen = self.norm(source, centered=centered) if before else source
        mixed = self.linear(self.self_attention(seen, heads, channels, **fields), channels)
        after = self.add(source, mixed)
        middle = after if before else self.norm(after, centered=centered)
        wide = self.linear(self.norm(after, centered=centered) if before else middle, inner)
        narrow = self.linear(self.lookup(wide, function), channels)
        out = self.add(middle, narrow)
        return out if before else self.norm(out, centered=centered)
