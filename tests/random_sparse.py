"""Random networks for the sparse engine: weights that share few values, most of them zero."""

from __future__ import annotations

import numpy as np

from dataflows import config
from dataflows.formats import ACC_BITS
from dataflows.network import Conv, Layer, Network, Reshape, Tensor, Window
from tests import sparsity
from tests.random_layers import activation, convolution, window

Mask = np.ndarray


def engine(
    pes: int = 4, *, bits: int = 8, queue: int = 4, run_bits: int = 4, code_bits: int = 4, weight_bytes: int = 4096,
    pointer_bytes: int = 1024, accumulators: int = 32, codebooks: int = 2, dataflow: str = "weight_stationary",
    cols: int = 4, rows: int = 4, **memory: int,
) -> config.Config:  # fmt: skip
    """A configuration like eie4 with other numbers; ``memory`` replaces sizes of ``[memory]``."""
    base = config.load("configs/eie4.toml").model_dump(exclude_none=True)
    base["array"] = {"rows": rows, "cols": cols, "dataflow": dataflow}
    base["numbers"] = {"act_bits": bits, "acc_bits": ACC_BITS[bits]}
    base["sparse"] = {
        "pes": pes, "queue": queue, "run_bits": run_bits, "code_bits": code_bits, "codebooks": codebooks,
        "weight_bytes": weight_bytes, "pointer_bytes": pointer_bytes, "accumulators": accumulators,
    }  # fmt: skip
    sizes = {"acc_bytes": 512 * cols * ACC_BITS[bits] // 8, "param_bytes": 128 * config.ceil_pow2(cols) * bits}
    base["memory"] |= sizes | memory
    return config.parse(base, "test")


def linear(
    rng: np.random.Generator, name: str, source: Tensor, mask: Mask, values: int, *, zero: int | None = None
) -> tuple[Conv, Tensor]:
    """A linear layer of at most ``values`` weights other than zero, and its result; ``mask`` is (rows, columns)."""
    weight = sparsity.weights(rng, mask, values, source.bits).astype(source.dtype)
    rows = len(weight)
    n, h, w, _ = source.shape
    target = activation(rng, name + "_out", (n, h, w, rows), source.bits)
    if zero is not None:
        target = Tensor(target.name, target.shape, target.scale, zero, target.bits)
    finer = 1 << source.bits - 8
    reach = np.sqrt(max(1, mask.sum() / rows)) * 60 * 60 * finer**2
    scale = np.float32(60 * finer / reach * target.scale / source.scale)
    bias = rng.integers(-int(reach), int(reach) + 1, rows).astype(np.int32 if source.bits == 8 else np.int64)
    low = target.lowest if rng.random() < 0.5 else target.zero
    layer = Conv(
        name, (source.name,), target.name, low, target.highest, weight[:, :, None, None],
        np.full(rows, scale, np.float32), bias, Window(),
    )  # fmt: skip
    return layer, target


def mask_of(rng: np.random.Generator, rows: int, columns: int, density: float | None = None) -> Mask:
    """A random pattern: independent or clustered, any density, sometimes with empty columns or rows of one weight."""
    if density is None:
        density = float(rng.choice([0.0, 0.03, 0.1, 0.3, 0.6, 1.0]))
    make = sparsity.clustered if rng.random() < 0.5 else sparsity.independent
    mask = make(rng, (rows, columns), density)
    if rng.random() < 0.3:
        mask = sparsity.empty_columns(rng, mask, max(1, columns // 2))
    if rng.random() < 0.2:
        mask = sparsity.single_entries(rng, mask, 0.5)
    return mask


def sparse_network(seed: int, *, images: int = 1, bits: int = 8, values: int = 15, most: int = 60) -> Network:
    """One to three linear layers one after the other, in a third of the cases behind a convolution of 1x1 images."""
    rng = np.random.default_rng([seed, 77])
    columns = int(rng.choice([1, 3, rng.integers(1, most + 1), rng.integers(1, 4 * most + 1)]))
    x = activation(rng, "x", (images, 1, 1, columns), bits)
    tensors, layers = {"x": x}, list[Layer]()
    source = x
    if rng.random() < 0.33:
        conv, source = convolution(rng, "conv", x, int(rng.integers(1, most + 1)), 1, Window())
        layers, tensors[source.name] = [conv], source
    for number in range(int(rng.integers(1, 4))):
        rows = int(rng.choice([1, 2, rng.integers(1, most + 1), rng.integers(1, 2 * most + 1)]))
        mask = mask_of(rng, rows, source.shape[3])
        layer, source = linear(rng, f"fc{number}", source, mask, int(rng.integers(1, values + 1)))
        layers.append(layer)
        tensors[source.name] = source
    return Network(f"sparse{seed}", tensors, tuple(layers), ("x",), (source.name,))


def classifier(seed: int, images: int = 1) -> Network:
    """A convolution with a kernel over small images, then two sparse layers on its flattened result."""
    rng = np.random.default_rng([seed, 78])
    x = activation(rng, "x", (images, 5, 4, 3))
    conv, mid = convolution(rng, "conv", x, 6, 1, window(rng, 5, 4))
    layers: list[Layer] = [conv]
    tensors = {"x": x, mid.name: mid}
    flat = Tensor("flat", (images, 1, 1, mid.size // images), mid.scale, mid.zero)
    layers.append(Reshape("flatten", (mid.name,), "flat"))
    tensors["flat"] = source = flat
    for number, rows in enumerate((37, 10)):
        layer, source = linear(rng, f"fc{number}", source, mask_of(rng, rows, source.shape[3], 0.2), 15)
        layers.append(layer)
        tensors[source.name] = source
    return Network(f"classifier{seed}", tensors, tuple(layers), ("x",), (source.name,))
