"""Random quantized networks for regressions: every shape of layer, seeded, extremes included."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dataflows.network import Add, AvgPool, Concat, Conv, Layer, MaxPool, Network, Tensor, Window


def activation(rng: np.random.Generator, name: str, shape: tuple[int, int, int, int], bits: int = 8) -> Tensor:
    """A tensor with a random scale and zero point (extremes included)."""
    limit = 1 << bits - 1
    zero = int(rng.choice([-limit, limit - 1, 0, rng.integers(-limit, limit)]))
    return Tensor(name, shape, float(np.float32(rng.uniform(0.01, 0.2))), zero, bits)


def window(rng: np.random.Generator, height: int, width: int) -> Window:
    """A window that leaves at least one output pixel."""
    while True:
        kernel = (int(rng.integers(1, 8)), int(rng.integers(1, 8)))
        if rng.random() < 0.5:
            kernel = (kernel[0], kernel[0])
        stride = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
        dilation = (1, 1) if rng.random() < 0.7 else (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
        most = [min(k - 1, 3) for k in kernel]
        padding = tuple(int(rng.integers(0, m + 1)) for m in (most[0], most[1], most[0], most[1]))
        w = Window(kernel, stride, padding, dilation)
        if min(w.output_size(height, width)) >= 1:
            return w


def small_window(rng: np.random.Generator, height: int, width: int) -> Window | None:
    """A 3x3 window as in depthwise and pooling layers, strides 1 or 2 and any padding; None where it does not fit."""
    stride = (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
    top, left, bottom, right = (int(v) for v in rng.integers(0, 3, 4))
    w = Window((3, 3), stride, (top, left, bottom, right))
    return w if min(w.output_size(height, width)) >= 1 else None


def convolution(
    rng: np.random.Generator, name: str, source: Tensor, out_channels: int, groups: int, w: Window
) -> tuple[Conv, Tensor]:
    """A convolution whose outputs use the range: random weights, most negative ones included."""
    n, h, width, c = source.shape
    shape = (out_channels, c // groups, *w.kernel)
    bits, finer = source.bits, 1 << source.bits - 8
    weight = rng.integers(-source.highest, source.highest + 1, shape).astype(source.dtype)
    if rng.random() < 0.2:
        weight[rng.random(shape) < 0.5] = 0
    reach = np.sqrt(np.prod(shape[1:])) * 40 * 70 * finer**2
    scale = rng.uniform(0.5, 2.0, out_channels).astype(np.float32) * np.float32(60 * finer / reach)
    target = activation(rng, name + "_out", (n, *w.output_size(h, width), out_channels), bits)
    weight_scale = (scale * np.float32(target.scale) / np.float32(source.scale)).astype(np.float32)
    bias = rng.integers(-int(reach), int(reach) + 1, out_channels).astype(np.int32 if bits == 8 else np.int64)
    low, high = (target.lowest if rng.random() < 0.5 else target.zero), target.highest
    return Conv(name, (source.name,), target.name, low, high, weight, weight_scale, bias, w, groups), target


def random_network(seed: int, most_channels: int = 40, most_size: int = 14, bits: int = 8) -> Network:
    """One to three layers: a convolution of any kind, then perhaps pooling, a residual addition, a concatenation."""
    rng = np.random.default_rng(seed)
    images = int(rng.choice([1, 1, 1, 2, 3]))
    height, width = (int(v) for v in rng.integers(1, most_size + 1, 2))
    channels = int(rng.integers(1, most_channels + 1))
    groups, out_channels = 1, int(rng.integers(1, most_channels + 1))
    kind = rng.choice(["dense", "dense", "grouped", "depthwise", "linear"])
    if kind == "grouped":
        groups = int(rng.integers(2, 5))
        channels, out_channels = groups * -(-channels // groups), groups * -(-out_channels // groups)
    elif kind == "depthwise":
        groups, out_channels = channels, channels * int(rng.integers(1, 3))
    elif kind == "linear":
        height = width = 1
        channels *= 8
    source = activation(rng, "x", (images, height, width, channels), bits)
    w = Window() if kind == "linear" else window(rng, height, width)
    sliding = np.random.default_rng([seed, 9])  # a stream of its own
    if kind == "depthwise" and sliding.random() < 0.6 and (small := small_window(sliding, height, width)):
        w, out_channels = small, channels
    conv, mid = convolution(rng, "conv", source, out_channels, groups, w)
    layers: list[Layer] = [conv]
    tensors = [source, mid]
    for layer, tensor in tail(rng, sliding, source, mid, groups, w, most_channels):
        layers.append(layer)
        tensors.append(tensor)
    named = {tensor.name: tensor for tensor in tensors}
    return Network(f"random{seed}", named, tuple(layers), ("x",), (layers[-1].output,))


def tail(
    rng: np.random.Generator, sliding: np.random.Generator, source: Tensor, mid: Tensor, groups: int, w: Window,
    most_channels: int,
) -> list[tuple[Layer, Tensor]]:  # fmt: skip
    """What follows a convolution of ``source`` to ``mid``: layers and their results."""
    kind = rng.choice(["none", "add", "max_pool", "avg_pool", "concat", "conv"])
    if kind == "add":
        side, other = convolution(rng, "side", source, mid.shape[3], groups, w)
        out = activation(rng, "out", mid.shape, mid.bits)
        pair = (mid.name, other.name) if rng.random() < 0.5 else (other.name, mid.name)
        return [(side, other), (Add("add", pair, out.name, out.zero, out.highest), out)]
    if kind == "concat" and mid.shape[:3] == source.shape[:3]:
        out = activation(rng, "out", (*mid.shape[:3], mid.shape[3] + source.shape[3]), mid.bits)
        return [(Concat("concat", (source.name, mid.name), out.name, out.lowest, out.highest), out)]
    if kind == "max_pool":
        w = window(rng, *mid.shape[1:3])
        if sliding.random() < 0.5:
            w = small_window(sliding, *mid.shape[1:3]) or w
        out = replace(mid, name="out", shape=(mid.shape[0], *w.output_size(*mid.shape[1:3]), mid.shape[3]))
        return [(MaxPool("pool", (mid.name,), out.name, out.lowest, out.highest, w), out)]
    if kind == "avg_pool":
        w = window(rng, *mid.shape[1:3])
        w = Window(w.kernel, w.stride, w.padding)
        size = w.output_size(*mid.shape[1:3])
        if min(size) >= 1:
            out = activation(rng, "out", (mid.shape[0], *size, mid.shape[3]), mid.bits)
            divisors = rng.choice([1, w.kernel[0] * w.kernel[1], 3], size).astype(np.int32)
            return [(AvgPool("pool", (mid.name,), out.name, out.lowest, out.highest, w, divisors), out)]
    if kind == "conv":
        return [convolution(rng, "next", mid, int(rng.integers(1, most_channels)), 1, window(rng, *mid.shape[1:3]))]
    return []


def random_input(network: Network, seed: int) -> np.ndarray:
    """Inputs over the whole range, with runs of the extremes."""
    rng = np.random.default_rng(seed + 1_000_003)
    tensor = network.tensors["x"]
    x = rng.integers(tensor.lowest, tensor.highest + 1, tensor.shape).astype(tensor.dtype)
    x[rng.random(x.shape) < 0.05] = tensor.lowest
    x[rng.random(x.shape) < 0.05] = tensor.highest
    return x
