"""How caches of keys and values lie in memory: head by head, and by halves where keys are fetched so.

The numbers are those of ``docs/numerics.md``, sections 11 and 12; a head's keys are one run of bytes, so bursts are as
long as they can be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataflows.attention import Append, Attention
from dataflows.config import Config
from dataflows.errors import InputError
from dataflows.network import Codes, Network, Tensor


def halved(network: Network) -> set[str]:
    """Caches that lie as two planes: the upper halves of all codes, then the lower ones."""
    return {layer.inputs[1] for layer in network.layers if isinstance(layer, Attention) and layer.threshold}


@dataclass(frozen=True)
class CacheLayout:
    """Where the bytes of a cache lie: (halves,) heads, tokens, channels of a head.

    With ``halves`` all upper ones come before all lower ones, two of a token in a byte, the lower
    channel's in its lower bits.
    """

    tensor: Tensor
    heads: int
    halves: bool

    @staticmethod
    def of(network: Network, name: str) -> CacheLayout | None:
        """The layout of a tensor that is a cache; None: it is none.

        Caches that not only attention layers of as many heads read are taken to have one head: tokens as they are.
        """
        if not any(isinstance(layer, Append) and layer.output == name for layer in network.layers):
            return None
        readers = [layer for layer in network.layers if name in layer.inputs]
        heads = {layer.heads if isinstance(layer, Attention) and layer.cached else 1 for layer in readers}
        return CacheLayout(network.tensors[name], heads.pop() if len(heads) == 1 else 1, name in halved(network))

    @property
    def depth(self) -> int:
        """Channels of a head."""
        return self.tensor.shape[3] // self.heads

    @property
    def pitch(self) -> int:
        """Bytes from a token of a head to the next."""
        return self.depth // 2 if self.halves else self.depth

    @property
    def plane(self) -> int:
        """Bytes of one half of all keys."""
        return self.tensor.bytes // 2

    def start(self, head: int) -> int:
        """The first byte of a head."""
        return head * self.tensor.shape[2] * self.pitch

    def together(self, channels: tuple[int, int], lanes: int) -> Iterator[tuple[int, int]]:
        """Ranges of ``channels`` that one STORE job takes from words of ``lanes``: a row ends where a word does."""
        (first, end), depth = channels, self.depth
        if depth % lanes == first % depth == end % depth == 0:
            yield first, end
            return
        for head in range(first // depth, (end - 1) // depth + 1):
            yield max(first, head * depth), min(end, (head + 1) * depth)

    def packed(self, values: Codes) -> NDArray[np.uint8]:
        """The bytes of a cache's values."""
        apart = values.reshape(-1, self.heads, self.depth).swapaxes(0, 1).astype(np.uint8).ravel()
        if not self.halves:
            return apart
        halves = [apart >> shift & 15 for shift in (4, 0)]
        return np.concatenate([half[::2] | half[1::2] << 4 for half in halves]).astype(np.uint8)

    def codes(self, raw: NDArray[np.uint8]) -> Codes:
        """The values, from their bytes."""
        if self.halves:
            upper, lower = (np.stack([half & 15, half >> 4], axis=-1).ravel() for half in raw.reshape(2, -1))
            raw = (upper << 4 | lower).astype(np.uint8)
        apart = raw.view(np.int8).reshape(self.heads, -1, self.depth)
        codes: Codes = apart.swapaxes(0, 1).reshape(self.tensor.shape)
        return codes


def check_halves(cfg: Config, network: Network, layer: Attention, suited: bool) -> None:
    """Raise :class:`InputError` unless keys of a layer can be fetched by halves.

    ``suited`` says whether its query can be the weight.
    """
    if not layer.threshold:
        return
    keys, queries = layer.inputs[1], network.tensors[layer.inputs[0]].shape[2]
    depth = network.tensors[keys].shape[3] // layer.heads
    made = any(isinstance(x, Append) and x.output == keys for x in network.layers)
    if not layer.cached or not made or not suited:
        raise InputError(
            f"layer {layer.name}: keys are fetched by halves (threshold {layer.threshold:.3g}) from caches, for runs "
            f"of one token and as many keys as the accumulators hold; it has {queries} queries"
        )
    if depth % 2 or cfg.lanes % 2:
        raise InputError(
            f"layer {layer.name}: two halves share a byte, so heads ({depth} channels) and array.cols ({cfg.lanes}) "
            "must be even"
        )
    others = [x.name for x in network.layers if keys in x.inputs and x is not layer]
    if others:
        raise InputError(f"layer {layer.name}: its keys lie by halves in cache {keys}, so {others[0]} cannot read them")
