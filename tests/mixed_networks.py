"""Random networks of mixed precision: every tensor and the weights of every layer have a width of their own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dataflows.config import Config
from dataflows.formats import container
from dataflows.network import Add, AvgPool, Concat, Conv, Layer, MaxPool, Network, Reshape, Tensor, Window
from tests.random_layers import small_window, window


@dataclass(frozen=True)
class Limits:
    """What a configuration takes, and how large layers are.

    Attributes
    ----------
    operands : widths of inputs and weights of the array
    activations : widths of tensors that the array does not read
    ternary : whether operands of the array are -1, 0 and +1
    channels, size : most channels, most rows and columns
    """

    operands: tuple[int, ...]
    activations: tuple[int, ...]
    ternary: bool
    channels: int = 40
    size: int = 12

    @staticmethod
    def of(cfg: Config, channels: int = 40, size: int = 12) -> Limits:
        """The limits of a configuration."""
        widths = tuple(bits for bits in range(1, 9) if container(bits) in cfg.containers)
        assert cfg.multiplier is not None
        return Limits(cfg.operand_bits, widths, cfg.multiplier.kind == "ternary", channels, size)


class Draw:
    """Draws layers and tensors; ``layers`` and ``tensors`` are what there is so far."""

    def __init__(self, seed: int, limits: Limits):
        self.rng, self.limits = np.random.default_rng(seed), limits
        self.layers: list[Layer] = []
        self.tensors: dict[str, Tensor] = {}

    def tensor(
        self, name: str, shape: tuple[int, int, int, int], *, array: bool, one: bool = True, bits: int | None = None
    ) -> Tensor:
        """A tensor of a random width: for ``array`` one that the array reads; ``one`` if it may have one bit."""
        widths = self.limits.operands if array else self.limits.activations
        bits = bits or int(self.rng.choice([b for b in widths if one or b > 1]))
        least = self.least(bits, array=array)
        most = (1 << bits - 1) - 1
        zero = 0 if bits == 1 else int(self.rng.choice([least, most, 0, self.rng.integers(least, most + 1)]))
        ternary = self.limits.ternary and array and bits == 2
        tensor = Tensor(name, shape, float(np.float32(self.rng.uniform(0.01, 0.2))), zero, bits, ternary)
        self.tensors[name] = tensor
        return tensor

    def whole(self, first: int, *, array: bool) -> int | None:
        """A width of more than one bit in which ``first`` channels are whole bytes; None where there is none."""
        widths = self.limits.operands if array else self.limits.activations
        fitting = [bits for bits in widths if bits > 1 and not first * container(bits) % 8]
        return int(self.rng.choice(fitting)) if fitting else None

    def least(self, bits: int, *, array: bool) -> int:
        """Smallest number of a width; the ternary array has no -2."""
        return -1 if bits == 1 or (self.limits.ternary and array and bits == 2) else -(1 << bits - 1)

    def low(self, target: Tensor) -> int:
        """Lower clamp: the range, which may be that of a ternary array, or the zero point as behind a ReLU."""
        if target.bits == 1:
            return -1
        return max(target.lowest, target.zero) if self.rng.random() < 0.4 else target.lowest

    def convolution(
        self, name: str, source: Tensor, outputs: int, groups: int, w: Window, *, array: bool,
        bits: int | None = None, weight_bits: int | None = None,
    ) -> Tensor:  # fmt: skip
        """A convolution whose results use their range; widths are drawn if they are not given."""
        n, height, width, channels = source.shape
        target = self.tensor(name + "_out", (n, *w.output_size(height, width), outputs), array=array, bits=bits)
        bits = weight_bits or int(self.rng.choice(self.limits.operands))
        weight = self.weights(bits, (outputs, channels // groups, *w.kernel))
        spread = np.sqrt(weight[0].size) * max(1, 1 << source.bits >> 1) * max(1, 1 << bits >> 1) / 2
        factor = self.rng.uniform(0.3, 2, outputs) * (1 << target.bits) / 4 / spread
        scale = (factor * target.scale / source.scale).astype(np.float32)
        bias = self.rng.integers(-int(spread) - 1, int(spread) + 2, outputs).astype(np.int32)
        low, high = self.low(target), target.highest
        conv = Conv(name, (source.name,), target.name, low, high, weight, scale, bias, w, groups, bits)
        self.layers.append(conv)
        return target

    def weights(self, bits: int, shape: tuple[int, ...]) -> np.ndarray:
        """Weights over the whole range, sometimes most negative ones or zeros in plenty."""
        if bits == 1:
            return self.rng.choice(np.array([-1, 1], np.int8), shape)
        least = self.least(bits, array=True)
        weight = self.rng.integers(least, 1 << bits - 1, shape).astype(np.int8)
        if self.rng.random() < 0.4:
            weight[self.rng.random(shape) < 0.5] = self.rng.choice([0, least])
        return weight

    def window(self, source: Tensor) -> Window:
        """A window of a few taps that fits a tensor."""
        while True:
            w = window(self.rng, *source.shape[1:3])
            if w.kernel[0] * w.kernel[1] <= 12:
                return w

    # -- what follows a convolution ------------------------------------------------------------

    def add(self, source: Tensor, mid: Tensor, groups: int, w: Window) -> None:
        """Another convolution of the same input, and the sum of both."""
        side = self.convolution("side", source, mid.shape[3], groups, w, array=False)
        out = self.tensor("out", mid.shape, array=False, one=False)
        pair = (mid.name, side.name) if self.rng.random() < 0.5 else (side.name, mid.name)
        self.layers.append(Add("add", pair, out.name, self.rectified(out), out.highest))

    def rectified(self, out: Tensor) -> int:
        """Lower clamp of a tensor that the array does not read."""
        return out.zero if self.rng.random() < 0.5 else out.lowest

    def concat(self, source: Tensor, mid: Tensor) -> None:
        """The channels of both, where their maps have one size."""
        bits = self.whole(source.shape[3], array=False)
        out = self.tensor("out", (*mid.shape[:3], mid.shape[3] + source.shape[3]), array=False, one=False, bits=bits)
        self.layers.append(Concat("concat", (source.name, mid.name), out.name, out.lowest, out.highest))

    def max_pool(self, mid: Tensor) -> None:
        """The same width, scale and zero point."""
        w = small_window(self.rng, *mid.shape[1:3]) if self.rng.random() < 0.5 else None
        w = w or self.window(mid)
        out = replace(mid, name="out", shape=(mid.shape[0], *w.output_size(*mid.shape[1:3]), mid.shape[3]))
        self.tensors["out"] = out
        self.layers.append(MaxPool("pool", (mid.name,), "out", out.lowest, out.highest, w))

    def avg_pool(self, mid: Tensor) -> None:
        """Any width but one bit."""
        w = self.window(mid)
        w = Window(w.kernel, w.stride, w.padding)
        size = w.output_size(*mid.shape[1:3])
        out = self.tensor("out", (mid.shape[0], *size, mid.shape[3]), array=False, one=False)
        divisors = self.rng.choice([1, w.kernel[0] * w.kernel[1], 3], size).astype(np.int32)
        self.layers.append(AvgPool("pool", (mid.name,), "out", out.lowest, out.highest, w, divisors))

    def linear(self, mid: Tensor) -> None:
        """A linear layer on the flattened tensor."""
        n, height, width, channels = mid.shape
        flat = replace(mid, name="flat", shape=(n, 1, 1, height * width * channels))
        self.tensors["flat"] = flat
        low = self.layers[-1].low
        self.layers.append(Reshape("flatten", (mid.name,), "flat", low, mid.highest))
        self.convolution("linear", flat, int(self.rng.integers(1, self.limits.channels)), 1, Window(), array=False)


TAILS = ("none", "add", "max_pool", "avg_pool", "concat", "conv", "linear")


def mixed_network(seed: int, limits: Limits) -> Network:
    """One to three layers: a convolution of any kind, and what follows it."""
    d = Draw(seed, limits)
    rng = d.rng
    images = int(rng.choice([1, 1, 1, 2, 3]))
    height, width = (int(v) for v in rng.integers(1, limits.size + 1, 2))
    channels, outputs = (int(v) for v in rng.integers(1, limits.channels + 1, 2))
    groups, kind = 1, rng.choice(["dense", "dense", "dense", "grouped", "depthwise", "linear"])
    whole = 8 // limits.operands[0] if limits.operands[0] == 1 or rng.random() < 0.3 else 1
    if kind == "depthwise" and limits.operands == (1,):
        kind = "grouped"  # one-bit groups have whole bytes
    if kind == "grouped":
        groups = int(rng.integers(2, 5))
        channels, outputs = (groups * whole * -(-size // (groups * whole)) for size in (channels, outputs))
    elif kind == "depthwise":
        groups, outputs = channels, channels * int(rng.integers(1, 3))
    elif kind == "linear":
        height, width, channels = 1, 1, channels * 8
    source = d.tensor("x", (images, height, width, channels), array=True)
    w = Window() if kind == "linear" else d.window(source)
    if kind == "depthwise" and rng.random() < 0.6 and (small := small_window(rng, height, width)):
        w, outputs = small, channels
    tail = str(rng.choice(TAILS))
    if tail == "linear" and groups == 1:
        outputs = whole * -(-outputs // whole)  # flattened pixels have whole bytes
    mid = d.convolution("conv", source, outputs, groups, w, array=tail in ("conv", "linear"))
    match tail:
        case "add":
            d.add(source, mid, groups, w)
        case "max_pool":
            d.max_pool(mid)
        case "avg_pool":
            d.avg_pool(mid)
        case "concat" if mid.shape[:3] == source.shape[:3]:
            d.concat(source, mid)
        case "conv":
            d.convolution("next", mid, int(rng.integers(1, limits.channels)), 1, d.window(mid), array=False)
        case "linear" if mid.size // mid.shape[0] <= 8 * limits.channels:
            d.linear(mid)
    return Network(f"mixed{seed}", d.tensors, tuple(d.layers), ("x",), (d.layers[-1].output,))


def mixed_input(network: Network, seed: int) -> np.ndarray:
    """Inputs over the whole range, with runs of the extremes."""
    rng = np.random.default_rng(seed + 1_000_003)
    tensor = network.tensors["x"]
    if tensor.bits == 1:
        return rng.choice(np.array([-1, 1], np.int8), tensor.shape)
    x = rng.integers(tensor.lowest, tensor.highest + 1, tensor.shape).astype(tensor.dtype)
    x[rng.random(x.shape) < 0.05] = tensor.lowest
    x[rng.random(x.shape) < 0.05] = tensor.highest
    return x
