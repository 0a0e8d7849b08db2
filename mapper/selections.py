"""What the jobs of a network have to do with its selections: whose importance is added, where lists lie."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import ceil

import numpy as np

from dataflows import isa
from dataflows.attention import Attention, Embedding
from dataflows.config import Config
from dataflows.errors import InputError
from dataflows.network import Layer, Network
from dataflows.pruning import PROBABILITY_BITS, Gather, HeadConv, Select
from mapper.builder import Builder
from mapper.candidates import check_candidates, longest_list
from mapper.context import Context
from mapper.scoreboard import Access

HEADS = "head importance"
"""Accumulators of heads, as a memory of the scoreboard: VECTOR adds to them, ROWS selects by them."""


def selection_of(network: Network, attention: Attention, *, heads: bool) -> Select | None:
    """The selection by a layer's importance."""
    found = (layer for layer in network.layers if isinstance(layer, Select) and layer.heads == heads)
    return next((layer for layer in found if attention.output in layer.observed), None)


def observed(network: Network, attention: Attention, *, heads: bool) -> dict[str, int]:
    """Fields of the register ``importance`` of a layer's first job: none where nothing selects by it."""
    select = selection_of(network, attention, heads=heads)
    if select is None:
        return {}
    first = not select.carried and select.observed[0] == attention.output
    fields = {"observe": 1, "fresh": int(first)}
    return fields | ({"factor": select.factors[select.observed.index(attention.output)]} if heads else {})


def goes_by(layer: Layer) -> str | None:
    """The list by which a layer's jobs load rows."""
    if isinstance(layer, Attention):
        return layer.listed
    return layer.inputs[1] if isinstance(layer, Gather | HeadConv) else None


def list_places(network: Network) -> tuple[dict[str, int], int]:
    """First index of the lists of every selection, and indices in all; a place is used again behind the last user."""
    held: list[tuple[int, int, int]] = []  # (first index, end, last layer that needs it)
    places: dict[str, int] = {}
    most = 0
    for index, layer in enumerate(network.layers):
        if not isinstance(layer, Select):
            continue
        users = [i for i, user in enumerate(network.layers) if goes_by(user) == layer.output]
        held = sorted(x for x in held if x[2] >= index)
        start = 0
        for first, end, _ in held:
            if start + 2 * layer.keep <= first:
                break
            start = max(start, end)
        held.append((start, start + 2 * layer.keep, max(users, default=index)))
        places[layer.output] = start
        most = max(most, start + 2 * layer.keep)
    return places, most


def check_selections(cfg: Config, network: Network) -> None:
    """Raise :class:`InputError` naming the first layer of pruning that the accelerator cannot run."""
    selections = [layer for layer in network.layers if isinstance(layer, Select)]
    for layer in network.layers:
        if isinstance(layer, Attention) and layer.approximate:
            _check_values(cfg, network, layer, layer.approximate)
        if not isinstance(layer, Select | Gather | HeadConv):
            continue
        if not cfg.pruning:
            raise InputError(
                f"layer {layer.name} ({layer.op}) selects while running, which {cfg.name} cannot; set "
                "attention.pruning = true"
            )
        samples = network.tensors[layer.output].shape[0]
        if samples != 1:
            raise InputError(
                f"layer {layer.name}: importance is that of one sample, so the batch must be 1, not {samples}"
            )
    for kind in (False, True):
        before = None
        for layer in selections:
            if layer.heads == kind and layer.carried and layer.before != before:
                raise InputError(
                    f"layer {layer.name}: it must carry on with the selection before it, not {layer.before}"
                )
            before = layer.output if layer.heads == kind else before
    if cfg.attention is not None:
        size = list_places(network)[1] + longest_values_list(network) + longest_list(network)
        room = cfg.attention.indices - lists_from(cfg, network)
        if size > room:
            raise InputError(f"lists of {size} indices do not fit the {room} of {cfg.name}; raise attention.indices")


