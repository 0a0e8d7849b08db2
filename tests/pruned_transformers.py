"""Random transformers that leave out tokens, heads and values, seeded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dataflows.attention import Attention
from dataflows.network import Conv, Network, Tensor, Window
from dataflows.pruning import Gather, HeadConv, Select, factor
from sim import golden
from tests.attention_blocks import Blocks


class PrunedBlocks(Blocks):
    """Blocks that know what has been selected so far: ``kept`` maps tokens (False) and heads (True) to their lists."""

    def __init__(self, seed: int, x: np.ndarray, *, symmetric: bool = False):
        super().__init__(seed, x)
        self.symmetric = symmetric
        self.kept: dict[bool, str] = {}
        self.seen: dict[bool, list[str]] = {False: [], True: []}

    def select(self, keep: int, *, heads: bool = False) -> str:
        """The list of what stays, by all attention layers since the last selection of this kind."""
        name, observed = self._name("select"), self.seen[heads]
        carried = [self.kept[heads]] if heads in self.kept else []
        first = next(layer.output for layer in self.layers if isinstance(layer, Attention))
        scales = [self.tensors[tensor].scale for tensor in observed]
        layer = Select(
            name, (*observed, *carried), name, -(1 << 15), (1 << 15) - 1, keep=keep, heads=heads,
            carried=bool(carried), factors=tuple(factor(scale, self.tensors[first].scale) for scale in scales if heads),
        )  # fmt: skip
        self.tensors[name] = Tensor(name, (self.tensors["x"].shape[0], 1, keep, 1), 1.0, 0, 16)
        self.layers.append(layer)
        self.values = golden.run(self.network("so far"), {"x": self.values["x"]})
        self.kept[heads], self.seen[heads] = name, []
        return name

    def gather(self, source: str, numbers: str, before: str = "") -> str:
        """Tokens by a list."""
        name, tensor = self._name("gather"), self.tensors[source]
        samples, _, _, channels = tensor.shape
        layer = Gather(name, (source, numbers, before) if before else (source, numbers), name)
        keep = self.tensors[numbers].shape[2]
        return self._append(layer, (samples, 1, keep, channels), tensor.scale, tensor.zero)

    def head_conv(self, source: str, heads: int, channels: int, side: str, *, symmetric: bool = False) -> str:
        """A linear layer from or to ``channels`` of all heads, of those that are left."""
        if True not in self.kept:
            return self.linear(source, channels, symmetric=symmetric)
        rng, name, numbers = self.rng, self._name("head_conv"), self.kept[True]
        kept, size = self.tensors[numbers].shape[2], channels // heads
        inputs = self.tensors[source].shape[3] if side == "out" else channels
        weight = rng.integers(-128, 128, (channels, inputs, 1, 1)).astype(np.int8)
        bias = rng.integers(-9999, 10000, channels).astype(np.int32)
        weight_scale = (rng.uniform(0.5, 2, channels) * 0.01).astype(np.float32)
        conv = Conv(name, (), "", -128, 127, weight, weight_scale, bias, Window())
        layer = HeadConv(name, (source, numbers), name, conv=conv, heads=heads, side=side)
        scale = self.tensors[source].scale * 0.01 * 74 * 74 * np.sqrt(inputs) / 50
        shape = (*self.tensors[source].shape[:3], kept * size if side == "out" else channels)
        return self._append(layer, shape, scale, 0 if symmetric else self._zero() // 3)

    def pruned_attention(
        self, source: str, heads: int, *, sharpness: float = 1.5, keep_values: int | None = None
    ) -> str:  # fmt: skip
        """Attention of the heads that are left, and its projection, on the tokens that are left; observed."""
        channels = self.tensors["x"].shape[3]
        q, k, v = (self.head_conv(source, heads, channels, "out", symmetric=True) for _ in range(3))
        left = self.tensors[self.kept[True]].shape[2] if True in self.kept else heads
        result = self.attention(q, k, v, left, sharpness=sharpness)
        if self.symmetric:  # as the input of a layer of single heads
            self.tensors[result] = replace(self.tensors[result], zero=0)
        self.layers[-1] = replace(self.layers[-1], keep_values=keep_values)
        self.values[result] = golden.run_layer(self.network("so far"), self.layers[-1], self.values)
        self.seen[False].append(result)
        self.seen[True].append(result)
        return result


def pruned_encoder(
    seed: int, tokens: int, heads: int, size: int, keep: tuple[int, ...], keep_heads: tuple[int, ...],
    *, samples: int = 1, inner: int = 24, sharpness: float = 1.5, keep_values: int | None = None,
) -> Network:  # fmt: skip
    """One layer of an encoder per number: so many tokens and heads are left behind its attention.

    Tokens leave the results of attention and the residual; heads are left out from the next layer on.
    """
    rng = np.random.default_rng([seed, 23])
    x = rng.integers(-128, 128, (samples, 1, tokens, heads * size)).astype(np.int8)
    blocks, out = PrunedBlocks(seed, x, symmetric=keep_heads[-1] < heads), "x"
    for count, left in zip(keep, keep_heads, strict=True):
        values = min(keep_values, blocks.tensors[out].shape[2]) if keep_values else None
        mixed = blocks.pruned_attention(out, heads, sharpness=sharpness, keep_values=values)
        before = blocks.kept.get(False, "")
        if count < blocks.tensors[out].shape[2]:
            numbers = blocks.select(count)
            mixed, out = blocks.gather(mixed, numbers, before), blocks.gather(out, numbers, before)
        projected = blocks.head_conv(mixed, heads, heads * size, "in")
        if left < (blocks.tensors[blocks.kept[True]].shape[2] if True in blocks.kept else heads):
            blocks.select(left, heads=True)
        out = blocks.norm(blocks.add(out, projected))
        narrow = blocks.linear(blocks.lookup(blocks.linear(out, inner), "gelu"), heads * size)
        out = blocks.norm(blocks.add(out, narrow))
    return blocks.network(f"pruned{seed}")


def random_pruned(seed: int, cols: int, most: int) -> Network:
    """One to three layers that leave out random numbers of tokens, none and all but one included, and of heads.

    Parameters
    ----------
    cols : int
        Columns of the array; the channels of a head are whole multiples where heads are left out.
    most : int
        Largest number of tokens, and of channels where one head's columns leave the choice.
    """
    rng = np.random.default_rng([seed, 25])
    heads, layers = int(rng.integers(1, 6)), int(rng.integers(1, 4))
    tokens, size = int(rng.integers(1, most + 1)), int(rng.integers(1, max(1, most // heads) + 1))
    keep = sorted((int(v) for v in rng.choice([1, tokens, *rng.integers(1, tokens + 1, 6)], layers)), reverse=True)
    keep_heads = [heads] * layers
    if rng.random() < 0.5 and heads * cols <= most:
        size = cols * int(rng.integers(1, most // (heads * cols) + 1))
        keep_heads = sorted((int(v) for v in rng.integers(1, heads + 1, layers)), reverse=True)
    sharpness = float(rng.choice([0, 0.01, 1.5, 5]))  # without any, all probabilities are equal
    return pruned_encoder(seed, tokens, heads, size, tuple(keep), tuple(keep_heads), sharpness=sharpness)


def head_list(seed: int, tokens: int, heads: int, size: int, keep: int) -> Network:
    """Two attention layers whose heads are ranked; the list chooses among the first tokens, so that it can be seen."""
    rng = np.random.default_rng([seed, 24])
    x = rng.integers(-128, 128, (1, 1, tokens, heads * size)).astype(np.int8)
    blocks = PrunedBlocks(seed, x)
    mixed = blocks.pruned_attention("x", heads)
    blocks.pruned_attention(mixed, heads)
    blocks.gather("x", blocks.select(keep, heads=True))
    return blocks.network(f"heads{seed}")
