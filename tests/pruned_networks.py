"""Random networks of pruned, weight-shared linear layers, alone and behind convolutions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dataflows.network import Add, Codes, Concat, Conv, Layer, Network, Reshape, Tensor, Window
from tests.random_layers import activation, convolution
from tests.sparsity import Mask, clustered, empty_columns, gaps, independent, single_entries, weights

DENSITIES = (0, 0.02, 0.05, 0.1, 0.1, 0.2, 0.4, 0.7, 1)
GAPS = (15, 16, 17, 31, 32)


@dataclass(frozen=True)
class Limits:
    """What networks are drawn for: ``values`` of a codebook beside 0, ``pes``, most rows and columns, operand bits."""

    values: int
    pes: int
    rows: int = 96
    columns: int = 160
    bits: int = 8


def size(rng: np.random.Generator, most: int, pes: int) -> int:
    """Rows or columns: any number, often a small one, or one near the number of PEs."""
    kind = rng.random()
    if kind < 0.12:
        return 1
    if kind < 0.4:
        return int(np.clip(pes + rng.integers(-3, 4), 1, most))
    return round(most ** rng.uniform(0.4, 1))


def pattern(rng: np.random.Generator, shape: tuple[int, int], pes: int) -> Mask:
    """Independent or clustered at any density, or gaps around the longest run; then corner cases on top."""
    kind = rng.random()
    if kind < 0.15:
        gap = int(rng.choice(GAPS))
        mask = gaps(shape, pes, gap, int(rng.choice([0, gap])))
    else:
        make = clustered if kind < 0.55 else independent
        mask = make(rng, shape, float(rng.choice(DENSITIES)))
    if rng.random() < 0.4:
        mask = empty_columns(rng, mask, max(2, shape[1] // 4))
    if rng.random() < 0.3:
        mask = single_entries(rng, mask, float(rng.choice([0.2, 1])))
    return mask


def linear(
    rng: np.random.Generator, name: str, source: Tensor, rows: int, limits: Limits, shared: bool = True
) -> tuple[Conv, Tensor]:
    """A linear layer; unless ``shared``, with more values than a codebook holds. ReLUs leave few values or many."""
    *pixels, columns = source.shape
    bits, finer = source.bits, 1 << source.bits - 8
    mask = pattern(rng, (rows, columns), limits.pes) if shared else np.ones((rows, columns), bool)
    values = int(rng.integers(1, limits.values + 1)) if shared else 1 << 16
    weight = weights(rng, mask, values, bits)
    reach = max(1.0, np.sqrt(mask.sum(axis=1).mean())) * 75 * 75 * finer**2
    target = activation(rng, name + "_out", (*pixels, rows), bits)
    scales = rng.uniform(0.5, 2.0, rows if rng.random() < 0.5 else 1).astype(np.float32) * np.ones(rows, np.float32)
    scale = scales * np.float32(60 * finer / reach) * np.float32(target.scale) / np.float32(source.scale)
    low, push = target.lowest, 0
    if rng.random() < 0.6:
        low, push = target.zero, int(reach * rng.choice([0, 0.3, 1]))
    bias = rng.integers(-int(reach) - push, int(reach) + 1 - push, rows).astype(np.int32 if bits == 8 else np.int64)
    layer = Conv(
        name, (source.name,), target.name, low, target.highest, weight[:, :, None, None].astype(source.dtype),
        scale.astype(np.float32), bias,
    )  # fmt: skip
    return layer, target


def pruned_network(seed: int, limits: Limits) -> Network:
    """One to three pruned layers; perhaps a convolution before them, a dense layer among them, a sum or a join.

    Some work on vectors side by side, as 1x1 convolutions do.
    """
    rng = np.random.default_rng([seed, 31])
    images = int(rng.choice([1, 1, 1, 2, 3]))
    layers: list[Layer] = []
    x = activation(rng, "x", (images, 1, 1, size(rng, limits.columns, limits.pes)), limits.bits)
    if rng.random() < 0.15:
        x = replace(x, shape=(1, *(int(v) for v in rng.integers(1, 4, 2)), x.shape[3]))
    tensors = [x]
    if rng.random() < 0.25:
        height, width = (int(v) for v in rng.integers(2, 6, 2))
        images = x.shape[0]
        tensors = [replace(x, shape=(images, height, width, int(rng.integers(1, 6))))]
        window = Window((3, 3), (1, 1), (1, 1, 1, 1))
        conv, seen = convolution(rng, "conv", tensors[0], int(rng.integers(1, 7)), 1, window)
        layers, tensors = [replace(conv, low=seen.zero)], [*tensors, seen]
        if rng.random() < 0.7:
            flat = replace(seen, name="flat", shape=(images, 1, 1, seen.size // images))
            layers.append(Reshape("flatten", (seen.name,), "flat", seen.lowest, seen.highest))
            tensors.append(flat)
    for index in range(int(rng.choice([1, 1, 2, 3]))):
        shared = not (index and rng.random() < 0.25)
        rows = size(rng, limits.rows, limits.pes)
        layer, target = linear(rng, f"fc{index}", tensors[-1], rows, limits, shared)
        layers, tensors = [*layers, layer], [*tensors, target]
    source, last = tensors[-2:]
    kind, out = rng.random(), activation(rng, "out", last.shape, limits.bits)
    if kind < 0.15:
        side, other = linear(rng, "side", source, last.shape[3], limits)
        layers += [side, Add("add", (last.name, other.name), "out", out.zero, out.highest)]
        tensors += [other, out]
    elif kind < 0.25:
        out = replace(out, shape=(*last.shape[:3], source.shape[3] + last.shape[3]))
        layers.append(Concat("concat", (source.name, last.name), "out", out.lowest, out.highest))
        tensors.append(out)
    return Network(f"pruned{seed}", {t.name: t for t in tensors}, tuple(layers), ("x",), (tensors[-1].name,))


def pruned_input(network: Network, seed: int) -> Codes:
    """Inputs over the whole range, a share of each sample at the zero point: all of it in some."""
    rng = np.random.default_rng([seed, 32])
    tensor = network.tensors["x"]
    x = rng.integers(tensor.lowest, tensor.highest + 1, tensor.shape).astype(tensor.dtype)
    x[rng.random(x.shape) < 0.05] = tensor.lowest
    for sample in x:
        sample[rng.random(sample.shape) >= rng.choice([0, 0.05, 0.2, 0.4, 0.4, 0.4, 0.7, 1])] = tensor.zero
    return x
