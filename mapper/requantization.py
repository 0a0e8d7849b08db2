"""Per-channel parameters of a convolution: what the vector unit adds, multiplies and shifts by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataflows.config import Config
from dataflows.network import Conv, Tensor
from mapper.context import parameters
from mapper.numbers import IDENTITY, significand


@dataclass(frozen=True)
class Requantization:
    """Bias (with the input's zero point folded in, unless centred), multiplier and shift of every output channel."""

    bias: NDArray[np.int64]
    multiplier: NDArray[np.int64]
    shift: NDArray[np.int64]

    @staticmethod
    def of(
        layer: Conv, source: Tensor, target: Tensor, *, centred: bool = False, behind: int = 0
    ) -> Requantization:
        """Parameters of ``layer`` between two tensors; ``centred``: its engine takes off the input's zero point.

        ``behind`` is what the array's sums are too high by. One-bit results are signs: nothing is scaled.
        """
        scales = (np.float32(source.scale) * layer.weight_scale.astype(np.float32)) / np.float32(target.scale)
        if target.bits == 1:
            pairs = np.tile(np.array(IDENTITY, np.int64), (len(scales), 1))
        else:
            pairs = np.array([significand(scale, layer.name) for scale in scales], np.int64)
        bias = layer.bias.astype(np.int64) - behind
        if not centred:
            bias = bias - source.zero * layer.weight.astype(np.int64).sum(axis=(1, 2, 3))
        return Requantization(bias, pairs[:, 0], pairs[:, 1])

    def entry(self, cfg: Config, first: int, count: int) -> NDArray[np.uint8]:
        """Parameter entry of ``count`` channels from ``first``."""
        part = slice(first, first + count)
        return parameters(cfg, self.bias[part], self.multiplier[part], self.shift[part])
