"""Choosing a plan for the row-stationary array: the most promising divisions, tiled, costed, the cheapest kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import ceil

from dataflows.config import Config
from dataflows.errors import InputError
from dataflows.network import Conv, Tensor
from mapper.conv_plan import Options
from mapper.conv_shape import ConvShape
from mapper.row_cost import costed
from mapper.row_mesh import Division, divisions, kernel_parts
from mapper.row_plan import RowPlan
from mapper.search import Search, value

KEEP = 32
"""Divisions of the array that are planned in detail."""

VIEWS = 4
"""Arrangements of the pixels of a 1x1 layer that are tried."""

WEIGHT_SLOTS = (2, 4, 8)
"""Parts of the weight buffer that one job's weights may take."""

NEAR = 0.02
"""Plans this close in estimated cycles count as equal; the one with the least DRAM traffic, for that is what this
dataflow is for, is taken."""

DEARER = 0.05
"""A plan whose input can be compressed may take so much longer, and so much more traffic without compression."""

MOST_COUNT = (1 << 16) - 1
"""Largest count of a loop level."""


def row_plan(cfg: Config, layer: Conv, source: Tensor, target: Tensor, options: Options) -> RowPlan:
    """The cheapest plan. Raises ``InputError`` naming a buffer that is too small for any."""
    views = list(arrangements(ConvShape.of(cfg, layer, source, target), source, target))
    found = sorted((d for view in views for d in divisions(view, options, KEEP)), key=lambda d: d.cycles)[:KEEP]
    plans = [costed(p, options) for d in found for p in candidates(d)]
    if not plans:
        raise InputError(_no_fit(views[0]))
    near = NEAR if options.objective == "cycles" else 0.0
    chosen = _chosen(cfg, plans, options)
    return replace(chosen, search=Search(options.objective, len(plans), len(plans), None, near))


def _chosen(cfg: Config, plans: list[RowPlan], options: Options) -> RowPlan:
    """The best of the plans that are costed."""
    if options.objective != "cycles":
        return min(plans, key=lambda p: (value(p, options.objective), *_rank(p)))
    fastest = min(p.cycles for p in plans)
    near = (p for p in plans if p.cycles <= fastest * (1 + NEAR))
    best = min(near, key=_rank)
    whole = [p for p in plans if p.whole and p.cycles <= best.cycles * (1 + DEARER)] if cfg.codec else []
    if whole and min(whole, key=_rank).dram_bytes <= best.dram_bytes * (1 + DEARER):
        return min(whole, key=_rank)
    return best


def _rank(p: RowPlan) -> tuple[int, float, int]:
    """The less the better, among plans that take about as long."""
    return p.dram_bytes, p.cycles, p.sets.active


