"""Whether an accelerator can run the transformer layers of a network."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from dataflows.attention import Attention, Constant, Embedding, Norm, Slice
from dataflows.config import INDEX_BYTES, Config
from dataflows.errors import InputError
from dataflows.network import Codes, Network
from dataflows.pruning import Select

BANKS = 2
"""Accumulator banks that scores of one query may take."""

MAX_ENTRIES = 1 << 8 * INDEX_BYTES
"""Rows of a table that ids can choose from."""


def check_transformers(cfg: Config, network: Network, host: Collection[str] = ()) -> None:
    """Raise :class:`InputError` naming the first layer, but for those on the ``host``, that there is no room for."""
    for layer in network.layers:
        if layer.name in host:
            continue
        if isinstance(layer, Slice | Constant):
            _check_bytes(cfg, network, layer)
        elif isinstance(layer, Attention):
            _check_attention(cfg, network, layer)
        elif isinstance(layer, Norm):
            _check_row(cfg, layer.name, network.tensors[layer.inputs[0]].shape[3], "channels")
        elif isinstance(layer, Embedding):
            _check_embedding(cfg, network, layer)


def _check_bytes(cfg: Config, network: Network, layer: Slice | Constant) -> None:
    """Slices and constants lie in DRAM as plain bytes."""
    bits = network.tensors[layer.output].bits
    if cfg.codec is not None or bits != 8:
        found = "compresses activations ([codec])" if cfg.codec else f"has {bits} bits there"
        raise InputError(f"layer {layer.name} ({layer.op}) takes plain tensors of 8 bits, but {cfg.name} {found}")


def _check_row(cfg: Config, name: str, elements: int, what: str) -> None:
    """The row engine has room for a row."""
    assert cfg.attention is not None
    if elements > cfg.attention.row_elements:
        raise InputError(
            f"layer {name}: its rows have {elements} {what}, but the row engine of {cfg.name} takes "
            f"{cfg.attention.row_elements}; raise attention.row_elements"
        )


def _check_attention(cfg: Config, network: Network, layer: Attention) -> None:
    """Heads divide the channels, operands have no zero point, lengths belong to samples."""
    queries, keys, values = (network.tensors[name] for name in layer.inputs[:3])
    samples, channels, length = queries.shape[0], queries.shape[3], keys.shape[2]
    if layer.heads < 1 or channels % layer.heads:
        raise InputError(f"layer {layer.name}: {channels} channels do not divide into {layer.heads} heads")
    if keys.shape != values.shape or keys.shape != (samples, 1, length, channels) or queries.shape[1] != 1:
        raise InputError(
            f"layer {layer.name}: queries {queries.shape}, keys {keys.shape} and values {values.shape} must be "
            "N x 1 x L x C, with the same N and C, keys and values also with the same L"
        )
    for tensor in (queries, keys, values):
        if tensor.zero:
            raise InputError(f"layer {layer.name}: tensor {tensor.name} must have zero point 0, not {tensor.zero}")
    if layer.lengths is not None and (
        len(layer.lengths) != samples or not all(0 <= count <= length for count in layer.lengths)
    ):
        raise InputError(
            f"layer {layer.name}: lengths must be {samples} numbers of 0 to {length} keys, not {layer.lengths}"
        )
    _check_row(cfg, layer.name, layer.keys(network.tensors), "keys")
    if layer.listed is not None:
        _check_listed(cfg, network, layer, queries.shape[2])


def _check_listed(cfg: Config, network: Network, layer: Attention, queries: int) -> None:
    """Keys go by the list of a selection of tokens, for one query whose scores fit the accumulators."""
    count, most = layer.keys(network.tensors), BANKS * cfg.acc_bank_words
    made = any(isinstance(x, Select) and not x.heads and x.output == layer.listed for x in network.layers)
    if not (made and layer.cached and queries == 1 and count <= most):
        raise InputError(
            f"layer {layer.name}: keys of caches go by the list of a selection of tokens, for runs of one token and at "
            f"most {most} keys; it has {queries} queries, {count} keys and the list {layer.listed}"
        )


def _check_embedding(cfg: Config, network: Network, layer: Embedding) -> None:
    """Ids are 16-bit inputs, lists hold at least a beat of them."""
    assert cfg.attention is not None
    (source,) = layer.inputs
    bits, beat = network.tensors[source].bits, cfg.bus_bytes // INDEX_BYTES
    if source not in network.inputs or bits != 8 * INDEX_BYTES:
        raise InputError(
            f"layer {layer.name}: its ids must be an input of the network, of {8 * INDEX_BYTES} bits; {source} has "
            f"{bits} bits" + ("" if source in network.inputs else " and is computed")
        )
    if len(layer.table) > MAX_ENTRIES:
        raise InputError(f"layer {layer.name}: its table has {len(layer.table)} rows; ids choose from {MAX_ENTRIES}")
    if cfg.attention.indices < 2 * beat:
        raise InputError(
            f"layer {layer.name}: lists of {cfg.attention.indices} indices are less than two beats of the bus; raise "
            f"attention.indices of {cfg.name} to at least {2 * beat}"
        )


def check_ids(network: Network, inputs: Mapping[str, Codes]) -> None:
    """Raise :class:`InputError` naming the first id that is beyond its table."""
    for layer in network.layers:
        if not isinstance(layer, Embedding):
            continue
        ids, entries = inputs[layer.inputs[0]].astype(np.int64) & (MAX_ENTRIES - 1), len(layer.table)
        if ids.size and ids.max() >= entries:
            sample, *_, token, _ = (int(v) for v in np.argwhere(ids >= entries)[0])
            raise InputError(
                f"input {layer.inputs[0]}: id {ids[ids >= entries][0]} of sample {sample}, token {token}, is beyond "
                f"the table of layer {layer.name}, which has {entries} entries"
            )
