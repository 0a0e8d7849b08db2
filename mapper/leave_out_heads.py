"""Heads that a quantized network leaves out while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil

import numpy as np

from dataflows.attention import Attention
from dataflows.errors import InputError
from dataflows.network import Conv, Layer, Network, Tensor, Window
from dataflows.pruning import HeadConv, Select, factor

LIST_LIMIT = 1 << 15
"""Numbers of a list are 16-bit codes."""


def share(layer: Layer, ratio: float, first: int, left: int, what: str) -> int:
    """How many tokens or heads a ratio of the ``first`` ones is, of which ``left`` are there."""
    count = max(1, ceil(ratio * first - 1e-9))
    if count > left:
        raise InputError(
            f"layer {layer.name}: {ratio:g} of {first} {what} are {count}, but only {left} are left; ratios must not "
            f"rise (--keep-{what})"
        )
    return count


class HeadCut:
    """Layers of a network on the heads that are left, one after the other.

    Parameters
    ----------
    network : Network
        The whole one.
    keep : ratio of heads by name of attention layer
    """

    def __init__(self, network: Network, keep: Mapping[str, float]):
        self.network, self.keep = network, keep
        self.into = {name for x in network.layers if isinstance(x, Attention) for name in x.inputs}
        self.numbers: str | None = None
        self.left = 0
        self.total = 0
        self.first_scale = 0.0
        self.observed: list[str] = []
        self._lists: dict[str, str] = {}
        """Results of attention layers with fewer heads, and which they are."""

    def replaced(self, layer: Layer, tensors: dict[str, Tensor]) -> Layer:
        """A layer with the heads that are left, and so its result."""
        if self.numbers is None:
            return layer
        if isinstance(layer, Attention):
            return self._attention(layer, tensors)
        original = next((x for x in self.network.layers if x.name == layer.name), None)
        if not isinstance(layer, Conv) or original is None:
            return layer
        if layer.output in self.into:
            return self._of_heads(layer, "out", self.numbers, tensors)
        numbers = self._lists.get(original.inputs[0])
        return self._of_heads(layer, "in", numbers, tensors) if numbers else layer

    def behind(self, layer: Attention, tensors: dict[str, Tensor]) -> list[Layer]:
        """What an attention layer adds: a selection, if it has a ratio and heads are to go."""
        scale = tensors[layer.output].scale
        self.first_scale = self.first_scale or scale
        self.total = self.total or layer.heads
        self.left = self.left or layer.heads
        if layer.heads != self.total:
            raise InputError(f"layer {layer.name}: heads are left out of {self.total} everywhere, not of {layer.heads}")
        self.observed.append(layer.output)
        ratio = self.keep.get(layer.name)
        count = self.left if ratio is None else share(layer, ratio, self.total, self.left, "heads")
        if count == self.left:
            return []
        name = f"{layer.name}.heads"
        carried = (self.numbers,) if self.numbers else ()
        select = Select(
            name, (*self.observed, *carried), name, -LIST_LIMIT, LIST_LIMIT - 1, keep=count, heads=True,
            carried=bool(carried),
            factors=tuple(factor(tensors[x].scale, self.first_scale) for x in self.observed),
        )  # fmt: skip
        samples = tensors[layer.output].shape[0]
        tensors[name] = Tensor(name, (samples, 1, count, 1), 1.0, 0, 16)
        self.numbers, self.left, self.observed = name, count, []
        return [select]

    def _attention(self, layer: Attention, tensors: dict[str, Tensor]) -> Attention:
        """Fewer heads; the result has the zero point 0, as the layer behind adds up any of its channels."""
        for name in layer.inputs:
            found = [x for x in self.network.layers if x.output == name]
            users = [x for x in self.network.layers if name in x.inputs]
            if not found or not _linear(found[0]) or len(users) != 1:
                what = found[0].op if found else "an input of the network"
                raise InputError(
                    f"layer {layer.name}: {name} comes from {what}" + (" with other users" if len(users) > 1 else "")
                    + "; heads are left out of attention whose queries, keys and values are linear layers of its own"
                )
        users = [x for x in self.network.layers if layer.output in x.inputs]
        if len(users) != 1 or not _linear(users[0]) or layer.output in self.network.outputs:
            raise InputError(
                f"layer {layer.name}: its result goes to {', '.join(x.op for x in users) or 'the outputs'}; heads are "
                "left out of attention with one linear layer behind it"
            )
        assert self.numbers is not None
        self._lists[layer.output] = self.numbers
        target = tensors[layer.output]
        reach = max(target.highest - target.zero, target.zero - target.lowest) / target.highest
        shape = (*target.shape[:3], target.shape[3] // self.total * self.left)
        scale = float(np.float32(target.scale * reach))
        tensors[layer.output] = replace(target, shape=shape, scale=scale, zero=0)
        return replace(layer, heads=self.left)

    def _of_heads(self, layer: Conv, side: str, numbers: str, tensors: dict[str, Tensor]) -> HeadConv:
        """A linear layer to or from heads."""
        target = tensors[layer.output]
        if side == "out":
            shape = (*target.shape[:3], target.shape[3] // self.total * self.left)
            tensors[layer.output] = replace(target, shape=shape)
        return HeadConv(
            layer.name, (layer.inputs[0], numbers), layer.output, layer.low, layer.high, conv=layer,
            heads=self.total, side=side,
        )  # fmt: skip


def _linear(layer: Layer) -> bool:
    """Whether a layer is a linear one of single tokens."""
    return isinstance(layer, Conv) and layer.window == Window() and layer.groups == 1
