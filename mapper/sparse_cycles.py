"""Cycles of a layer on the sparse engine: exact from its pattern, and estimated from its densities."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dataflows.config import Config
from dataflows.sections import Sparse
from mapper.sparse_walk import IDLE, PICK, WALK, Ints, walk

__all__ = ["engine_cycles", "estimate", "expected_entries", "load_balance", "sweep"]

DEPTHS = (1, 2, 4, 8, 16, 32)
"""Queue depths of the published sweep (EIE, figure 8)."""

BROADCASTS = 1024
"""Activations that an estimate follows one by one; what comes behind goes on at their rate."""

COLUMNS = 1 << 16
"""Columns that an estimate looks at."""

PIPELINE = PICK + WALK + IDLE
"""First word to all sums, of an activation that nothing waits for, beside the cycles of its walk."""

JOBS = 16
"""Jobs that an estimate averages, at most, where they are short."""

DRAWN = 1 << 19
"""Weights that are drawn for the distribution of entries per column."""

SHORT = 64
"""Places up to which no more columns are drawn."""

LEAST = 256
"""Columns that are drawn, at least."""


def engine_cycles(lengths: Ints, mask: NDArray[np.bool_], *, queue: int, word: int) -> int:
    """Cycles of one SPARSE job, from the first word of activations at the engine to its last sum.

    Exact where nothing else is in the way: all words are there, the job before is done.

    Parameters
    ----------
    lengths : (pes, columns) ints
        Entries of each PE and column, padding included.
    mask : (columns,) bool
        Activations that differ from the zero point.
    queue : int
        Activations that wait in front of each PE.
    word : int
        Activations of an INPUT word.
    """
    found = walk(lengths, mask, queue=queue, word=word)
    return max(found.end + IDLE if found.end else 0, int(found.words[-1]) + 1)


def load_balance(lengths: Ints, mask: NDArray[np.bool_], cycles: float) -> float:
    """Share of all PEs' cycles in which entries are walked."""
    return int(lengths[:, mask].sum()) / (len(lengths) * cycles) if cycles else 0.0


def sweep(
    lengths: Ints, mask: NDArray[np.bool_], depths: Iterable[int] = DEPTHS, *, word: int = 8
) -> dict[int, tuple[int, float]]:
    """Cycles and load balance for several queue depths, by depth."""
    cycles = {depth: engine_cycles(lengths, mask, queue=depth, word=word) for depth in depths}
    return {depth: (count, load_balance(lengths, mask, count)) for depth, count in cycles.items()}


def expected_entries(rows: int, columns: int, density: float, cfg: Config) -> float:
    """Expected entries of all PEs, padding included, where each weight is there with probability ``density``."""
    sparse = _engine(cfg)
    full, extra = divmod(rows, sparse.pes)
    more, fewer = (_column_entries(places, density, sparse.run_bits) for places in (full + 1, full))
    return columns * (extra * more + (sparse.pes - extra) * fewer)


def estimate(rows: int, columns: int, weight_density: float, activation_density: float, cfg: Config) -> float:
    """Cycles of :func:`engine_cycles`, from densities alone.

    Entries and activations are taken as independent. The first ones are drawn and walked, always with the same seed;
    from these come the cycles that PEs wait for each other per activation, while the work itself is the expected one.
    """
    if not 0 <= weight_density <= 1 or not 0 <= activation_density <= 1:
        raise ValueError(f"densities must be 0..1, not {weight_density} and {activation_density}")
    sparse = _engine(cfg)
    return _estimate(rows, columns, weight_density, activation_density, sparse, cfg.input_elements)


def _engine(cfg: Config) -> Sparse:
    """The engine's section of the configuration."""
    if cfg.sparse is None:
        raise ValueError(f"{cfg.name} has no sparse engine")
    return cfg.sparse


def _column_entries(places: int, density: float, run_bits: int) -> float:
    """Expected entries of a column with so many places in a PE.

    A weight needs ``k`` padding entries or more if ``k * 2**run_bits`` zeros are before it.
    """
    gaps = np.arange(0, max(places, 1), 1 << run_bits)
    return float(density * ((places - gaps) * (1 - density) ** gaps).sum())


@lru_cache(maxsize=1024)
def _estimate(rows: int, columns: int, weights: float, activations: float, sparse: Sparse, word: int) -> float:
    """See :func:`estimate`."""
    rng = np.random.default_rng(0)
    seen = min(columns, COLUMNS, int(BROADCASTS / max(activations, 1e-9)) + 1)
    jobs = min(JOBS, int(BROADCASTS / max(activations * seen, 1e-9)) + 1)
    full, extra = divmod(rows, sparse.pes)
    parts = [(slice(0, extra), full + 1)] * (extra > 0) + [(slice(extra, None), full)]
    drawn = [_draw(rng, places, weights, sparse.run_bits) for _, places in parts]
    cycles = walked = fixed = 0.0
    for _ in range(jobs):
        mask = rng.random(seen) < activations
        lengths = np.zeros((sparse.pes, seen), np.int64)
        count = int(mask.sum())
        for (part, _), entries in zip(parts, drawn, strict=True):
            lengths[part, mask] = rng.choice(entries, (len(lengths[part]), count))
        fixed += PIPELINE if count else 0
        cycles += engine_cycles(lengths, mask, queue=sparse.queue, word=word)
        walked += float(np.maximum(lengths[parts[0][0], mask], 1).mean()) * count if count else 0.0
    # What was drawn is not quite what was to be expected, as far as the PEs with most rows are concerned.
    places = parts[0][1]
    each = _column_entries(places, weights, sparse.run_bits) + (1 - weights) ** places
    waits = (cycles - fixed - walked) * columns / seen
    return float((waits + fixed) / jobs + columns * activations * each)


def _draw(rng: np.random.Generator, places: int, density: float, run_bits: int) -> Ints:
    """Entries of columns with so many places in a PE, drawn."""
    there = rng.random((places, max(LEAST, DRAWN // max(places, SHORT)))) < density
    entries, zeros = np.zeros(there.shape[1], np.int64), np.zeros(there.shape[1], np.int64)
    for weight in there:
        entries += np.where(weight, 1 + (zeros >> run_bits), 0)
        zeros = np.where(weight, 0, zeros + 1)
    return entries
