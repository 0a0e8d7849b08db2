"""What layers on the sparse engine do: entries they hold and walk, how evenly PEs share them, how long that takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapper.compile import Program
from mapper.sparse_cycles import engine_cycles
from mapper.sparse_plan import SparsePlan
from mapper.timing_sparse import Masks

JUDGED = 64
"""Vectors of a layer that are looked at one by one, at most."""

Counts = NDArray[np.int64]
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
        walked: Counts = self.lengths[:, self.mask].sum(axis=1, dtype=np.int64)
        return walked


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
    walked : int
        Entries walked; summed likewise.
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
    walked: int = 0


def summarize(
    weight: NDArray[np.integer[Any]], vectors: Sequence[Sequence[Pattern]], cycles: int, *, resident: bool, share: float
) -> SparseSummary:
    """Summary of a layer.

    Parameters
    ----------
    weight : integers
        The matrix; trailing sizes of 1 do not matter.
    vectors : sequence
        Jobs of some vectors, of at least one; those of a vector make up the matrix.
    cycles : int
        Of the engine, all these jobs together.
    resident : bool
    share : float
        All vectors that the sums are over for each of these.
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
        theoretical_cycles=ceil(walked * share / pes), engine_cycles=round(cycles * share),
        walked=round(walked * share),
    )  # fmt: skip


def patterns(program: Program, masks: Masks, most: int) -> dict[int, list[list[Pattern]]]:
    """What the SPARSE jobs of a program meet, by schedule index: those of the first ``most`` vectors of each layer."""
    found: dict[int, dict[int, list[Pattern]]] = {}
    for index in sorted(program.sparse):
        job = program.sparse[index]
        vectors = found.setdefault(job.layer, {})
        if job.sample in vectors or len(vectors) < most:
            pattern = Pattern(job.lengths, masks.of(program.network, job))
            vectors.setdefault(job.sample, []).append(pattern)
    return {layer: list(vectors.values()) for layer, vectors in found.items()}


def summaries(program: Program, masks: Sequence[Masks], batches: int) -> dict[int, SparseSummary]:
    """Layers on the sparse engine by schedule index, summed over ``batches``.

    ``masks`` are those of the first batches, one each; :data:`JUDGED` vectors of a layer stand for all of them.
    """
    result: dict[int, SparseSummary] = {}
    if program.cfg.sparse is None:
        return result
    queue, word = program.cfg.sparse.queue, program.cfg.input_elements
    judged: dict[int, list[list[Pattern]]] = {}
    for mask in masks:
        for layer, vectors in patterns(program, mask, JUDGED).items():
            seen = judged.setdefault(layer, [])
            seen += vectors[: JUDGED - len(seen)]
    for entry in program.schedule:
        if isinstance(entry.plan, SparsePlan):
            vectors = judged[entry.index]
            jobs = [job for vector in vectors for job in vector]
            cycles = sum(engine_cycles(job.lengths, job.mask, queue=queue, word=word) for job in jobs)
            result[entry.index] = summarize(
                entry.plan.layer.weight, vectors, cycles, resident=entry.plan.resident,
                share=batches * entry.plan.vectors / len(vectors),
            )  # fmt: skip
    return result
