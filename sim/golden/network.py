"""Runs a whole network, layer after layer."""

from __future__ import annotations

from collections.abc import Mapping

from dataflows.attention import Append, Attention, Constant, Embedding, Lookup, Norm, Positional, Slice
from dataflows.errors import InputError
from dataflows.network import Add, AvgPool, Codes, Concat, Conv, Layer, MaxPool, Network, Reshape
from dataflows.operators import ChannelSlice, Multiply, Spread, Upsample
from dataflows.pruning import Gather, HeadConv, Select
from sim.golden import elementwise, pooling, pruning, resample, sequence
from sim.golden.attention import attention, unsure
from sim.golden.caches import append, caches_before, positional
from sim.golden.conv import conv
from sim.golden.norms import norm
from sim.golden.observed import Importance
from sim.golden.widths import check_codes, check_layer, check_tensor


def run(
    network: Network, inputs: Mapping[str, Codes], caches: Mapping[str, Codes] | None = None, position: int = 0
) -> dict[str, Codes]:
    """Compute every tensor of a network.

    Parameters
    ----------
    network : Network
    inputs : one array (N, H, W, C) per network input, of the type of its tensor
        N need not be the one of the network: samples do not affect each other.
    caches : arrays by name
        What the network's caches hold after the run before; nothing (zeros) without it.
    position : int
        Tokens before those of the run, where the network has caches.

    Returns
    -------
    dict
        Tensor name to array (N, H, W, C), inputs and caches included, in the order they were computed.

    Raises
    ------
    InputError
        An input is missing, unknown, of another type or shape; a scale cannot be represented; an integer does not fit
        the width that the network gives it; a layer's result does not have the shape the network says.
    """
    _check_names(network, inputs)
    values: dict[str, Codes] = dict(caches_before(network, caches))
    for name in network.inputs:
        check_tensor(network.tensors[name])
        wanted = network.tensors[name].dtype
        if inputs[name].dtype != wanted:
            raise InputError(f"input {name!r} must be an array of {wanted}, not {inputs[name].dtype}")
        values[name] = inputs[name]
        _check_shape(network, name, values[name], "input")
        check_codes(values[name], network.tensors[name].lowest, network.tensors[name].bits, f"input {name!r}")
    importance = Importance(network, position)
    for layer in network.layers:
        values[layer.output] = run_layer(network, layer, values, importance)
        importance.observe(layer, values)
    return values


def decisions(network: Network, values: Mapping[str, Codes], position: int = 0) -> list[bool]:
    """What is decided in a run that gives ``values``: whether lower halves of keys are fetched, by layer and head."""
    found: list[bool] = []
    for layer in network.layers:
        if isinstance(layer, Attention) and layer.threshold:
            xs, sources = [values[name] for name in layer.inputs], [network.tensors[name] for name in layer.inputs]
            found += unsure(layer, xs, sources, position).ravel().tolist()
    return found


def run_layer(
    network: Network, layer: Layer, values: Mapping[str, Codes], importance: Importance | None = None
) -> Codes:
    """Compute the output of one layer, (N, H, W, C), from the tensors in ``values``.

    ``importance`` is what selections go by, of the layers before; it also knows the position of the run.
    """
    xs = [values[name] for name in layer.inputs]
    sources = [network.tensors[name] for name in layer.inputs]
    target = network.tensors[layer.output]
    importance = importance or Importance(network)
    position = importance.position
    check_layer(layer, sources, target)
    match layer:
        case Conv():
            result = conv(layer, xs[0], sources[0], target)
        case MaxPool():
            result = pooling.max_pool(layer, xs[0], sources[0], target)
        case AvgPool():
            result = pooling.avg_pool(layer, xs[0], sources[0], target)
        case Add():
            result = elementwise.add(layer, xs, sources, target)
        case Concat():
            result = elementwise.concat(layer, xs, sources, target)
        case Multiply():
            result = elementwise.multiply(layer, xs, sources, target)
        case Upsample():
            result = resample.upsample(layer, xs[0], target)
        case Spread():
            result = resample.spread(layer, xs[0], sources[0], target)
        case ChannelSlice():
            result = resample.channels(layer, xs[0], target)
        case Reshape():
            result = elementwise.reshape(layer, xs[0], target)
        case Attention():
            result = attention(layer, xs, sources, target, position)
        case Norm():
            result = norm(layer, xs[0], sources[0], target)
        case Lookup():
            result = sequence.lookup(layer, xs[0], sources[0], target)
        case Embedding():
            result = sequence.embedding(layer, xs[0], target)
        case Constant():
            result = sequence.constant(layer, len(values[network.inputs[0]]), target)
        case Slice():
            result = sequence.part(layer, xs[0])
        case Append():
            result = append(layer, xs[0], values[layer.output], position)
        case Positional():
            result = positional(layer, target, position)
        case Select():
            result = importance.select(layer, values)
        case Gather():
            result = pruning.gather(layer, xs)
        case HeadConv():
            result = pruning.head_conv(layer, xs, sources[0], target)
        case _:
            raise InputError(f"layer {layer.name!r}: the golden model has no operator {layer.op!r}")
    _check_shape(network, layer.output, result, f"layer {layer.name!r}: result")
    return result


def _check_names(network: Network, inputs: Mapping[str, Codes]) -> None:
    if set(inputs) != set(network.inputs):
        wanted, found = ", ".join(network.inputs), ", ".join(inputs) or "none"
        raise InputError(f"network {network.name!r} takes the inputs {wanted}, not {found}")


def _check_shape(network: Network, name: str, value: Codes, what: str) -> None:
    wanted = network.tensors[name].shape
    if value.ndim != 4 or value.shape[1:] != wanted[1:]:
        sizes = ", ".join(str(size) for size in wanted[1:])
        raise InputError(f"{what} {name!r} must have the shape (N, {sizes}), not {value.shape}")
