"""Tables, embeddings, constants and pieces of sequences (``docs/numerics.md``, section 9)."""

from __future__ import annotations

import numpy as np

from dataflows.attention import Constant, Embedding, Lookup, Slice
from dataflows.errors import InputError
from dataflows.network import Codes, Tensor


def lookup(layer: Lookup, x: Codes, source: Tensor, result: Tensor) -> Codes:
    """``table[x + 128]`` for every code, any shape."""
    if layer.table.shape != (256,):
        raise InputError(f"layer {layer.name!r}: a table has 256 entries, not the shape {layer.table.shape}")
    if source.bits != 8 or result.bits != 8:
        raise InputError(
            f"layer {layer.name!r}: a table turns codes of 8 bits into codes of 8, not {source.bits} into {result.bits}"
        )
    return layer.table.astype(result.dtype)[x.astype(np.int64) + 128]


def embedding(layer: Embedding, ids: Codes, result: Tensor) -> Codes:
    """Rows of the table, chosen by ids (N, 1, L, 1) read without sign: (N, 1, L, C)."""
    entries = len(layer.table)
    chosen = ids[..., 0].astype(np.int64) & 0xFFFF
    if ids.size and chosen.max() >= entries:
        raise InputError(f"layer {layer.name!r}: id {chosen.max()} is beyond its table of {entries} entries")
    rows: Codes = layer.table[chosen].astype(result.dtype)
    return rows


def constant(layer: Constant, samples: int, result: Tensor) -> Codes:
    """The layer's value (1, H, W, C) for each sample: (samples, H, W, C)."""
    return np.repeat(layer.value.astype(result.dtype), samples, axis=0)


def part(layer: Slice, x: Codes) -> Codes:
    """Tokens ``start`` to ``stop - 1`` of (N, 1, L, C)."""
    length = x.shape[2]
    if not 0 <= layer.start < layer.stop <= length:
        raise InputError(
            f"layer {layer.name!r}: tokens {layer.start} to {layer.stop - 1} are not all among the {length} "
            "of its input"
        )
    return x[:, :, layer.start : layer.stop]
