"""A part of a network as a network of its own."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace

from dataflows.attention import Constant
from dataflows.errors import InputError
from dataflows.network import Add, Layer, Network, Reshape


def position(network: Network, text: str, what: str = "layer") -> int:
    """Index of a layer given by its name or its number. Raises ``InputError`` with similar names."""
    names = [layer.name for layer in network.layers]
    if text in names:
        return names.index(text)
    if text.isdecimal() and int(text) < len(names):
        return int(text)
    similar = difflib.get_close_matches(text, names, 3, 0.3) or names[:8]
    raise InputError(
        f"there is no {what} {text!r}; layers are called by name or by number 0..{len(names) - 1}, "
        f"e.g. {', '.join(similar)}"
    )


def bounds(network: Network, text: str) -> tuple[int, int]:
    """First and last layer of ``A..B`` (or of ``A`` alone)."""
    first, dots, last = text.partition("..")
    a = position(network, first)
    b = position(network, last) if dots else a
    if b < a:
        raise InputError(f"--layers {text}: layer {last} comes before {first}")
    return a, b


def cut(network: Network, first: int, last: int, fused: Mapping[str, Add]) -> Network:
    """Layers ``first`` to ``last`` alone, with the additions that run in their epilogues and the constants they read.

    Inputs are the tensors they read from outside; outputs are the tensors that anything outside reads, or nothing
    reads. Names, scales and weights stay.
    """
    names = {layer.name for layer in network.layers[first : last + 1]}
    names |= {add.name for conv, add in fused.items() if conv in names}
    layers = tuple(layer for layer in network.layers if layer.name in names)
    if all(isinstance(layer, Reshape) for layer in layers):
        raise InputError(f"layer {layers[0].name} only reshapes: it takes no time and there is nothing to run")
    read = _read(layers)
    names |= {layer.name for layer in network.layers if isinstance(layer, Constant) and layer.output in read}
    layers = tuple(layer for layer in network.layers if layer.name in names)
    made = {layer.output for layer in layers}
    outside = _read(tuple(layer for layer in network.layers if layer.name not in names)) | set(network.outputs)
    inputs = tuple(name for name in network.tensors if name in read - made)
    outputs = tuple(layer.output for layer in layers if layer.output in outside or layer.output not in read)
    tensors = {name: tensor for name, tensor in network.tensors.items() if name in made | set(inputs)}
    orders = {name: order for name, order in network.output_order.items() if name in outputs}
    return replace(
        network, tensors=tensors, layers=layers, inputs=inputs, outputs=outputs, output_order=orders
    )


def _read(layers: tuple[Layer, ...]) -> set[str]:
    return {name for layer in layers for name in layer.inputs}
