"""A plan for the sparse engine: tiles of a compressed layer, what of it stays on chip, and in which order it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflows import isa
from dataflows.config import Config
from dataflows.network import Conv, Tensor
from dataflows.sections import Sparse
from mapper.columns import Columns, segment_bytes
from mapper.search import Search

Range = tuple[int, int]
"""(first, count)."""


@dataclass(frozen=True)
class SparseJob:
    """What one SPARSE job walks.

    Attributes
    ----------
    layer : int
        Index of the layer.
    tensor : str
        Activation whose values it takes: vector ``sample`` of its (samples, columns), from ``first_column`` on.
    lengths : int64 array (pes, columns)
        Entries of every PE and column, padding included.
    """

    layer: int
    tensor: str
    sample: int
    first_column: int
    lengths: NDArray[np.int64]


def matrix_layer(layer: object) -> bool:
    """Whether a layer is a matrix times vectors: what the sparse engine runs, if the weights have a codebook."""
    if not isinstance(layer, Conv):
        return False
    window = layer.window
    return window.kernel == (1, 1) and window.stride == (1, 1) and not any(window.padding) and layer.groups == 1


@dataclass(frozen=True)
class SparsePlan:
    """One way to run a layer. Cycles and traffic are estimates for choosing.

    For each group of vectors and each tile of rows all tiles of columns run one after the other, each for all vectors
    of the group. One vector's sums stay in the engine from tile to tile of columns; several vectors' sums add up in
    the accumulator buffer.

    Attributes
    ----------
    vectors : int
        Vectors of all samples and pixels.
    group : int
        Most vectors of a group.
    rows : int
        Most rows of a tile: a multiple of the PEs.
    width : int
        Most columns of a tile.
    resident : bool
        All tiles stay on chip for all groups.
    inputs_stay : bool
        A group's vectors stay on chip for all tiles of rows.
    parts : tuple of Columns
        Columns of each tile of rows.
    waits : tuple of float
        For each of them, how many times as long as the busiest PE works all take, as they wait for each other.
    """

    cfg: Config
    layer: Conv
    vectors: int
    group: int
    rows: int
    width: int
    resident: bool
    inputs_stay: bool
    parts: tuple[Columns, ...] = field(repr=False)
    waits: tuple[float, ...] = ()
    cycles: float = 0
    dram_bytes: int = 0
    search: Search | None = None

    @property
    def sparse(self) -> Sparse:
        """The engine."""
        if self.cfg.sparse is None:
            raise AssertionError("a plan for an engine that is not there")
        return self.cfg.sparse

    @property
    def columns(self) -> int:
        """Columns of the matrix: elements of a vector."""
        return int(self.layer.weight.shape[1])

    @cached_property
    def groups(self) -> list[Range]:
        """Vectors of each group."""
        return ranges(self.vectors, self.group)

    @cached_property
    def row_tiles(self) -> list[Range]:
        """Rows of each tile."""
        return ranges(len(self.layer.weight), self.rows)

    @cached_property
    def column_tiles(self) -> list[Range]:
        """Columns of each tile."""
        return ranges(self.columns, self.width)

    @property
    def blocks(self) -> int:
        """Words of sums of a vector of the largest tile."""
        return ceil(min(self.rows, len(self.layer.weight)) / self.cfg.lanes)

    @property
    def adds_in_engine(self) -> bool:
        """Whether sums stay in the engine from one tile of columns to the next."""
        return self.group == 1

    @property
    def parameters_stay(self) -> bool:
        """Whether parameter entries of the whole layer are loaded once, leaving as much room for the next layer's."""
        return 2 * ceil(len(self.layer.weight) / self.cfg.lanes) <= self.cfg.param_entries

    # -- bytes of a PE ----------------------------------------------------------------------------

    def longest(self, part: int, tile: Range) -> int:
        """Entries in a tile of the PE that has most."""
        pointers = self.parts[part].pointers
        return int((pointers[:, tile[0] + tile[1]] - pointers[:, tile[0]]).max())

    @cached_property
    def entry_segments(self) -> list[list[int]]:
        """Bytes of entries per PE of every tile, [rows][columns]."""
        return [
            [segment_bytes(self.cfg, self.longest(part, tile), self.cfg.entry_bytes) for tile in self.column_tiles]
            for part in range(len(self.parts))
        ]

    def pointer_segment(self, tile: Range) -> int:
        """Bytes of pointers per PE of a tile."""
        return segment_bytes(self.cfg, tile[1] + 1, isa.POINTER_BYTES)

    @property
    def codebook_segment(self) -> int:
        """Bytes of the codebook."""
        return segment_bytes(self.cfg, 1 << self.sparse.code_bits, self.cfg.act_bytes)

    @cached_property
    def resident_entries(self) -> int:
        """Bytes of entries per PE of all tiles."""
        return sum(map(sum, self.entry_segments))

    @cached_property
    def resident_pointers(self) -> int:
        """Bytes of pointers per PE of all tiles."""
        return len(self.parts) * sum(map(self.pointer_segment, self.column_tiles))

    # -- what is worth telling --------------------------------------------------------------------

    @property
    def stored(self) -> dict[str, int]:
        """Bytes of the constant region: entries without and with what fills segments, pointers, codebook."""
        entries = sum(int(part.entries.sum()) for part in self.parts) * self.cfg.entry_bytes
        pes = self.sparse.pes
        return {
            "entries": entries, "filling": pes * self.resident_entries - entries,
            "pointers": pes * self.resident_pointers, "codebook": self.codebook_segment,
        }  # fmt: skip

    @property
    def summary(self) -> dict[str, object]:
        """What is worth telling about the plan."""
        weight, walked = self.layer.weight, sum(int(part.entries.sum()) for part in self.parts)
        summary: dict[str, Any] = {
            "vectors": self.vectors, "group": self.group, "row_tiles": len(self.row_tiles),
            "column_tiles": len(self.column_tiles), "weights_resident": self.resident, "weights": weight.size,
            "non_zeros": int(np.count_nonzero(weight)), "entries": walked,
            "padding_entries": sum(part.padding for part in self.parts), "bytes": self.stored,
        }  # fmt: skip
        return summary


def ranges(extent: int, most: int) -> list[Range]:
    """Pieces of at most ``most`` of ``extent``."""
    return [(first, min(most, extent - first)) for first in range(0, extent, most)]


def vectors_of(source: Tensor) -> int:
    """Vectors of a tensor: its pixels."""
    n, h, w, _ = source.shape
    return n * h * w
