"""What layers on the sparse engine do: entries they hold and walk, how evenly PEs share them, how long that takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.integer[Any]]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Pattern:
    """What one SPARSE job meets: a vector, and the columns of a tile.

    Attributes
    ----------
    lengths : (pes, columns) integers
        Entries of every PE and column, padding included.
    mask : (columns,) bool
        Activations that differ from the zero point.
    """

    lengths: Counts
    mask: Mask

    @property
    def per_pe(self) -> Counts:
        """Entries that each PE walks, (pes,)."""
        result: Counts = self.lengths[:, self.mask].sum(axis=1, dtype=np.int64)
        return result


@dataclass(frozen=True)
class SparseSummary:
    """A layer on the sparse engine; the key ``sparse`` of a layer in ``--json``.

    Attributes
    ----------
    density : float
        Weights that are not zero, of all.
    entries, padding : int
        Entries of the whole matrix, padding included; padding alone.
    activation_density : float
        Activations that differ from the zero point, of all.
    load_balance : float
        Entries walked / (PEs * cycles of the engine's jobs).
    resident : bool
        The whole matrix is on chip at a time.
    tiles : int
        Parts of the matrix, a job each per vector.
    theoretical_cycles : int
        Entries walked / PEs, rounded up; summed over the samples like the layer's cycles.
    engine_cycles : int
        Of the engine's jobs, from the pattern; summed likewise.
    """

    density: float
    entries: int
    padding: int
    activation_density: float
    load_balance: float
    resident: bool
    tiles: int
    theoretical_cycles: int
    engine_cycles: int


def summarize(
    weight: Counts, vectors: Sequence[Sequence[Pattern]], cycles: int, *, resident: bool, batches: int
) -> SparseSummary:
    """Summary of a layer.

    Parameters
    ----------
    weight : integers
        The matrix; trailing sizes of 1 do not matter.
    vectors : sequence
        Jobs of every vector of a batch, at least one; those of a vector make up the matrix.
    cycles : int
        Of the engine, all jobs of the batch together.
    resident : bool
    batches : int
        Executions that the sums are over.
    """
    nonzero = int(np.count_nonzero(weight))
    entries = sum(int(pattern.lengths.sum()) for pattern in vectors[0])
    patterns = [pattern for vector in vectors for pattern in vector]
    pes = len(patterns[0].lengths)
    walked = sum(int(pattern.per_pe.sum()) for pattern in patterns)
    active = sum(int(pattern.mask.sum()) for pattern in patterns)
    return SparseSummary(
        density=nonzero / weight.size, entries=entries, padding=entries - nonzero,
        activation_density=active / sum(pattern.mask.size for pattern in patterns),
        load_balance=walked / (pes * cycles) if cycles else 0.0,
        resident=resident, tiles=len(vectors[0]),
        theoretical_cycles=-(-walked * batches // pes), engine_cycles=cycles * batches,
    )  # fmt: skip
