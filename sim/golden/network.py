"""Runs a whole network, layer after layer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dataflows.errors import InputError
from dataflows.network import Add, AvgPool, Concat, Conv, Layer, MaxPool, Network, Reshape
from sim.golden import elementwise, pooling
from sim.golden.conv import conv

Activation = NDArray[np.int8]


def run(network: Network, inputs: Mapping[str, Activation]) -> dict[str, Activation]:
    """Compute every tensor of a network.

    Parameters
    ----------
    network : Network
    inputs : one int8 array (N, H, W, C) per network input
        N need not be the one of the network: samples do not affect each other.

    Returns
    -------
    dict
        Tensor name to int8 array (N, H, W, C), inputs included, in the order they were computed.

    Raises
    ------
    InputError
        An input is missing, unknown, of another type or shape; a scale cannot be represented;
        a layer's result does not have the shape the network says.
    """
    _check_names(network, inputs)
    values: dict[str, Activation] = {}
    for name in network.inputs:
        if inputs[name].dtype != np.int8:
            raise InputError(f"input {name!r} must be an array of int8, not {inputs[name].dtype}")
        values[name] = inputs[name]
        _check_shape(network, name, values[name], "input")
    for layer in network.layers:
        values[layer.output] = run_layer(network, layer, values)
    return values


def run_layer(network: Network, layer: Layer, values: Mapping[str, Activation]) -> Activation:
    """Compute the output of one layer, int8 (N, H, W, C), from the tensors in ``values``."""
    xs = [values[name] for name in layer.inputs]
    sources = [network.tensors[name] for name in layer.inputs]
    target = network.tensors[layer.output]
    match layer:
        case Conv():
            result = conv(layer, xs[0], sources[0], target)
        case MaxPool():
            result = pooling.max_pool(layer, xs[0])
        case AvgPool():
            result = pooling.avg_pool(layer, xs[0], sources[0], target)
        case Add():
            result = elementwise.add(layer, xs, sources, target)
        case Concat():
            result = elementwise.concat(layer, xs, sources, target)
        case Reshape():
            result = elementwise.reshape(layer, xs[0])
        case _:
            raise InputError(f"layer {layer.name!r}: the golden model has no operator {layer.op!r}")
    _check_shape(network, layer.output, result, f"layer {layer.name!r}: result")
    return result


def _check_names(network: Network, inputs: Mapping[str, Activation]) -> None:
    if set(inputs) != set(network.inputs):
        wanted, found = ", ".join(network.inputs), ", ".join(inputs) or "none"
        raise InputError(f"network {network.name!r} takes the inputs {wanted}, not {found}")


def _check_shape(network: Network, name: str, value: Activation, what: str) -> None:
    wanted = network.tensors[name].shape
    if value.ndim != 4 or value.shape[1:] != wanted[1:]:
        sizes = ", ".join(str(size) for size in wanted[1:])
        raise InputError(f"{what} {name!r} must have the shape (N, {sizes}), not {value.shape}")
