"""Energy of a plan's accesses on chip, in closed form: what :mod:`mapper.accesses` will count in its jobs."""

from __future__ import annotations

from collections import Counter

from dataflows.vocabulary import Dim, Kind
from mapper.accesses import ACCUMULATORS, INPUTS, PARAMETERS, WEIGHTS, Traffic, memories
from mapper.conv_jobs import chunks
from mapper.conv_plan import ConvPlan
from mapper.energy_table import sram_byte


def plan_accesses(p: ConvPlan, loads: float, weights: int) -> Traffic:
    """Bytes read and written by memory, without an addition's operand; all tiles count as full.

    Parameters
    ----------
    p : ConvPlan
    loads : number
        Tiles, or slices of them, that are loaded.
    weights : int
        Bytes of weights that are loaded.
    """
    s, cfg = p.shape, p.shape.cfg
    places, blocks, flow = s.grid(p.tile), len(s.blocks), cfg.dataflow
    images, rows, cols = p.tile
    steps, passes = s.reduction.steps, p.words
    match flow.temporal:
        case Dim.PIXEL:
            inputs = images * rows * cols * p.words
            weight_words = inputs if flow.weight.kind is Kind.PRIVATE else steps * p.words
        case Dim.REDUCTION:
            inputs, weight_words = places.words * p.words, steps * p.words * places.groups
            passes = sum(1 for _ in chunks(p))  # sums stay in the array meanwhile
        case _:  # output channels: a job has all blocks of a group
            inputs, weight_words = places.words * p.words, cfg.lanes * p.words * places.groups
    input_runs = p.tile_count * (p.runs if s.channels_in_time else blocks)
    sums, tiles = p.tile_count * blocks * places.words, p.tile_count
    drained = s.images * s.out_height * s.out_width * blocks
    entries = drained if p.blocks > 1 else tiles * blocks
    slice_bytes = s.input_bytes(p.layout, p.tile, p.slice_channels)
    return Counter({
        (INPUTS, False): input_runs * inputs * cfg.input_read_bytes,
        (INPUTS, True): int(loads * slice_bytes),
        (WEIGHTS, False): tiles * blocks * weight_words * cfg.weight_read_bytes,
        (WEIGHTS, True): weights,
        (ACCUMULATORS, True): sums * passes * cfg.acc_word_bytes,
        (ACCUMULATORS, False): (sums * (passes - 1) + drained) * cfg.acc_word_bytes,
        (PARAMETERS, False): entries * cfg.param_entry_bytes,
    })  # fmt: skip


def on_chip(p: ConvPlan, loads: float, weights: int) -> float:
    """Picojoules of these."""
    sizes = memories(p.shape.cfg)
    return sum(
        count * sram_byte(sizes[place].size, sizes[place].word, write=write)
        for (place, write), count in plan_accesses(p, loads, weights).items()
    )
