"""The DRAM plan: a region and an offset for every tensor."""

from __future__ import annotations

from collections.abc import Mapping

from dataflows import isa
from dataflows.network import Network, Reshape
from mapper.context import Place

ALIGNMENT = 64
"""Every tensor begins at a multiple of this many bytes: a beat of the widest bus."""


def roots(network: Network) -> dict[str, str]:
    """Reshaped tensors, each with the one whose bytes it shares."""
    result: dict[str, str] = {}
    for layer in network.layers:
        if isinstance(layer, Reshape):
            result[layer.output] = result.get(layer.inputs[0], layer.inputs[0])
    return result


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
    network: Network, compressed: Mapping[str, int] | None = None
) -> tuple[dict[str, Place], dict[isa.Region, int]]:
    """Place of every tensor and size of every region; a reshaped tensor shares its source's bytes.

    ``compressed`` holds the sizes in bytes of tensors that do not take those of their elements.
    """
    sizes = dict.fromkeys((isa.Region.INPUT, isa.Region.OUTPUT, isa.Region.ACTIVATION), 0)
    places: dict[str, Place] = {}
    root, region = roots(network), regions(network)
    for name, tensor in network.tensors.items():
        if name not in root:
            places[name] = Place(region[name], sizes[region[name]])
            size = (compressed or {}).get(name, tensor.bytes)
            sizes[region[name]] += -(-size // ALIGNMENT) * ALIGNMENT
    for name, held in root.items():
        places[name] = places[held]
    return places, sizes
