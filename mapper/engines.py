"""Which engine runs which layer: the one asked for, or the faster one."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from dataflows.config import Config
from dataflows.errors import InputError
from dataflows.network import Conv, Network
from mapper.array_plan import array_plan
from mapper.conv_plan import Options
from mapper.part import position
from mapper.sparse_plan import SparsePlan
from mapper.sparse_search import sparse_plan, why_not

CHOICES = ("auto", "array", "sparse")

EXPECTED_ZEROS = 0.5
"""Share of activations that are zero where nothing is known."""


def by_layer(network: Network, engine: Mapping[str, str] | str) -> dict[str, str]:
    """The choice for every convolution and linear layer.

    Raises
    ------
    InputError
        For a layer that does not exist or an engine that does not.
    """
    layers = [layer.name for layer in network.layers if isinstance(layer, Conv)]
    default = engine if isinstance(engine, str) else "auto"
    wanted = {} if isinstance(engine, str) else dict(engine)
    for choice in (default, *wanted.values()):
        if choice not in CHOICES:
            raise InputError(f"--engine must be {', '.join(CHOICES[:-1])} or {CHOICES[-1]}, not {choice!r}")
    chosen = dict.fromkeys(layers, default)
    for name, choice in wanted.items():
        layer = network.layers[position(network, name, "layer for --engine:")].name
        if layer not in chosen:
            raise InputError(f"--engine {name}={choice}: layer {layer} has no weights, so no engine is chosen for it")
        chosen[layer] = choice
    return chosen


def sparse_layers(
    cfg: Config, network: Network, options: Options, zeros: Mapping[str, float], apart: Collection[str] = ()
) -> dict[str, SparsePlan]:
    """Layers that run on the sparse engine, with their plans.

    Parameters
    ----------
    zeros : mapping
        Shares of zeros of activations, where they are known.
    apart : collection of str
        Layers that run elsewhere, whatever is faster.

    Raises
    ------
    InputError
        When an engine is asked for that is not there or cannot run a layer; it says why.
    """
    if options.engine == "sparse" and cfg.sparse is None:
        raise InputError(f"--engine sparse: configuration {cfg.name!r} has no section [sparse]; configs/eie64.toml has")
    chosen, plans = by_layer(network, options.engine), dict[str, SparsePlan]()
    for layer in network.layers:
        if not isinstance(layer, Conv) or chosen[layer.name] == "array":
            continue
        choice, reason = chosen[layer.name], why_not(cfg, layer)
        explicit = choice == "sparse" and options.engine != "sparse"
        if explicit and reason:
            raise InputError(f"--engine {layer.name}=sparse: {reason}")
        if reason or (layer.name in apart and not explicit):
            continue
        plan = _plan(cfg, network, layer, options, zeros, must=choice == "sparse")
        if plan:
            plans[layer.name] = plan
    return plans


def _plan(
    cfg: Config, network: Network, layer: Conv, options: Options, zeros: Mapping[str, float], *, must: bool
) -> SparsePlan | None:
    """The layer's plan on the sparse engine; None if the array is faster, unless it must run there."""
    source, target = network.tensors[layer.inputs[0]], network.tensors[layer.output]
    density = 1 - zeros.get(source.name, EXPECTED_ZEROS)
    try:
        plan = sparse_plan(cfg, layer, source, options, density)
    except InputError:
        if must:
            raise
        return None
    if must:
        return plan
    try:
        dense = array_plan(cfg, layer, source, target, options)
    except InputError:  # nothing fits
        return plan
    return plan if plan.cycles < dense.cycles else None