def arrangements(shape: ConvShape, source: Tensor, target: Tensor) -> Iterator[ConvShape]:
    """The shape; of a 1x1 layer, whose pixels have no neighbours, those that fill the columns best."""
    window = shape.layer.window
    if window.kernel == (1, 1) and window.stride == (1, 1) and not any(window.padding):
        pixels, cols = shape.width, shape.cfg.array.cols
        heights = [h for h in range(1, pixels + 1) if pixels % h == 0]
        heights.sort(key=lambda h: (round(ceil(h / cols) * cols / h, 1), abs(h - cols)))
        for h in sorted({*heights[:VIEWS], 1}):
            yield replace(shape, height=h, width=pixels // h, out_height=h, out_width=pixels // h)
        return
    images, height, width, channels = source.shape
    _, out_height, out_width, out_channels = target.shape
    yield replace(
        shape, images=images, height=height, width=width, channels=channels, out_height=out_height,
        out_width=out_width, out_channels=out_channels,
    )  # fmt: skip


def candidates(d: Division) -> Iterator[RowPlan]:
    """All plans of a division that fit the buffers, not costed yet."""
    p = RowPlan(d.shape, d.sets, d.kernel_parts, d.positions)
    sizes = {ceil(d.shape.out_width / n) for n in range(1, d.shape.out_width + 1)}
    for positions in sorted((x for x in sizes if x <= d.positions), reverse=True)[:3]:
        narrow = replace(p, positions=positions)
        for together in sorted({1, _most_together(narrow)}):
            yield from _slices(replace(narrow, together=together))


def _most_together(p: RowPlan) -> int:
    """Channel groups that one job can compute, each in a pass of its own; 1 if their sums would not lie in order."""
    s, memory, groups = p.sets, p.shape.cfg.memory, p.shape.layer.groups
    whole = s.filters == 1 if s.folded else s.sums == p.group_outputs
    if groups == 1 or s.across > 1 or not whole or s.job_filters != p.group_outputs or s.passes(p.group_inputs) > 1:
        return 1
    one = replace(p, together=1)
    room = (
        p.shape.cfg.acc_bank_words // (p.positions * s.sums),
        memory.input_bytes // (2 * one.tile_bytes),
        memory.weight_bytes // (2 * one.filter_bytes),
        MOST_COUNT,
    )
    most = max(1, min(groups, *room))
    return ceil(groups / ceil(groups / most))


def _slices(p: RowPlan) -> Iterator[RowPlan]:
    """What of channels and weights is on chip at a time."""
    memory = p.shape.cfg.memory
    total = p.passes(p.together)
    if p.together > 1:
        yield from _residencies(replace(p, slice_passes=total, chunk_passes=total))
        return
    one = replace(p, slice_passes=1, chunk_passes=1)
    slices = {total} if replace(p, slice_passes=total).tile_bytes <= memory.input_bytes else set()
    for slots in (1, 2):
        most = min(total, max(1, memory.input_bytes // (slots * one.tile_bytes)))
        slices.add(ceil(total / ceil(total / most)))
    chunks = {max(1, min(total, memory.weight_bytes // (slots * one.chunk_bytes))) for slots in WEIGHT_SLOTS}
    for passes in slices:
        sizes = {ceil(passes / ceil(passes / min(chunk, passes))) for chunk in chunks}
        for chunk in sizes:
            whole = replace(p, slice_passes=passes, chunk_passes=min(chunk, MOST_COUNT))
            if whole.tile_bytes <= memory.input_bytes and whole.chunk_bytes <= memory.weight_bytes:
                yield from _residencies(whole)


def _residencies(p: RowPlan) -> Iterator[RowPlan]:
    """Loop orders, and what can stay on chip in each."""
    memory, several = p.shape.cfg.memory, p.tile_count > 1
    input_fits = p.input_bytes <= memory.input_bytes and not p.sliced
    for outer in (False, True):
        if outer and not several:
            continue
        # two filter tiles, so that the next one's weights are loaded while one computes
        stay = 2 * p.filter_bytes if outer else p.filter_bytes * len(p.filter_tiles)
        for input_stays in {False, input_fits and outer}:
            for weights_stay in {False, stay <= memory.weight_bytes and several and (outer or not p.sliced)}:
                yield replace(p, channels_outer=outer, input_resident=input_stays, weights_resident=weights_stay)


def _no_fit(shape: ConvShape) -> str:
    """Which buffer is too small for one output pixel, and what would do."""
    cfg, memory = shape.cfg, shape.cfg.memory
    height, width = shape.extent(1, 1)
    columns = max(across for _, across in kernel_parts(shape))
    kernel_columns = ceil(shape.layer.window.kernel[1] / columns)
    needs = {
        "acc_bytes": 2 * cfg.acc_word_bytes,
        "weight_bytes": kernel_columns * cfg.array.rows * cfg.act_bytes,
        "input_bytes": height * width * cfg.act_bytes,
    }
    key, need = next((key, need) for key, need in needs.items() if need > getattr(memory, key))
    return (
        f"layer {shape.layer.name}: its smallest tile needs {need} bytes of the {key.removesuffix('_bytes')} buffer, "
        f"which has {getattr(memory, key)}; raise memory.{key} in configuration {cfg.name!r} to at least {need}"
    )
