"""What a plan costs, in closed form: cycles and DRAM traffic, as good as needed to choose between plans."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

from dataflows.formats import pitch
from dataflows.vocabulary import Dim
from mapper.conv_plan import ConvPlan, Options
from mapper.plan_accesses import on_chip

JOB_CYCLES = 4
"""What one more set of array jobs costs."""


def costed(p: ConvPlan, options: Options, *, residual: bool = False) -> ConvPlan:
    """The plan with its estimated cycles and DRAM bytes; ``residual``: with the other operand of an addition."""
    shape, cfg = p.shape, p.shape.cfg
    bus = min(cfg.bus_bytes, options.bytes_per_cycle)
    tiles, slices = p.tile_count, ceil(shape.channels / p.slice_channels)
    compute = tiles * len(shape.blocks) * _block_cycles(p)

    load_cycles, load_bytes = _load(p, options)
    reloaded = (p.channels_outer and not p.input_resident) or p.sliced
    loads = tiles * (len(p.groups) if reloaded else 1) * slices
    weights = p.group_bytes * len(p.groups) * (1 if p.weights_resident or tiles == 1 else tiles)
    beside, beside_bytes = _residual(p, options) if residual else (0.0, 0)
    traffic = loads * load_bytes + weights + _output_bytes(p) + beside_bytes

    alone = 2 * p.tile_bytes > cfg.memory.input_bytes and tiles > 1  # no room to load ahead
    loading = loads * load_cycles + weights / bus + beside
    middle = compute + loading if alone else max(compute, traffic / bus, loading)
    first_weights = min(p.words, p.chunk_words) * shape.reduction.weight_bytes
    first = options.latency + load_cycles + first_weights / bus
    last = shape.grid(p.tile).words * p.blocks + 2 * options.latency
    jobs = tiles * len(shape.blocks) * ceil(p.words / p.chunk_words) * slices
    inside = 0.0 if options.objective == "cycles" else on_chip(p, loads, weights)
    return replace(p, cycles=first + middle + last + JOB_CYCLES * jobs, dram_bytes=traffic, on_chip=inside)


def least_cycles(p: ConvPlan, options: Options) -> float:
    """No more than the cycles of :func:`costed`, sooner known: the array's, and the latencies before and after."""
    chunks = ceil(p.words / p.chunk_words) * ceil(p.shape.channels / p.slice_channels)
    blocks = p.tile_count * len(p.shape.blocks)
    return blocks * (_block_cycles(p) + JOB_CYCLES * chunks) + 3 * options.latency


def _block_cycles(p: ConvPlan) -> int:
    """Cycles of the array for one block of one tile: the dataflow's cycle law."""
    cfg, places = p.shape.cfg, p.shape.grid(p.tile)
    match cfg.dataflow.temporal:
        case Dim.PIXEL:
            return p.words * max(places.words, cfg.dataflow.load_cycles(cfg.array.rows, cfg.array.cols))
        case Dim.REDUCTION:
            return places.groups * p.words * p.shape.reduction.word_cycles
        case _:  # output channels
            return places.groups * p.words * cfg.lanes


def _load(p: ConvPlan, options: Options) -> tuple[float, int]:
    """Cycles and DRAM bytes of loading one tile, or one slice of it."""
    shape, cfg = p.shape, p.shape.cfg
    images, rows, cols = p.tile
    height, width = shape.extent(rows, cols)
    inside = min(width, shape.width)
    pixel = shape.pixel_bytes(shape.channels)
    cycles: float
    strips = shape.strips(p.layout)
    if strips:  # every strip has a segment per row; beats are cut where segments end
        load_rows = images * height * strips.passes
        row_bytes = ceil(cols / strips.outputs / strips.passes) * strips.columns * pixel
        cycles = load_rows * ceil(row_bytes / cfg.bus_bytes)
        if strips.outputs * pixel * shape.layer.window.stride[1] % cfg.bus_bytes:
            cycles += images * height * cols // strips.outputs
    elif p.layout == "stacked":  # every pixel of every kernel row is a segment
        load_rows = images * rows * shape.layer.window.kernel[0]
        row_bytes = inside * pixel
        segments = load_rows * width
        cycles = segments * ceil(pixel / cfg.bus_bytes)
        if cfg.multiplier is None or pixel % cfg.bus_bytes:  # beats are cut where segments end
            cycles += load_rows * ceil(row_bytes / cfg.bus_bytes)
    else:  # a slice is contiguous for one pixel only
        load_rows = images * height * (width if p.sliced else 1)
        row_bytes = (1 if p.sliced else inside) * shape.pixel_bytes(p.slice_channels)
        cycles = p.tile_bytes / cfg.bus_bytes
    beats = _beats(row_bytes, cfg.bus_bytes)
    bus = min(cfg.bus_bytes, options.bytes_per_cycle)
    flight = options.latency / cfg.bus.reads_in_flight  # short rows are bound by latency
    cycles = max(cycles, load_rows * max(beats * cfg.bus_bytes / bus, flight))
    return cycles, load_rows * beats * cfg.bus_bytes


def _residual(p: ConvPlan, options: Options) -> tuple[float, int]:
    """Cycles and DRAM bytes of an addition's other operand: a run of channels per pixel and group, or whole rows."""
    shape, cfg = p.shape, p.shape.cfg
    together = pitch(min(p.blocks * cfg.lanes, shape.out_channels), shape.residual_bits)
    pixels = shape.images * shape.out_height * shape.out_width
    rows, size = pixels * len(p.groups), together
    if len(p.groups) == 1:
        rows, size = ceil(pixels / p.tile[2]), p.tile[2] * together
    beats = _beats(size, cfg.bus_bytes)
    bus = min(cfg.bus_bytes, options.bytes_per_cycle)
    flight = options.latency / cfg.bus.reads_in_flight
    return rows * max(beats * cfg.bus_bytes / bus, flight), rows * beats * cfg.bus_bytes


def _output_bytes(p: ConvPlan) -> int:
    """DRAM bytes of all results: one run of channels per pixel and group, or whole rows."""
    shape, bus = p.shape, p.shape.cfg.bus_bytes
    pixels, together = shape.images * shape.out_height * shape.out_width, p.blocks * shape.cfg.lanes
    if together >= shape.out_channels:
        return pixels * pitch(shape.out_channels, shape.result_bits)
    runs = pixels * ceil(shape.out_channels / together)
    return runs * _beats(pitch(together, shape.result_bits), bus) * bus


def _beats(size: int, bus: int) -> int:
    """Beats of a run of ``size`` bytes that begins anywhere."""
    return ceil(size / bus) + (size % bus > 0)
