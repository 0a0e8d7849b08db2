"""Attention to candidates: keys of the model whose columns are sorted beforehand (``docs/numerics.md``, section 13)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

from dataflows.attention import Attention, Constant
from dataflows.candidates import MAX_STEPS, entry_bytes
from dataflows.config import Config
from dataflows.errors import InputError
from dataflows.network import Codes, Network
from mapper.layer_specs import LayerSpec

SLOTS = 2
"""Searches whose lists are kept: the next one runs while keys of the one before are loaded."""


@dataclass(frozen=True)
class Search:
    """What a job searches: number ``query`` of all queries of ``layer``, counted over the samples, in one head."""

    layer: Attention
    keys: NDArray[np.int8]  # (keys, channels of the head)
    query: int
    head: int

    def found(self, activations: Mapping[str, Codes]) -> list[int] | None:
        """The candidates in ascending order, where the queries are known."""
        queries = activations.get(self.layer.inputs[0])
        if queries is None:
            return None
        depth = self.keys.shape[1]
        every = np.asarray(queries).reshape(-1, queries.shape[3])
        query = every[self.query % len(every)][self.head * depth :][:depth]
        return candidates(query.astype(np.int64), self.order, self.keys, self.layer.candidates)

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """Keys by column and place."""
        return np.argsort(self.keys, axis=0, kind="stable").T


def candidates(query: NDArray[np.int64], order: NDArray[np.int64], keys: NDArray[np.int8], steps: int) -> list[int]:
    """Keys with a greedy score above 0, of one query (channels,) and sorted columns ``order`` (channels, keys)."""
    count = len(keys)
    products = keys.T[np.arange(len(order))[:, np.newaxis], order] * query[:, np.newaxis]
    scores = np.zeros(count, np.int64)
    for sign in (1, -1):
        ways = [range(count - 1, -1, -1) if sign * q >= 0 else range(count) for q in query.tolist()]
        ends = [(-sign * int(products[d, way[0]]), int(order[d, way[0]]), d, 0) for d, way in enumerate(ways)]
        heapify(ends)
        for _ in range(steps):
            if not ends or ends[0][0] >= 0:
                break
            product, key, column, passed = heappop(ends)
            scores[key] -= sign * product
            if passed + 1 < count:
                place = ways[column][passed + 1]
                heappush(ends, (-sign * int(products[column, place]), int(order[column, place]), column, passed + 1))
    return [int(key) for key in np.flatnonzero(scores > 0)]


def keys_of(network: Network, layer: Attention) -> Constant | None:
    """The keys of a layer, if they are values of the model."""
    made = (x for x in network.layers if isinstance(x, Constant) and x.output == layer.inputs[1])
    return next(made, None)


def head_keys(network: Network, layer: Attention, head: int) -> NDArray[np.int8]:
    """Keys of a head: int8 (keys, channels)."""
    keys = keys_of(network, layer)
    assert keys is not None
    depth = keys.value.shape[3] // layer.heads
    return keys.value[0, 0, :, head * depth : (head + 1) * depth]


def sorted_columns(cfg: Config, keys: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Columns of keys as LOAD takes them: uint8 (columns, bytes of whole beats)."""
    size, order = entry_bytes(cfg.candidates), np.argsort(keys, axis=0, kind="stable")
    values = np.take_along_axis(keys, order, axis=0)
    row = -(-len(keys) * size // cfg.bus_bytes) * cfg.bus_bytes
    entries = np.zeros((keys.shape[1], row // size), f"<u{size}")
    entries[:, : len(keys)] = (order << 8 | values.view(np.uint8)).T
    return entries.view(np.uint8)


def longest_list(network: Network) -> int:
    """Indices of the lists of searches, which all layers use in turn; the length of a list is one of them."""
    counts = [x.keys(network.tensors) for x in network.layers if isinstance(x, Attention) and x.candidates]
    return SLOTS * (1 + max(counts)) if counts else 0


def with_candidates(network: Network, spec: LayerSpec[int]) -> Network:
    """The network with as many steps of the search as its layers of attention are given.

    Raises
    ------
    InputError
        When a layer is named that is no attention, or no layer has keys that are values of the model.
    """
    layers = [layer for layer in network.layers if isinstance(layer, Attention)]
    known = [layer.name for layer in layers if keys_of(network, layer)]
    if spec.default is not None and not known:
        raise InputError(
            "--candidates: the model has no attention to keys of its own (parameters or buffers); columns of keys are "
            "sorted before a run, so those that are computed cannot be searched; leave --candidates out"
        )
    steps = spec.resolve([layer.name for layer in layers], "--candidates", known)
    changed = [
        replace(x, candidates=steps[x.name]) if isinstance(x, Attention) and x.name in steps else x
        for x in network.layers
    ]
    return replace(network, layers=tuple(changed))


def check_candidates(cfg: Config, network: Network, layer: Attention) -> None:
    """Raise :class:`InputError` unless the accelerator can search the keys of a layer."""
    what, keys = f"layer {layer.name} attends to candidates", network.tensors[layer.inputs[1]].shape[2]
    depth = network.tensors[layer.inputs[0]].shape[3] // layer.heads
    if not cfg.candidates or cfg.attention is None:
        raise InputError(f"{what}, which {cfg.name} cannot search; set attention.candidates to {keys}, its keys")
    if keys_of(network, layer) is None:
        raise InputError(
            f"{what}, but its keys ({layer.inputs[1]}) are computed while it runs; columns of keys are sorted before "
            "that, so they must be parameters or buffers of the model; leave --candidates out for this layer"
        )
    others = {
        "causal": layer.causal, "lengths": layer.lengths is not None, "cached": layer.cached,
        "threshold": layer.threshold, "keep_values": layer.keep_values is not None,
        "value_threshold": layer.value_threshold,
    }  # fmt: skip
    for name, is_set in others.items():
        if is_set:
            raise InputError(f"{what} and has {name} besides; only least goes with candidates; leave one of them out")
    if keys > cfg.candidates or depth > cfg.attention.candidate_columns:
        raise InputError(
            f"{what}: {keys} keys of {depth} channels do not fit the {cfg.candidates} keys of "
            f"{cfg.attention.candidate_columns} columns of {cfg.name}; raise attention.candidates and candidate_columns"
        )
    if not 1 <= layer.candidates <= MAX_STEPS:
        raise InputError(f"{what}: steps of its search must be 1 to {MAX_STEPS}, not {layer.candidates}")
    _check_room(cfg, layer, layer.keys(network.tensors), depth)


def _check_room(cfg: Config, layer: Attention, rows: int, depth: int) -> None:
    """All candidates of a query are on chip together."""
    word = cfg.array.rows * cfg.lanes
    weights = -(-rows // cfg.array.rows) * -(-depth // cfg.lanes) + -(-depth // cfg.array.rows)
    needs = {
        "input_bytes": (rows * (depth + 1), cfg.memory.input_bytes),
        "weight_bytes": (weights * word, cfg.memory.weight_bytes),
        "acc_bytes": (2 * rows * cfg.acc_word_bytes, cfg.memory.acc_bytes),
    }
    for name, (need, size) in needs.items():
        if need > size:
            raise InputError(
                f"layer {layer.name}: {rows} candidates of {depth} channels need memory.{name} = {need}, not {size}; "
                "raise it, or lower --candidates"
            )
