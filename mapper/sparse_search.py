"""Tiling of one layer for the sparse engine: every candidate that fits, costed, the cheapest kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import ceil

from dataflows.config import Config
from dataflows.errors import InputError
from dataflows.network import Conv, Tensor
from mapper.columns import codebook_of, distinct, encode
from mapper.conv_plan import Options
from mapper.search import Search
from mapper.sparse_cost import buffers, costed, waiting
from mapper.sparse_plan import SparsePlan, matrix_layer, ranges, vectors_of

MOST_ENTRIES = (1 << 16) - 1
"""Entries of a PE in a tile: what a pointer can say."""

MOST_BYTES = (1 << 24) - 1
"""Bytes of a tile's entries in all PEs, or of its pointers: what the row of a LOAD job can say."""

MOST_COLUMNS = (1 << 16) - 1
"""Columns of a tile: what a job can say."""

ROW_CUTS = 5
"""Sizes of row tiles tried: each half as large as the one before."""

COLUMN_CUTS = 6
"""Sizes of column tiles tried likewise, from the largest that fits on."""

NEAR = 0.01
"""Plans this close in estimated cycles count as equal; then the one with less DRAM traffic is taken."""


def why_not(cfg: Config, layer: Conv) -> str | None:
    """Why the sparse engine cannot run a layer; None if it can, memories permitting."""
    if cfg.sparse is None:
        return f"configuration {cfg.name!r} has no sparse engine (a section [sparse]); configs/eie64.toml has one"
    if not matrix_layer(layer):
        return "the sparse engine runs linear layers, and convolutions of 1x1 without stride, padding and groups only"
    codes, values = (1 << cfg.sparse.code_bits) - 1, len(distinct(layer.weight))
    if values > codes:
        return (
            f"its weights take {values} values other than zero, but the sparse engine has codes for {codes}; "
            f"--cluster {codes + 1} makes them share values"
        )
    return None


def sparse_plan(
    cfg: Config, layer: Conv, source: Tensor, options: Options, density: float = 0.5
) -> SparsePlan:
    """The cheapest plan.

    Parameters
    ----------
    layer : Conv
        One that the engine can run, see :func:`why_not`.
    source : Tensor
        Its input.
    density : float
        Expected share of activations that are not zero.

    Raises
    ------
    InputError
        When the engine cannot run the layer, or no plan fits; it names what is too small.
    """
    reason = why_not(cfg, layer)
    if reason:
        raise InputError(f"layer {layer.name}: {reason}")
    plans = [costed(p, options, density) for p in candidates(cfg, layer, vectors_of(source), density)]
    if not plans:
        raise InputError(_no_fit(cfg, layer))
    fastest = min(p.cycles for p in plans)
    best = min((p for p in plans if p.cycles <= fastest * (1 + NEAR)), key=lambda p: (p.dram_bytes, p.cycles))
    return replace(best, search=Search("cycles", len(plans), len(plans), near=NEAR))


def _most_places(cfg: Config, rows: int) -> int:
    """Rows of each PE in the largest tile whose sums and parameters fit; 0 if not even one does."""
    if cfg.sparse is None:
        return 0
    per_place = cfg.sparse.pes // cfg.lanes  # words of sums
    places = ceil(rows / cfg.sparse.pes)
    most = min(places, cfg.sparse.accumulators, cfg.acc_bank_words // per_place)
    words = ceil(rows / cfg.lanes)
    if min(words, most * per_place) > cfg.param_entries:
        most = cfg.param_entries // per_place
    return most


def candidates(cfg: Config, layer: Conv, vectors: int, density: float) -> Iterator[SparsePlan]:
    """All plans that fit, not costed yet."""
    if cfg.sparse is None:
        return
    matrix = layer.weight[:, :, 0, 0]
    rows, pes = len(matrix), cfg.sparse.pes
    book = codebook_of(matrix, cfg.sparse.code_bits)
    places, most = ceil(rows / pes), _most_places(cfg, rows)
    if not most:
        return
    cuts = [ceil(places / most) << i for i in range(ROW_CUTS)]
    for size in sorted({ceil(places / n) for n in cuts}, reverse=True):
        height = size * pes
        parts = tuple(encode(matrix[first : first + count], cfg, book) for first, count in ranges(rows, height))
        room = cfg.acc_bank_words // ceil(min(height, rows) / cfg.lanes)
        waits = tuple(waiting(part, density, cfg.sparse.queue) for part in parts)
        for group in _groups(vectors, min(vectors, room)):
            first = SparsePlan(cfg, layer, vectors, group, height, 1, False, False, parts, waits)
            yield from _tilings(first)
        if vectors <= room:
            break  # smaller tiles would only need more pointers


def _groups(vectors: int, most: int) -> list[int]:
    """Vectors per group that are tried: one, and equal divisions up to what the accumulators hold."""
    fewest = ceil(vectors / most)
    return sorted({1, *(ceil(vectors / (fewest << i)) for i in range(3))})


def _tilings(p: SparsePlan) -> Iterator[SparsePlan]:
    """Sizes of column tiles, and what can stay on chip."""
    columns, unit = p.columns, p.cfg.input_elements
    stay = len(p.parts) > 1 and columns * p.group * p.cfg.act_bytes <= p.cfg.memory.input_bytes
    count, found = ceil(columns / MOST_COLUMNS), 0
    while found < COLUMN_CUTS:
        width = ceil(columns / count)
        if width > unit:
            width = ceil(width / unit) * unit  # whole words but for the last tile
        tiled = replace(p, width=width, inputs_stay=stay)
        tiled = replace(tiled, resident=fits_at_once(tiled))
        if pointable(tiled) and buffers(tiled):
            found += 1
            yield tiled
        if width == 1:
            break
        count = 2 * count if found else max(count + 1, ceil(count * 1.25))


def pointable(p: SparsePlan) -> bool:
    """Whether pointers can tell all entries of each tile, and one LOAD job bring them."""
    longest = max(p.longest(part, tile) for part in range(len(p.parts)) for tile in p.column_tiles)
    segment = max(*map(max, p.entry_segments), *map(p.pointer_segment, p.column_tiles))
    return longest <= MOST_ENTRIES and p.sparse.pes * segment <= MOST_BYTES


def fits_at_once(p: SparsePlan) -> bool:
    """Whether all weights fit on chip."""
    return p.resident_entries <= p.sparse.weight_bytes and p.resident_pointers <= p.sparse.pointer_bytes


def _no_fit(cfg: Config, layer: Conv) -> str:
    """What is too small for the rows that the PEs hold once, and one column."""
    if cfg.sparse is None:
        raise AssertionError("no engine")
    words = min(cfg.sparse.pes // cfg.lanes, ceil(len(layer.weight) / cfg.lanes))
    beat = cfg.bus_bytes
    needs = [
        ("memory.acc_bytes", cfg.memory.acc_bytes, 2 * cfg.sparse.pes // cfg.lanes * cfg.acc_word_bytes),
        ("memory.param_bytes", cfg.memory.param_bytes, words * cfg.param_entry_bytes),
        ("memory.input_bytes", cfg.memory.input_bytes, cfg.act_bytes),
        ("sparse.weight_bytes", cfg.sparse.weight_bytes, beat),
        ("sparse.pointer_bytes", cfg.sparse.pointer_bytes, beat),
    ]
    key, has, need = next((n for n in needs if n[1] < n[2]), needs[0])
    return (
        f"layer {layer.name}: its smallest tile on the sparse engine needs {need} bytes of {key}, which is {has} in "
        f"configuration {cfg.name!r}; raise it, or run the layer on the array (--engine {layer.name}=array)"
    )
