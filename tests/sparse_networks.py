"""Random networks whose activations hold many zeros, for tests of compression."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dataflows.network import Add, Conv, Layer, MaxPool, Network, Reshape, Tensor, Window
from tests.random_layers import activation, convolution


def rectified(rng: np.random.Generator, name: str, source: Tensor, channels: int, w: Window) -> tuple[Conv, Tensor]:
    """A convolution with a ReLU that leaves few values or many."""
    conv, target = convolution(rng, name, source, channels, 1, w)
    reach = int(np.abs(conv.bias).max())
    bias = conv.bias - int(reach * rng.choice([0, 0.3, 1, 3]))
    return replace(conv, low=target.zero, high=(1 << source.bits - 1) - 1, bias=bias), target


def sparse_network(seed: int, most_channels: int = 40, most_size: int = 16, bits: int = 8) -> Network:
    """Convolutions, a residual addition, a maximum, and perhaps a linear layer at the end; ``bits``-bit operands."""
    rng = np.random.default_rng([seed, 21])
    images, height, width = int(rng.choice([1, 1, 2, 3])), *(int(v) for v in rng.integers(4, most_size + 1, 2))
    x = activation(rng, "x", (images, height, width, int(rng.integers(1, 9))), bits)
    channels = [int(v) for v in rng.integers(1, most_channels + 1, 3)]
    kernel = int(rng.choice([1, 3]))
    same = Window((kernel, kernel), (1, 1), (kernel // 2,) * 4)
    strided = Window((3, 3), (int(rng.integers(1, 3)),) * 2, (1, 1, 1, 1))
    first, a = rectified(rng, "first", x, channels[0], same)
    second, b = rectified(rng, "second", a, channels[1], Window((3, 3), (1, 1), (1, 1, 1, 1)))
    third, c = convolution(rng, "third", b, channels[0], 1, Window())
    total = activation(rng, "sum", c.shape, bits)
    total = replace(total, zero=int(rng.choice([-(1 << bits - 1), 0])))
    whole = -(1 << bits - 1), (1 << bits - 1) - 1
    layers: list[Layer] = [first, second, third, Add("add", (a.name, c.name), "sum", total.zero, whole[1])]
    tensors = [x, a, b, c, total]
    last = total
    if rng.random() < 0.6:
        w = Window((2, 2), (2, 2)) if rng.random() < 0.5 else Window((3, 3), (2, 2), (1, 1, 1, 1))
        last = Tensor("pooled", (images, *w.output_size(height, width), channels[0]), total.scale, total.zero, bits)
        layers.append(MaxPool("pool", ("sum",), "pooled", *whole, window=w))
        tensors.append(last)
    if rng.random() < 0.5:
        flat = replace(last, name="flat", shape=(images, 1, 1, last.size // images))
        layers.append(Reshape("flatten", (last.name,), "flat", *whole))
        end, out = convolution(rng, "linear", flat, 10, 1, Window())
        tensors += [flat, out]
    else:
        end, out = convolution(rng, "end", last, channels[2], 1, strided)
        tensors.append(out)
    layers.append(end)
    return Network(f"sparse{seed}", {t.name: t for t in tensors}, tuple(layers), ("x",), (out.name,))
