"""Random networks of mixed precision that are several layers deep, with residual additions and concatenations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dataflows.network import Add, AvgPool, Concat, MaxPool, Network, Tensor, Window
from tests.mixed_networks import Draw, Limits

WIDE = ("avg_pool", "add", "concat")
"""Operators that cannot make one bit."""

READS_ARRAY = ("conv", "add", "concat")
"""Operators whose input the array reads."""


class Chain(Draw):
    """Layers one after the other; ``at`` is the tensor made last."""

    def __init__(self, seed: int, limits: Limits):
        super().__init__(seed, limits)
        self.ops = self.operators(int(self.rng.integers(3, 7)))

    def operators(self, count: int) -> list[str]:
        """What the chain is made of: a convolution, then anything that has operands of the width it needs."""
        ops = ["conv"]
        for _ in range(count - 1):
            wide = any(op in WIDE for op in ops) and self.limits.operands == (1,)
            choice = ("max_pool", "avg_pool") if wide else ("conv", "conv", "max_pool", *WIDE)
            ops.append(str(self.rng.choice(choice)))
        return ops

    def reads(self, index: int) -> bool:
        """Whether the array reads the input of operator ``index``, or what maxima make of it."""
        rest = [op for op in self.ops[index:] if op != "max_pool"]
        return bool(rest) and rest[0] in READS_ARRAY

    def shrinking(self, source: Tensor) -> Window:
        """A pooling window of a map that may be small."""
        kernel = [min(size, int(self.rng.integers(1, 4))) for size in source.shape[1:3]]
        stride = int(self.rng.integers(1, 3))
        padding = (0, 0, 0, 0) if source.bits == 1 else tuple(int(self.rng.integers(0, k)) for k in kernel * 2)
        return Window((kernel[0], kernel[1]), (stride, stride), padding)

    def step(self, index: int, at: Tensor) -> Tensor:
        """Append operator ``index``, which reads ``at``."""
        op, array, name = self.ops[index], self.reads(index + 1), f"{self.ops[index]}{index}"
        one = op not in WIDE
        if op == "conv":
            outputs = int(self.rng.integers(1, self.limits.channels + 1))
            return self.convolution(name, at, outputs, 1, self.window(at), array=array)
        if op == "max_pool":
            w = self.shrinking(at)
            shape = (at.shape[0], *w.output_size(*at.shape[1:3]), at.shape[3])
            out = self.tensors[name] = replace(at, name=name, shape=shape)
            self.layers.append(MaxPool(name, (at.name,), name, out.lowest, out.highest, w))
            return out
        if op == "avg_pool":
            w = self.shrinking(at)
            size = w.output_size(*at.shape[1:3])
            out = self.tensor(name, (at.shape[0], *size, at.shape[3]), array=array, one=one)
            divisors = np.full(size, w.kernel[0] * w.kernel[1], np.int32)
            self.layers.append(AvgPool(name, (at.name,), name, out.lowest, out.highest, w, divisors))
            return out
        outputs = at.shape[3] if op == "add" else int(self.rng.integers(1, 9))
        side = self.convolution(f"side{index}", at, outputs, 1, self.same(), array=False)
        pair = (at.name, side.name) if self.rng.random() < 0.5 else (side.name, at.name)
        channels = outputs if op == "add" else at.shape[3] + outputs
        bits = self.whole(self.tensors[pair[0]].shape[3], array=array) if op == "concat" else None
        out = self.tensor(name, (*at.shape[:3], channels), array=array, one=one, bits=bits)
        low = max(out.lowest, out.zero) if self.rng.random() < 0.5 else out.lowest
        self.layers.append((Add if op == "add" else Concat)(name, pair, name, low, out.highest))
        return out

    def same(self) -> Window:
        """A window whose result has the size of its input."""
        k = int(self.rng.choice([1, 3]))
        return Window((k, k), padding=(k // 2,) * 4)


def mixed_chain(seed: int, limits: Limits) -> Network:
    """Three to six operators, some of them of two layers."""
    d = Chain(seed, limits)
    rng = d.rng
    height, width = (int(v) for v in rng.integers(2, limits.size + 1, 2))
    shape = (int(rng.choice([1, 1, 2])), height, width, int(rng.integers(1, limits.channels + 1)))
    at = d.tensor("x", shape, array=True)
    for index in range(len(d.ops)):
        at = d.step(index, at)
    return Network(f"chain{seed}", d.tensors, tuple(d.layers), ("x",), (at.name,))
