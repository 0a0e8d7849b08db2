"""Which engine runs which layer: the one asked for, or the faster one."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from dataflows.config import Config
from dataflows.errors import InputError
from dataflows.network import Conv, Network
from mapper.array_plan import array_plan
from mapper.conv_plan import ENGINES, Options
from mapper.part import position
from mapper.sparse_plan import SparsePlan
from mapper.sparse_search import sparse_plan, why_not

EXPECTED_ZEROS = 0.5
"""Share of activations that are zero where nothing is known."""


def resolved(network: Network, engine: Mapping[str, str] | str) -> Mapping[str, str] | str:
    """The choice with layers by name, not by number.

    Raises
    ------
    InputError
        For a layer that does not exist or an engine that does not.
    """
    for choice in [engine] if isinstance(engine, str) else engine.values():
        if choice not in ENGINES:
            raise InputError(f"--engine must be {', '.join(ENGINES[:-1])} or {ENGINES[-1]}, not {choice!r}")
    if isinstance(engine, str):
        return engine
    chosen: dict[str, str] = {}
    for name, choice in engine.items():
        layer = network.layers[position(network, name, "layer for --engine:")]
        if not isinstance(layer, Conv):
            raise InputError(f"--engine {name}={choice}: layer {layer.name} has no weights; leave it out")
        chosen[layer.name] = choice
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
    chosen, plans = resolved(network, options.engine), dict[str, SparsePlan]()
    for layer in network.layers:
        choice = chosen if isinstance(chosen, str) else chosen.get(layer.name, "auto")
        if not isinstance(layer, Conv) or choice == "array":
            continue
        reason, explicit = why_not(cfg, layer), choice == "sparse" and chosen != "sparse"
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
