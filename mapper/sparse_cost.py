"""What a plan for the sparse engine costs: tiles followed from load to drain, as good as needed to choose."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import numpy as np
from numpy.typing import NDArray

from mapper.columns import Columns
from mapper.conv_plan import Options
from mapper.sparse_cycles import PIPELINE, engine_cycles
from mapper.sparse_plan import Range, SparsePlan

JOB_CYCLES = 12
"""What one more job costs beside its entries."""

TILE_CYCLES = 40
"""What one more tile costs the bus beside its bytes: commands and loads of its own."""

FOLLOWED = 6
"""Groups of vectors that are followed; all others take as long as the last of them."""

SAMPLED = 2048
"""Columns from which the waits of PEs for each other are known."""


def buffers(p: SparsePlan) -> int:
    """Tiles on chip at a time; with two the next one is loaded while one is worked on."""
    room, vector = p.cfg.memory.input_bytes, p.group * p.cfg.act_bytes
    slots = room // (vector * p.width)
    if p.inputs_stay:
        slots = room // (vector * p.columns) * len(p.parts) * len(p.column_tiles)
    if p.resident:
        return slots
    pointers = max(map(p.pointer_segment, p.column_tiles))
    return min(slots, p.sparse.weight_bytes // max(map(max, p.entry_segments)), p.sparse.pointer_bytes // pointers)


def costed(p: SparsePlan, options: Options, density: float) -> SparsePlan:
    """The plan with its estimated cycles and DRAM bytes; ``density``: share of activations that are not zero."""
    passes = 1 if p.resident else len(p.groups)
    weights = p.sparse.pes * (p.resident_entries + p.resident_pointers)
    vectors = p.vectors * p.columns * p.cfg.act_bytes * (1 if p.inputs_stay else len(p.parts))
    results = p.vectors * len(p.layer.weight) * p.cfg.act_bytes
    traffic = passes * weights + vectors + results + p.codebook_segment
    return replace(p, cycles=_cycles(p, options, density), dram_bytes=traffic)


def _cycles(p: SparsePlan, options: Options, density: float) -> float:
    """Cycles from the first load to the last result."""
    rate, lanes = min(p.cfg.bus_bytes, options.bytes_per_cycle), p.cfg.lanes
    walks = [[_walk(p, r, tile, density) for tile in p.column_tiles] for r in range(len(p.parts))]
    slots, loaded, group_end = buffers(p), 0.0, 0.0
    worked, drained, ends = [0.0] * slots, [0.0, 0.0], list[float]()
    for g in range(min(len(p.groups), FOLLOWED)):
        vectors = p.groups[g][1]
        for r, (_, rows) in enumerate(p.row_tiles):
            begin = drained[-2]  # this bank's last sums have left
            for c in range(len(p.column_tiles)):
                load = _load_bytes(p, g, r, c)
                if load:
                    loaded = max(loaded, worked[-slots]) + load / rate + TILE_CYCLES
                    begin = max(begin, loaded + options.latency)
                begin = max(begin, worked[-1]) + vectors * walks[r][c]
                worked.append(begin)
            loaded += vectors * rows * p.cfg.act_bytes / rate  # results share the bus
            drained.append(max(begin, drained[-1]) + vectors * ceil(rows / lanes))
        ends.append(drained[-1])
    if len(ends) < len(p.groups):
        group_end = (len(p.groups) - len(ends)) * (ends[-1] - ends[-2])
    return ends[-1] + group_end + 2 * options.latency


def _load_bytes(p: SparsePlan, g: int, r: int, c: int) -> int:
    """DRAM bytes of what a tile needs that is not on chip yet."""
    tile, size = p.column_tiles[c], 0
    if g == 0 or not p.resident:
        size += p.sparse.pes * (p.entry_segments[r][c] + p.pointer_segment(tile))
    if r == 0 or not p.inputs_stay:
        size += p.groups[g][1] * tile[1] * p.cfg.act_bytes
    return size


def _walk(p: SparsePlan, r: int, tile: Range, density: float) -> float:
    """Cycles of the engine for one vector: the PEs, or its sums on their way out."""
    part, drains = p.parts[r], not p.adds_in_engine or tile[0] + tile[1] == p.columns
    cycles = _work(part, tile, density, p.cfg.input_elements) * p.waits[r]
    return max(cycles, ceil(part.rows / p.cfg.lanes) if drains else 0.0) + JOB_CYCLES


def _work(part: Columns, tile: Range, density: float, word: int) -> float:
    """Cycles of the busiest PE of a vector, or of its words of activations."""
    first, count = tile
    busiest = float((part.walked[:, first + count] - part.walked[:, first]).max())
    return max(density * busiest, density * count, ceil(count / word))


def waiting(part: Columns, density: float, queue: int) -> float:
    """How many times as long as the busiest PE works they take, as they wait for each other."""
    lengths = np.tile(part.lengths[:, :SAMPLED], max(1, SAMPLED // part.columns))  # as if narrow ones were wide
    mask: NDArray[np.bool_] = np.less(np.random.default_rng(0).random(lengths.shape[1]), density)
    busiest = int(np.maximum(lengths, 1)[:, mask].sum(axis=1).max())
    return max(1.0, (engine_cycles(lengths, mask, queue=queue, word=SAMPLED) - PIPELINE) / busiest) if busiest else 1.0
