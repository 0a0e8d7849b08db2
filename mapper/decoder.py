"""From a causal network over all its tokens to a decoder that takes a few at a time and keeps keys and values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from dataflows.attention import Append, Attention, Constant, Embedding, Lookup, Norm, Positional, Slice
from dataflows.errors import InputError
from dataflows.network import Add, Concat, Conv, Layer, MaxPool, Network, Reshape, Tensor, Window
from mapper.layer_specs import LayerSpec

TOKENWISE = "layers of single tokens, causal attention of the sequence to itself, and the last token alone at the end"
"""What a decoder may consist of."""


def decoder(network: Network, tokens: int = 1, context: int | None = None) -> Network:
    """The decoder of a causal network (``docs/numerics.md``, section 11).

    Keys and values go to caches, causal attention becomes attention to these, constants over the tokens become values
    by position; scales and weights stay. So a run at position P gives the bits that the network gives for its tokens P
    to P + tokens - 1. A layer of single tokens that makes an output is computed for the last token alone.

    Parameters
    ----------
    network : Network
        Quantized, of one sequence 1 x 1 x L x C.
    tokens : int
        Tokens of a run, 1 to ``context``.
    context : int, optional
        Tokens that the caches hold: L if left out. More than L is allowed where no value of the model ends there.

    Raises
    ------
    InputError
        When there is no causal attention, a layer mixes tokens otherwise (its name, what it is, what is possible), or
        ``tokens`` or ``context`` are out of range.
    """
    return _Decoder(network, tokens, context).result()


def length(network: Network) -> int:
    """Tokens that a network takes at once."""
    return network.tensors[network.inputs[0]].shape[2]


def by_halves(network: Network, threshold: LayerSpec[float]) -> Network:
    """A decoder that fetches the upper halves of its keys first (``docs/numerics.md``, section 12).

    ``threshold``: by attention layer the probability that one has to reach for the lower ones to stay away.
    """
    names = [layer.name for layer in network.layers if isinstance(layer, Attention)]
    reach = threshold.resolve(names, "--key-threshold")
    layers = (replace(x, threshold=reach[x.name]) if x.name in reach and isinstance(x, Attention) else x
              for x in network.layers)  # fmt: skip
    return replace(network, layers=tuple(layers))


@dataclass
class _Decoder:
    """A decoder under construction: ``renamed`` maps tensors of the network to what stands for them now."""

    network: Network
    tokens: int
    context: int | None
    layers: list[Layer] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    caches: dict[str, str] = field(default_factory=dict)

    def result(self) -> Network:
        """All layers, one after the other."""
        network = self.network
        self.length = length(network)
        self._check()
        for name in network.inputs:
            self._declare(name, self.tokens)
        for layer in network.layers:
            self._add(layer)
        if not self.caches:
            raise self._refused(
                "has no causal attention, so it is not a decoder", "export a model with scaled_dot_product_attention("
                "..., is_causal=True) or with a causal mask"
            )  # fmt: skip
        outputs = tuple(self.renamed.get(name, name) for name in network.outputs)
        caches = tuple(self.caches.values())
        return replace(network, tensors=self.tensors, layers=tuple(self.layers), outputs=outputs, caches=caches)

    def _check(self) -> None:
        """Inputs are one sequence; counts are in range."""
        for name in self.network.inputs:
            shape = self.network.tensors[name].shape
            if shape[:2] != (1, 1):
                raise self._refused(
                    f"takes {name} of shape {shape}; a decoder takes one sequence, 1 x 1 x tokens x channels",
                    "export the model with one sample, its tokens in the second dimension",
                )
            if shape[2] != self.length:
                raise self._refused(f"takes sequences of {self.length} and of {shape[2]} tokens", "give it one length")
        self.most = self.length if self.context is None else self.context
        if not 1 <= self.tokens <= self.most:
            raise InputError(f"a run takes 1 to {self.most} tokens, the context, not {self.tokens}")

    def _refused(self, found: str, remedy: str) -> InputError:
        return InputError(f"model {self.network.name} {found}; {remedy}")

    def _mixes(self, layer: Layer, found: str) -> InputError:
        return InputError(
            f"layer {layer.name} ({layer.op}) {found}, so the model cannot generate token by token; a decoder has "
            f"{TOKENWISE}"
        )

    def _declare(self, name: str, tokens: int) -> None:
        tensor = self.network.tensors[name]
        self.tensors[name] = replace(tensor, shape=(1, 1, tokens, tensor.shape[3]))

    def _add(self, original: Layer) -> None:
        layer = replace(original, inputs=tuple(self.renamed.get(name, name) for name in original.inputs))
        match layer:
            case Constant():
                self._constant(layer)
                return
            case Slice():
                self._last(layer)
                return
            case Attention():
                layer = self._attention(layer)
            case _:
                self._check_tokenwise(original)
                if layer.output in self.network.outputs and isinstance(layer, Conv):
                    layer = replace(layer, inputs=(self._only_last(layer.inputs[0]),))
        counts = {self.tensors[name].shape[2] for name in layer.inputs if name not in self.caches.values()}
        if len(counts) != 1:
            raise self._mixes(layer, "joins all tokens with the last one")
        self._declare(layer.output, counts.pop())
        self.layers.append(layer)

    def _check_tokenwise(self, layer: Layer) -> None:
        """A layer of a kind that treats tokens one by one, on them as they are."""
        window = getattr(layer, "window", Window())
        kept = isinstance(layer, Conv | MaxPool) and window == Window()
        if isinstance(layer, Reshape):
            before, after = (self.network.tensors[name].shape for name in (*layer.inputs, layer.output))
            kept = before == after
        if not (kept or isinstance(layer, Embedding | Norm | Lookup | Add | Concat)):
            raise self._mixes(layer, "mixes tokens")

    def _constant(self, layer: Constant) -> None:
        """A value per token becomes a value by position."""
        shape = layer.value.shape
        if shape[1] != 1 or shape[2] != self.length:
            raise self._mixes(layer, f"holds {shape[1]} x {shape[2]} values, not one for each of {self.length} tokens")
        if self.most > self.length:
            raise InputError(
                f"layer {layer.name} has values for {self.length} positions; a context of {self.most} tokens is too "
                f"long, give at most {self.length}"
            )
        fields = layer.name, (), layer.output, layer.low, layer.high
        self._declare(layer.output, self.tokens)
        self.layers.append(Positional(*fields, value=layer.value[:, :, : self.most]))

    def _last(self, layer: Slice) -> None:
        """The last token of a network is the last one of a run."""
        if (layer.start, layer.stop) != (self.length - 1, self.length):
            raise self._mixes(layer, f"takes tokens {layer.start} to {layer.stop - 1} of {self.length}")
        self.renamed[layer.output] = self._only_last(layer.inputs[0])

    def _only_last(self, name: str) -> str:
        """The last token of a run, of a sequence or of that token alone."""
        tensor, last = self.tensors[name], f"{name}.last"
        if tensor.shape[2] == 1:
            return name
        if last not in self.tensors:
            count = self.tokens
            self.tensors[last] = replace(tensor, name=last, shape=(1, 1, 1, tensor.shape[3]))
            self.layers.append(Slice(last, (name,), last, tensor.lowest, tensor.highest, start=count - 1, stop=count))
        return last

    def _attention(self, layer: Attention) -> Attention:
        """Keys and values of all tokens before come from caches."""
        queries, *others = layer.inputs
        counts = [self.tensors[name].shape[2] for name in layer.inputs]
        if not layer.causal or layer.lengths is not None:
            raise self._mixes(layer, "sees keys behind its query" if not layer.causal else "hides keys by length")
        if counts != [self.tokens] * 3:
            raise self._mixes(layer, "is not attention of the sequence to itself")
        if layer.approximate not in (None, "least"):
            raise self._mixes(layer, f"leaves out single keys or values of the whole sequence ({layer.approximate})")
        keys, values = (self._cache(name) for name in others)
        return replace(layer, inputs=(queries, keys, values), causal=False, cached=True)

    def _cache(self, name: str) -> str:
        """The cache of a tensor."""
        if name not in self.caches:
            tensor, cache = self.tensors[name], f"{name}.cache"
            self.caches[name] = cache
            self.tensors[cache] = replace(tensor, name=cache, shape=(1, 1, self.most, tensor.shape[3]))
            self.layers.append(Append(cache, (name,), cache, tensor.lowest, tensor.highest))
        return self.caches[name]