def _check_values(cfg: Config, network: Network, layer: Attention, field: str) -> None:
    """A layer that leaves out single keys or values, by a field of it."""
    if layer.candidates:
        check_candidates(cfg, network, layer)
    if layer.candidates and selection_of(network, layer, heads=False):
        raise InputError(
            f"layer {layer.name} attends to candidates: its keys are no tokens that could be selected by their "
            "importance; leave --candidates or --keep-tokens out for this layer"
        )
    if not cfg.values:
        what = "drops small numerators" if field == "least" else "leaves out values"
        raise InputError(f"layer {layer.name} {what} ({field}), which needs attention.values = true")
    keys = layer.keys(network.tensors)
    if layer.keep_values is not None and not 1 <= layer.keep_values <= keys:
        raise InputError(f"layer {layer.name}: of {keys} values 1 to {keys} can be kept, not {layer.keep_values}")


def longest_values_list(network: Network) -> int:
    """Indices of the list of a head's values, which all heads of all layers use in turn; its length is one of them."""
    counts = [(x, x.keys(network.tensors)) for x in network.layers if isinstance(x, Attention)]
    longest = [layer.keep_values or keys for layer, keys in counts if layer.selects_values(keys)]
    return 1 + max(longest) if longest else 0


def values_list(cfg: Config, network: Network) -> int:
    """Index of the length of that list: behind the lists of selections."""
    return lists_from(cfg, network) + list_places(network)[1]


def candidates_list(cfg: Config, network: Network) -> int:
    """Index of the first list of candidates: behind those of selections and values."""
    return values_list(cfg, network) + longest_values_list(network)


def largest_left_out(layer: Attention) -> int:
    """Largest probability of a key, with 16 fraction bits, that is below the threshold of values."""
    return ceil(Fraction(float(np.float32(layer.value_threshold))) * (1 << PROBABILITY_BITS)) - 1


def lists_from(cfg: Config, network: Network) -> int:
    """First index of what selections may use: behind the lists of embeddings, where there are any."""
    assert cfg.attention is not None
    return cfg.attention.indices // 2 if any(isinstance(layer, Embedding) for layer in network.layers) else 0


def numbers_at(context: Context, selected: str) -> int:
    """Index of the first number of a list, behind the places."""
    place = list_places(context.network)[0][selected]
    return lists_from(context.cfg, context.network) + place + context.network.tensors[selected].shape[2]


def candidates(network: Network, select: Select) -> int:
    """Tokens or heads that a selection chooses from."""
    attention = next(layer for layer in network.layers if layer.output == select.observed[0])
    assert isinstance(attention, Attention)
    return attention.heads if select.heads else attention.keys(network.tensors)


def emit_select(builder: Builder, layer: Select, count: int, place: int, index: int) -> None:
    """The ROWS job of a selection out of ``count``."""
    builder.add(
        isa.Unit.ROWS,
        {
            "mode": {"kind": isa.Rows.SELECT_HEADS if layer.heads else isa.Rows.SELECT_TOKENS},
            "importance": {"observe": 0, "fresh": int(not layer.carried)},
            "select": {"count": count, "keep": layer.keep, "place": place},
        },
        [
            Access("index", place, place + 2 * layer.keep, write=True),
            *([Access(HEADS, 0, 1, write=True)] if layer.heads else []),
        ],
        layer=index, note=f"{layer.name}: {layer.keep} of {count} {'heads' if layer.heads else 'tokens'}",
    )  # fmt: skip


def select_once(context: Context, layer: Select, index: int) -> None:
    """The ROWS job of a selection, before the first job that goes by its lists, of the layer of that number."""
    if layer.output in context.selected:
        return
    context.selected.add(layer.output)
    place = lists_from(context.cfg, context.network) + list_places(context.network)[0][layer.output]
    emit_select(context.builder, layer, candidates(context.network, layer), place, index)


def importance_access(fields: Mapping[str, int]) -> list[Access]:
    """Access of a VECTOR job that adds to the importance of a head."""
    return [Access(HEADS, 0, 1, write=True)] if fields else []
