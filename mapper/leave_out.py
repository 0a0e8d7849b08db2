"""Quantized networks that leave out tokens and heads while they run, behind attention layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from dataflows.attention import Attention, Lookup, Norm, Slice
from dataflows.errors import InputError
from dataflows.network import Add, AvgPool, Concat, Conv, Layer, Network, Tensor, Window
from dataflows.pruning import Gather, Select
from mapper.leave_out_heads import LIST_LIMIT, HeadCut, share


def leave_out(
    network: Network, keep_tokens: Mapping[str, float], keep_heads: Mapping[str, float] | None = None
) -> Network:
    """The network with fewer and fewer tokens and heads.

    Of a decoder all tokens stay in the caches: later attention goes by the list of those that were kept.

    Behind each attention layer that has a ratio, the most important tokens stay: that share of those of the first
    attention layer, rounded up. Everything that is needed later is gathered there, so all that follows is computed on
    them. Heads likewise, from the next attention layer on: the layers before and behind it are those of the heads that
    are left.

    Parameters
    ----------
    keep_tokens, keep_heads : ratios by name of attention layer, above 0 and at most 1

    Raises
    ------
    InputError
        When a layer behind a selection takes tokens by their place, or is of a kind that does not treat all tokens
        alike; when a later ratio is larger than an earlier one; when there is more than one sequence; when attention of
        fewer heads is not between linear layers of its own, or reads caches.
    """
    return _Cut(network, keep_tokens, keep_heads or {}).result()


@dataclass
class _Cut:
    """A network under construction: ``renamed`` maps tensors to what stands for them now."""

    network: Network
    keep_tokens: Mapping[str, float]
    keep_heads: Mapping[str, float]

    def __post_init__(self) -> None:
        if self.keep_heads and self.network.caches:
            raise InputError(
                f"model {self.network.name}: heads of caches cannot be left out; leave --keep-heads out"
            )
        self.heads = HeadCut(self.network, self.keep_heads)
        self.tensors: dict[str, Tensor] = dict(self.network.tensors)
        self.layers: list[Layer] = []
        self.renamed: dict[str, str] = {}
        self.observed: list[str] = []
        self.before: str | None = None
        self.first: int | None = None
        """Tokens of the first attention layer."""

    def result(self) -> Network:
        """All layers, one after the other."""
        for index, layer in enumerate(self.network.layers):
            self._append(layer)
            if isinstance(layer, Attention) and self.keep_tokens:
                self._attention(layer, index)
            if isinstance(layer, Attention) and self.keep_heads:
                self.layers += self.heads.behind(layer, self.tensors)
        outputs = tuple(self.renamed.get(name, name) for name in self.network.outputs)
        order = {self.renamed.get(name, name): held for name, held in self.network.output_order.items()}
        used = {name for layer in self.layers for name in (*layer.inputs, layer.output)} | {*self.network.inputs}
        tensors = {name: tensor for name, tensor in self.tensors.items() if name in used}
        return replace(
            self.network, tensors=tensors, layers=tuple(self.layers), outputs=outputs, output_order=order
        )

    def _tokens(self, name: str) -> int:
        return self.tensors[name].shape[2]

    def _append(self, layer: Layer) -> None:
        """A layer on what its inputs are now, and so its result."""
        inputs = tuple(self.renamed.get(name, name) for name in layer.inputs)
        changed = [name for name in layer.inputs if self._tokens(self.renamed.get(name, name)) != self._old(name)]
        if isinstance(layer, Attention) and layer.cached:
            inputs = (*inputs, self.before) if self.before else inputs
            changed = []
        layer = replace(layer, inputs=inputs)
        if changed:
            layer = self._fewer(layer, changed[0])
        self.layers.append(self.heads.replaced(layer, self.tensors))

    def _old(self, name: str) -> int:
        return self.network.tensors[name].shape[2]

    def _fewer(self, layer: Layer, changed: str) -> Layer:
        """The layer on fewer tokens; sets the shape of its result."""
        left, target = self._tokens(layer.inputs[0]), self.network.tensors[layer.output]
        samples, height, _, channels = target.shape
        plain = isinstance(layer, Conv) and layer.window == Window()
        if isinstance(layer, AvgPool) and layer.window.kernel == (1, self._old(changed)):
            window = replace(layer.window, kernel=(1, left))
            return replace(layer, window=window, divisors=np.full_like(layer.divisors, left))
        if isinstance(layer, Attention):
            keys = self._tokens(layer.inputs[1])
            lengths = layer.lengths and tuple(min(count, keys) for count in layer.lengths)
            layer = replace(layer, lengths=lengths)
        elif not (plain or isinstance(layer, Add | Norm | Lookup | Concat)):
            what = "takes tokens by their place" if isinstance(layer, Slice) else "does not treat all tokens alike"
            raise InputError(
                f"layer {layer.name} ({layer.op}) {what}, so no tokens can be left out before it; layers of single "
                "tokens, attention and means over all tokens can follow (--keep-tokens)"
            )
        if len({self._tokens(name) for name in layer.inputs}) > 1:
            raise InputError(f"layer {layer.name} joins tokens that were left out with those that were not")
        self.tensors[layer.output] = replace(target, shape=(samples, height, left, channels))
        return layer

    def _attention(self, layer: Attention, index: int) -> None:
        """What is left behind an attention layer, if it has a ratio."""
        queries, keys = (self._tokens(self.renamed.get(name, name)) for name in layer.inputs[:2])
        if layer.cached:
            keys = self._tokens(self.before) if self.before else keys
        elif queries != keys:
            raise InputError(f"layer {layer.name}: tokens are left out of one sequence, not of {queries} by {keys}")
        self.first = self.first or keys
        self.observed.append(layer.output)
        ratio = self.keep_tokens.get(layer.name)
        if ratio is None:
            return
        count = share(layer, ratio, self.first, keys, "tokens")
        useless = layer.cached and not any(isinstance(x, Attention) for x in self.network.layers[index + 1 :])
        if count < keys and not useless:
            self._select(layer, index, count)

    def _select(self, layer: Attention, index: int, count: int) -> None:
        """A selection, and gathers of all sequences that are there and that later layers read.

        Of caches nothing is gathered: later attention layers go by the list.
        """
        name, samples = f"{layer.name}.select", self.tensors[layer.output].shape[0]
        before = (self.before,) if self.before else ()
        self.layers.append(
            Select(
                name, (*self.observed, *before), name, -LIST_LIMIT, LIST_LIMIT - 1, keep=count, carried=bool(before)
            )
        )
        self.tensors[name] = Tensor(name, (samples, 1, count, 1), 1.0, 0, 16)
        if layer.cached:
            self.before, self.observed = name, []
            return
        later = {source for x in self.network.layers[index + 1 :] for source in x.inputs} | {*self.network.outputs}
        there = [*self.network.inputs, *(x.output for x in self.network.layers[: index + 1])]
        for old in (x for x in there if x in later):
            now = self.renamed.get(old, old)
            tensor = self.tensors[now]
            if tensor.shape[1:3] != (1, self._tokens(layer.output)):
                continue
            kept = f"{old}.{count}"
            self.layers.append(Gather(f"{kept} of {self._tokens(now)}", (now, name, *before), kept))
            self.tensors[kept] = replace(tensor, name=kept, shape=(samples, 1, count, tensor.shape[3]))
            self.renamed[old] = kept
        self.before, self.observed = name, []
