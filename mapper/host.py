"""Which layers an accelerator has nothing for: the host computes them, as the golden model does, between its programs.

To make another operator fall back, say why here; nothing else of the mapper asks.
"""

from __future__ import annotations

from collections.abc import Mapping

from dataflows.attention import Attention, Embedding, Lookup, Norm, Slice
from dataflows.config import Config
from dataflows.errors import InputError
from dataflows.network import Layer, Network
from dataflows.operators import ChannelSlice, Multiply, Spread, Upsample
from dataflows.pruning import Gather, HeadConv, Select

BYTE = 8
"""Bits of elements that are bytes."""


def host_layers(cfg: Config, network: Network) -> dict[str, str]:
    """Layers that the accelerator cannot run, by name, and why not.

    Raises
    ------
    InputError
        When the others cannot be cut apart there: what a decoder keeps, and what is selected, is on chip.
    """
    found = {layer.name: why for layer in network.layers if (why := _missing(cfg, network, layer))}
    selects = any(
        isinstance(layer, Select | Gather | HeadConv) or (isinstance(layer, Attention) and layer.approximate)
        for layer in network.layers
    )
    if found and (network.caches or selects):
        name, why = next(iter(found.items()))
        raise InputError(
            f"layer {name} would run on the host ({why}), which a decoder with caches or a model that leaves out "
            f"tokens, heads or keys cannot wait for; take a configuration that has it, e.g. configs/ws16_attention.toml"
        )
    return found


def host_note(found: Mapping[str, str], programs: int) -> str:
    """What a reader of cycles has to know: layers on the host, and the programs of the others."""
    reasons = dict.fromkeys(found.values())
    each = "; ".join(f"{', '.join(name for name, w in found.items() if w == why)} ({why})" for why in reasons)
    return (
        f"on the host, in time that cycles do not count, between {programs} program(s) of the accelerator, "
        f"{len(found)} layer(s): {each}"
    )


def _missing(cfg: Config, network: Network, layer: Layer) -> str:
    """What the accelerator lacks for a layer; nothing if it can run it."""
    match layer:
        case Attention() | Norm() | Lookup() | Embedding() if cfg.attention is None:
            return "no row engine, tables and lists: [attention]"
        case Multiply():
            return _product(cfg, network, layer)
        case Upsample() | Spread() | ChannelSlice() | Slice() if cfg.codec is not None:
            return "its activations lie compressed: [codec]"
        case Slice() if network.tensors[layer.output].bits != BYTE:
            return f"elements of {network.tensors[layer.output].bits} bits; tokens of {BYTE} are moved"
        case Upsample() | Spread() | ChannelSlice() if network.tensors[layer.output].bits != cfg.numbers.act_bits:
            return f"elements of {network.tensors[layer.output].bits} bits; {cfg.numbers.act_bits} are moved"
    return ""


def _product(cfg: Config, network: Network, layer: Multiply) -> str:
    """What is missing for a product of two tensors."""
    a, b = (network.tensors[name] for name in layer.inputs)
    wide = [t.bits for t in (a, b, network.tensors[layer.output]) if t.bits != BYTE]
    pixel = (b.shape[0], 1, 1, a.shape[3])
    if not cfg.products:
        return "no products of two tensors in the vector unit: vector.products"
    if wide or cfg.codec is not None:
        return "a product of plain elements of 8 bits is what the vector unit makes"
    if b.shape not in (a.shape, pixel):
        return f"a product of {a.shape} and {b.shape}; they are equal, or the second is a pixel {pixel}"
    return ""
