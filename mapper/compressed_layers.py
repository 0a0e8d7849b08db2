"""What compression makes of each layer's weights: density, values, bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataflows.config import Config
from dataflows.formats import ceil_pow2
from dataflows.network import Conv, Network
from mapper import huffman
from mapper.entry_counts import entry_counts
from mapper.graph import FloatGraph
from mapper.prune import changed, weighted
from mapper.weight_sharing import MOST, is_shared

PRUNED = 0.9
"""A model's layer counts as pruned if at most this share of its weights is not zero."""

PES, RUN_BITS = 1, 4
"""Interleaving and width of runs where the configuration has no sparse engine: one stream, as in Deep Compression."""

POINTER_BYTES = 2


@dataclass(frozen=True)
class Compression:
    """A pruned or clustered layer.

    Attributes
    ----------
    layer : name
    weights : how many there are
    density : share of integer weights that are not zero
    codes : different integer weights, zero included
    entries, padding : entries of its compressed columns, and those among them that only count zeros
    dense_bytes : of the model's float32 weights
    compressed_bytes : entries, pointers and codebook as the sparse engine takes them, in one tile. Weights of too many
        values for a codebook stand in the entries themselves.
    huffman_bytes : runs, weights and, for pointers, lengths of columns in a Huffman code each, and the codes' tables
    recognised : the model came like this; no option has changed the layer
    """

    layer: str
    weights: int
    density: float
    codes: int
    entries: int
    padding: int
    dense_bytes: int
    compressed_bytes: int
    huffman_bytes: int
    recognised: bool

    @property
    def ratio(self) -> float:
        """Float32 bytes per compressed byte."""
        return self.dense_bytes / self.compressed_bytes

    @property
    def huffman_ratio(self) -> float:
        """Float32 bytes per byte with Huffman codes."""
        return self.dense_bytes / self.huffman_bytes


def compressed_layers(network: Network, cfg: Config, before: FloatGraph, after: FloatGraph) -> dict[str, Compression]:
    """Every pruned or clustered layer of a network, by name.

    Parameters
    ----------
    network : Network
        ``after``, or a part of it, quantized.
    cfg : Config
        Whose PEs and entries are counted.
    before, after : FloatGraph
        The model as it came, and pruned and clustered.
    """
    made, nodes = changed(before, after), weighted(after)
    result = {}
    for layer in network.layers:
        node = nodes.get(layer.name)
        if not isinstance(layer, Conv) or node is None:
            continue
        few = np.count_nonzero(node.weight) <= PRUNED * node.weight.size
        if layer.name in made or few or (node.steps is None and is_shared(node.plain)):
            result[layer.name] = compression(layer, cfg, layer.name not in made)
    return result


def compression(layer: Conv, cfg: Config, recognised: bool) -> Compression:
    """Sizes of one layer as it was quantized; rows are output channels, columns everything else."""
    matrix = layer.weight.reshape(len(layer.weight), -1)
    pes, run_bits = (cfg.sparse.pes, cfg.sparse.run_bits) if cfg.sparse else (PES, RUN_BITS)
    counts = entry_counts(matrix, pes, run_bits)
    values = int(np.count_nonzero(counts.weights)) - (counts.padding > 0)
    width = matrix.dtype.itemsize
    code_bits = _code_bits(values, cfg)
    book = width << code_bits if code_bits <= 8 else 0
    entry_bytes = ceil_pow2(-(-(run_bits + code_bits) // 8))
    pointers = pes * (matrix.shape[1] + 1) * POINTER_BYTES
    streams = (counts.runs, 1), (counts.weights, width), (counts.lengths, 2)
    return Compression(
        layer=layer.name,
        weights=matrix.size,
        density=float(np.count_nonzero(matrix) / matrix.size),
        codes=values + 1,
        entries=counts.entries,
        padding=counts.padding,
        dense_bytes=4 * matrix.size,
        compressed_bytes=counts.entries * entry_bytes + pointers + book,
        huffman_bytes=sum(_huffman_bytes(*stream) for stream in streams),
        recognised=recognised,
    )


def _huffman_bytes(counts: huffman.Counts, symbol_bytes: int) -> int:
    """A stream of symbols, and the table of its code: each symbol with the length of its word."""
    return -(-huffman.bits(counts) // 8) + (symbol_bytes + 1) * int(np.count_nonzero(counts))


def _code_bits(values: int, cfg: Config) -> int:
    """Width of a code for so many weights beside zero; that of a weight of 16 bits where there are too many."""
    if cfg.sparse and values < 1 << cfg.sparse.code_bits:
        return cfg.sparse.code_bits
    return max(1, values.bit_length()) if values < MOST else 16
