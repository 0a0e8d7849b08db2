"""What a plan for the row-stationary array costs, in closed form: cycles and DRAM traffic."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

from mapper.conv_plan import Options
from mapper.row_plan import RowPlan

JOB_CYCLES = 16
"""What a job costs beside its passes and the skew of the rows."""


def costed(p: RowPlan, options: Options) -> RowPlan:
    """The plan with its estimated cycles and DRAM bytes."""
    shape, cfg = p.shape, p.shape.cfg
    bus = min(cfg.bus_bytes, options.bytes_per_cycle)
    tiles, filters = p.tile_count, len(p.filter_tiles)
    pairs = tiles * filters
    array = pairs * array_cycles(p)
    vector = pairs * drain_cycles(p)

    load_cycles, load_bytes = _load(p, options)
    slices = ceil(p.passes(p.together) / p.slice_passes)
    reloaded = (p.channels_outer and not p.input_resident) or p.sliced
    blocks = ceil(shape.layer.groups / p.together)  # each loads channels of its own
    loads = tiles * slices * (filters if reloaded else blocks)
    weights = p.filter_bytes * filters * (1 if p.weights_resident or tiles == 1 else tiles)
    store_cycles, store_bytes = _store(p, options)
    traffic = loads * load_bytes + weights + store_bytes

    alone = 2 * p.tile_bytes > cfg.memory.input_bytes and loads > 1  # no room to load ahead
    serial = 2 * p.chunk_bytes > cfg.memory.weight_bytes and weights > p.chunk_bytes
    loading = loads * load_cycles + weights / bus
    busy = max(array, vector, store_cycles)
    middle = busy + loading if alone or serial else max(busy, traffic / bus, loading)
    ends = 3 * options.latency + load_cycles + p.chunk_bytes / bus + drain_cycles(p)
    return replace(p, cycles=ends + middle, dram_bytes=traffic)


def array_cycles(p: RowPlan) -> int:
    """Cycles of the array for one tile and one full filter tile."""
    rows, store, passes = p.shape.cfg.array.rows, p.shape.cfg.stores.weight or 1, p.passes(p.together)
    law = sum(passes * p.sets_of(kernel).pass_cycles(p.positions, rows, store) for kernel in p.kernels)
    return law + p.job_count * len(p.kernels) * (p.sets.skew(rows) + JOB_CYCLES)


def drain_cycles(p: RowPlan) -> int:
    """Cycles of the vector unit for one tile and one full filter tile: blocks of lanes are read, then handed out."""
    lanes, s = p.shape.cfg.lanes, p.sets
    side = s.side_filters * p.together
    blocks = ceil(side / lanes) * s.across * (s.units if s.folded else 1)
    return blocks * p.positions * max(lanes, s.columns)


def _load(p: RowPlan, options: Options) -> tuple[float, int]:
    """Cycles and DRAM bytes of loading one tile, or one slice of it."""
    shape, cfg = p.shape, p.shape.cfg
    height, width = shape.extent(*p.tile[1:])
    inside = min(width, shape.width)
    whole = p.slice_channels == shape.channels
    load_rows = height * (1 if whole else inside)
    row_bytes = (inside if whole else 1) * p.slice_channels * cfg.act_bytes
    beats = _beats(row_bytes, cfg.bus_bytes)
    bus = min(cfg.bus_bytes, options.bytes_per_cycle)
    flight = options.latency / cfg.bus.reads_in_flight  # short rows are bound by latency
    cycles = max(p.tile_bytes / cfg.bus_bytes, load_rows * max(beats * cfg.bus_bytes / bus, flight))
    return cycles, load_rows * beats * cfg.bus_bytes


def _store(p: RowPlan, options: Options) -> tuple[float, int]:
    """Cycles and DRAM bytes of all results: per pixel a run for each block of at most ``lanes`` channels of a side."""
    shape, cfg = p.shape, p.shape.cfg
    side = min(p.sets.side_filters * p.together, shape.out_channels)
    blocks, rest = divmod(side, cfg.lanes)
    beats = blocks * _beats(cfg.lanes * cfg.act_bytes, cfg.bus_bytes)
    if rest:
        beats += _beats(rest * cfg.act_bytes, cfg.bus_bytes)
    beats *= shape.images * shape.out_height * shape.out_width * ceil(shape.out_channels / side)
    bus = min(cfg.bus_bytes, options.bytes_per_cycle)
    return beats * cfg.bus_bytes / bus, beats * cfg.bus_bytes


def _beats(size: int, bus: int) -> int:
    """Beats of a run of ``size`` bytes that begins anywhere."""
    return ceil(size / bus) + (size % bus > 0)
