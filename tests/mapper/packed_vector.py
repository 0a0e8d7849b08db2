"""Random layers of the vector unit on tensors of different widths, and configurations that take them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dataflows import config
from dataflows.network import Add, AvgPool, Concat, Conv, Layer, MaxPool, Network, Tensor, Window
from tests.random_layers import activation, small_window, window

KINDS = ("max_pool", "avg_pool", "add", "concat", "window_max", "depthwise")


def configuration(kind: str, lanes: int = 8, *, operand_bytes: int = 4096) -> config.Config:
    """A small accelerator with multipliers of a kind, windows in its vector unit, and little memory for operands."""
    base = config.load("configs/tiny.toml").model_dump(exclude_none=True)
    flow = "weight_stationary" if kind == "fusion" else "output_stationary"
    base["array"] = {"rows": 4, "cols": lanes, "dataflow": flow}
    base["multiplier"] = {"kind": kind} | ({} if kind == "fusion" else {"lanes": 8})
    base["vector"] = {"window_words": 64}
    acc = 512 * lanes
    base["memory"] = {"input_bytes": 16384, "weight_bytes": 16384, "acc_bytes": acc, "operand_bytes": operand_bytes,
                      "param_bytes": 8192}  # fmt: skip
    return config.parse(base, "test")


def narrow(rng: np.random.Generator, name: str, shape: tuple[int, int, int, int], bits: int) -> Tensor:
    """A tensor of a width, its zero point often an extreme of the range."""
    if bits == 1:
        return Tensor(name, shape, 1.0, 0, 1)
    return activation(rng, name, shape, bits)


def widths(cfg: config.Config) -> list[int]:
    """Bits that tensors of the vector unit can have."""
    return [bits for bits in range(1, 9) if Tensor("x", (1, 1, 1, 1), 1.0, 0, bits).container in cfg.containers]


def layer_network(seed: int, kind: str, cfg: config.Config) -> Network:
    """One layer of a kind between inputs and a result of random widths."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    some = widths(cfg)
    several = [bits for bits in some if bits > 1]

    def pick(of: list[int]) -> int:
        return int(rng.choice(of))

    images, height, width = int(rng.choice([1, 1, 2])), *(int(v) for v in rng.integers(1, 10, 2))
    channels = int(rng.choice([1, 3, cfg.lanes, 2 * cfg.lanes, 3 * cfg.lanes, rng.integers(1, 5 * cfg.lanes)]))
    source = narrow(rng, "x", (images, height, width, channels), pick(some))
    inputs, layer, out = [source], None, None
    if kind in ("max_pool", "window_max"):
        w = window(rng, height, width)
        if kind == "window_max":
            w = small_window(rng, height, width) or w
        shape = (images, *w.output_size(height, width), channels)
        out = replace(source, name="out", shape=shape)
        layer: Layer = MaxPool("pool", ("x",), "out", out.lowest, out.highest, w)
    elif kind == "avg_pool":
        w = window(rng, height, width)
        w = Window(w.kernel, w.stride, w.padding if source.bits > 1 else (0, 0, 0, 0))
        size = w.output_size(height, width)
        if min(size) < 1:
            w, size = Window(), (height, width)
        out = narrow(rng, "out", (images, *size, channels), pick(several))
        divisors = rng.choice([1, w.kernel[0] * w.kernel[1], 3], size).astype(np.int32)
        layer = AvgPool("pool", ("x",), "out", out.lowest, out.highest, w, divisors)
    elif kind == "add":
        inputs.append(narrow(rng, "y", source.shape, pick(some)))
        out = narrow(rng, "out", source.shape, pick(several))
        layer = Add("add", ("x", "y") if rng.random() < 0.5 else ("y", "x"), "out", out.lowest, out.highest)
    elif kind == "concat":
        fill = 8 // cfg.containers[0]
        parts = [int(n) * fill for n in rng.integers(1, 3 * cfg.lanes // fill, int(rng.integers(1, 3)))]
        source = replace(source, shape=(*source.shape[:3], parts[0]))
        last = int(rng.integers(1, 2 * cfg.lanes))
        more = [(images, height, width, n) for n in (*parts[1:], last)]
        inputs = [source, *(narrow(rng, f"y{i}", shape, pick(some)) for i, shape in enumerate(more))]
        out = narrow(rng, "out", (images, height, width, sum(t.shape[3] for t in inputs)), pick(several))
        layer = Concat("concat", tuple(t.name for t in inputs), "out", out.lowest, out.highest)
    else:
        w = small_window(rng, height, width) or Window((1, 1), (1, 1), (0, 0, 0, 0))
        if w.kernel == (1, 1):
            w = Window((2, 1), (1, 1), (1, 0, 0, 0))
        out = narrow(rng, "out", (images, *w.output_size(height, width), channels), pick(some))
        bits = pick(list(range(1, 9)))
        top = max(1, (1 << bits - 1) - 1)
        weight = rng.integers(-top if bits < 8 else -128, top + 1, (channels, 1, *w.kernel)).astype(np.int8)
        if bits == 1:
            weight[weight == 0] = -1
        reach = 3 * top * 1 << max(source.bits - 1, 0)
        scale = (rng.uniform(0.5, 2.0, channels) * out.scale / source.scale * out.highest / reach).astype(np.float32)
        bias = rng.integers(-reach, reach + 1, channels).astype(np.int32)
        layer = Conv("conv", ("x",), "out", out.lowest, out.highest, weight, scale, bias, w, channels, bits)
    tensors = {t.name: t for t in [*inputs, out]}
    return Network(f"{kind}{seed}", tensors, (layer,), tuple(t.name for t in inputs), ("out",))


def codes(rng: np.random.Generator, tensor: Tensor) -> np.ndarray:
    """Values over the whole range of a tensor, with runs of the extremes."""
    x = rng.integers(tensor.lowest, tensor.highest + 1, tensor.shape).astype(tensor.dtype)
    for extreme in (tensor.lowest, tensor.highest):
        x[rng.random(x.shape) < 0.05] = extreme
    if tensor.bits == 1:
        x[x == 0] = 1
    return x
