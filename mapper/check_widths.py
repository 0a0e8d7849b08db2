"""Whether a configuration has the widths that a network asks for."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from dataflows.attention import Embedding
from dataflows.config import Config
from dataflows.errors import InputError
from dataflows.network import Conv, Network, Reshape
from dataflows.pruning import Select


def check_tensors(cfg: Config, network: Network) -> None:
    """Raise :class:`InputError` naming the first tensor that the vector unit cannot read or write."""
    ids = {layer.inputs[0] for layer in network.layers if isinstance(layer, Embedding)}
    ids |= {layer.output for layer in network.layers if isinstance(layer, Select)}
    for tensor in network.tensors.values():
        if tensor.name in ids:  # only LOAD reads them
            continue
        if cfg.multiplier is None and tensor.bits != cfg.numbers.act_bits:
            raise InputError(
                f"tensor {tensor.name} has {tensor.bits} bits, but {cfg.name} takes operands of {cfg.numbers.act_bits}"
            )
        if tensor.container not in cfg.containers:
            raise InputError(
                f"tensor {tensor.name} has {tensor.bits} bits, {tensor.container} in memory, but {cfg.name} has "
                f"elements of {_listed(cfg.containers)}"
            )
    for layer in network.layers:
        if isinstance(layer, Reshape):
            _check_reshape(network, layer)


def _check_reshape(network: Network, layer: Reshape) -> None:
    """A reshaped tensor has the bytes of its source, so these must have no gaps between pixels."""
    source, target = (network.tensors[name] for name in (layer.inputs[0], layer.output))
    _, height, width, channels = source.shape
    gaps = height * width > 1 and channels * source.container % 8
    if source.bits != target.bits or gaps:
        raise InputError(
            f"layer {layer.name}: {source.shape[3]} channels of {source.bits} bits are no whole bytes, so its pixels "
            f"do not follow each other; give tensor {source.name} 8 bits"
        )


def check_layers(cfg: Config, network: Network, apart: Collection[str]) -> None:
    """Raise :class:`InputError` naming the first layer whose operands have no multipliers in the array.

    Layers named in ``apart`` do not run there.
    """
    if cfg.multiplier is None:
        return
    for layer in network.layers:
        if not isinstance(layer, Conv) or layer.name in apart:
            continue
        source = network.tensors[layer.inputs[0]]
        for what, bits in ((f"inputs ({source.name})", source.bits), ("weights", layer.weight_bits)):
            if bits not in cfg.operand_bits:
                raise InputError(
                    f"layer {layer.name} has {what} of {bits} bits; the multipliers of {cfg.name} "
                    f"({cfg.multiplier.kind}) take {_listed(cfg.operand_bits)} bits"
                )
        if cfg.multiplier.kind == "ternary" and not (source.ternary and layer.weight.min(initial=0) >= -1):
            what = f"weights of {layer.weight.min()}" if source.ternary else f"inputs ({source.name}) of -2 to 1"
            raise InputError(f"layer {layer.name} has {what}; the multipliers of {cfg.name} take -1, 0 and 1")


def _listed(widths: Iterable[int]) -> str:
    return ", ".join(map(str, widths))
