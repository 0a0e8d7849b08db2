"""The DRAM plan: a region and an offset for every tensor."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dataflows import isa
from dataflows.attention import Constant, Slice
from dataflows.network import Layer, Network, Reshape
from dataflows.operators import ChannelSlice
from dataflows.pruning import Select
from mapper.context import Constants, Place

PAGE = 4096
"""Regions and programs begin at multiples of this: bursts are cut at the same places wherever a program is loaded."""

ALIGNMENT = 64
"""Every tensor begins at a multiple of this many bytes: a beat of the widest bus."""


BYTE = 8
"""Bits of a byte."""


def shared(network: Network) -> dict[str, tuple[str, int]]:
    """Tensors that are bytes of another one, each with that and the offset there: reshaped ones, slices of a sample."""
    result: dict[str, tuple[str, int]] = {}
    for layer in network.layers:
        if isinstance(layer, Reshape) or (isinstance(layer, Slice | ChannelSlice) and alias(network, layer)):
            held, offset = result.get(layer.inputs[0], (layer.inputs[0], 0))
            tokens = layer.start if isinstance(layer, Slice) else 0
            target = network.tensors[layer.output]
            channels = layer.start * target.bits // BYTE if isinstance(layer, ChannelSlice) else 0
            result[layer.output] = held, offset + tokens * target.pitch + channels
    return result


def alias(network: Network, layer: Slice | ChannelSlice) -> bool:
    """Whether the bytes of a slice are consecutive ones of its input, without a clamp that changes them."""
    target = network.tensors[layer.output]
    if isinstance(layer, Slice):
        return target.shape[0] == 1
    n, h, w, _ = target.shape
    return n * h * w == 1 and target.bits % BYTE == 0 and (layer.low, layer.high) == (target.lowest, target.highest)


def roots(network: Network) -> dict[str, str]:
    """Tensors that share the bytes of another one, each with that."""
    return {name: held for name, (held, _) in shared(network).items()}


def regions(network: Network) -> dict[str, isa.Region]:
    """Region of every tensor: inputs, outputs and activations have one each."""
    root = roots(network)
    outputs = {root.get(name, name) for name in network.outputs}
    found = {}
    for name in network.tensors:
        held = root.get(name, name)
        region = isa.Region.OUTPUT if held in outputs else isa.Region.ACTIVATION
        found[name] = isa.Region.INPUT if held in network.inputs else region
    return found


def place_tensors(
    network: Network, compressed: Mapping[str, int] | None = None, fixed: Mapping[str, Place] | None = None
) -> tuple[dict[str, Place], dict[isa.Region, int]]:
    """Place of every tensor and size of every region; some tensors share another one's bytes.

    ``compressed`` holds the sizes in bytes of tensors that do not take those of their elements, ``fixed`` the places
    of those that have one.
    """
    sizes = dict.fromkeys((isa.Region.INPUT, isa.Region.OUTPUT, isa.Region.ACTIVATION), 0)
    places: dict[str, Place] = dict(fixed or {})
    root, region = shared(network), regions(network)
    for name, tensor in network.tensors.items():
        if name not in root and name not in places:
            places[name] = Place(region[name], sizes[region[name]])
            size = (compressed or {}).get(name, tensor.bytes)
            sizes[region[name]] += -(-size // ALIGNMENT) * ALIGNMENT
    for name, (held, offset) in root.items():
        places[name] = Place(places[held].region, places[held].offset + offset)
    return places, sizes


def place_constants(network: Network, constants: Constants) -> dict[str, Place]:
    """Values of the model among the constants, once for every sample; where they are."""
    return {
        layer.output: Place(
            isa.Region.CONSTANT,
            constants.add(np.repeat(layer.value, network.tensors[layer.output].shape[0], axis=0)),
        )
        for layer in network.layers
        if isinstance(layer, Constant)
    }


def stays(network: Network, layer: Layer) -> bool:
    """Whether a layer is no work of its own: its bytes are where they are, or what it selects is never in DRAM."""
    return isinstance(layer, Reshape | Constant | Select) or (
        isinstance(layer, Slice | ChannelSlice) and alias(network, layer)
    )
