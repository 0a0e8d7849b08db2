"""Choosing a plan for the array over the output plane: what fits the buffers, costed in closed form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import ceil

from dataflows.config import Config
from dataflows.errors import InputError
from dataflows.network import Conv, Tensor
from mapper.conv_plan import Options
from mapper.conv_shape import ConvShape
from mapper.plane_plan import PlanePlan, channel_bytes, order_of, spread
from mapper.search import choose
from mapper.tiles import window_extent

WEIGHT_SLOTS = 4
"""A job's weights are at most this fraction of the buffer, so that loading runs ahead of computing."""

MOST_COUNT = (1 << 16) - 1
"""Largest count of a loop level."""

MOST_KERNEL = (1 << 8) - 1
"""Largest extent of a kernel that the array counts."""

RUN_WORDS, LOAD_WORDS, DRAIN_WORDS = 20, 14, 24
"""Command words of a set of array jobs, of a load and of a drain; the decoder takes one per cycle."""


QUEUED_LOADS = 4
"""Jobs that LOAD's queue holds; more of them must not wait for their memory, as commands behind them wait too."""


def plane_plan(cfg: Config, layer: Conv, source: Tensor, target: Tensor, options: Options) -> PlanePlan:
    """The cheapest plan. Raises ``InputError`` naming what is too small for any."""
    shape = ConvShape.of(cfg, layer, source, target)
    if max(layer.window.kernel) > MOST_KERNEL:
        raise InputError(
            f"layer {layer.name}: its kernel of {layer.window.kernel[0]}x{layer.window.kernel[1]} is too large for "
            f"dataflow {cfg.array.dataflow}, which takes up to {MOST_KERNEL}x{MOST_KERNEL}; "
            "weight_stationary (configs/ws16.toml) has no such limit"
        )
    _check(shape)
    found = choose(candidates(shape), lambda p: costed(p, options), options.objective)
    if found is None:
        raise AssertionError(f"no plan for layer {layer.name}")
    return replace(found[0], search=found[1])


def candidates(shape: ConvShape) -> Iterator[PlanePlan]:
    """All plans that fit the buffers, not costed yet."""
    cfg, layer = shape.cfg, shape.layer
    order = order_of(cfg, layer.window)
    ins, outs = shape.channels // layer.groups, shape.out_channels // layer.groups
    sums = cfg.acc_bank_words // cfg.array.rows
    pitch, tap = channel_bytes(cfg, order), order.steps * cfg.act_bytes
    memory = cfg.memory
    most = min(MOST_COUNT // order.steps, MOST_COUNT // order.words, memory.weight_bytes // tap)
    fitting = {min(ins, most, memory.input_bytes // (slots * pitch)) for slots in (1, 2, 3)}
    for depth in sorted({spread(ins, d) for d in fitting if d}):
        batch = _batch(outs, sums, cfg.lanes)
        each = max(1, memory.weight_bytes // WEIGHT_SLOTS // (depth * tap))  # output channels of a job
        plan = PlanePlan(shape, order, batch, 1, depth, spread(batch, min(each, batch)))
        yield from _residencies(plan)
        together = min(layer.groups, sums // outs, memory.input_bytes // (2 * ins * pitch), each // outs)
        if depth == ins and together > 1:
            groups = spread(layer.groups, together)
            yield from _residencies(replace(plan, together=groups, batch_channels=outs, chunk_channels=groups))


def _batch(channels: int, most: int, lanes: int) -> int:
    """Output channels of a batch: all that fit a bank, in whole blocks of ``lanes``, as the vector unit takes them."""
    whole = most // lanes * lanes
    if channels <= most or not whole:
        return min(channels, most)
    return ceil(spread(channels, whole) / lanes) * lanes


def _residencies(p: PlanePlan) -> Iterator[PlanePlan]:
    """With weights from DRAM for each tile, and with weights that stay."""
    yield p
    if len(p.tiles) > 1 and p.layer_bytes <= p.shape.cfg.memory.weight_bytes:
        yield replace(p, weights_resident=True)


def costed(p: PlanePlan, options: Options) -> PlanePlan:
    """The plan with its estimated cycles and DRAM bytes.

    LOAD writes one element per cycle, as neighbouring inputs of a step lie far apart in DRAM.
    """
    s, cfg, order = p.shape, p.shape.cfg, p.order
    bus = min(cfg.bus_bytes, options.bytes_per_cycle)
    extent = window_extent(s.layer.window, cfg.array.rows, cfg.array.cols)
    inside = 1.0 if p.folded else min(1.0, s.height / extent[0]) * min(1.0, s.width / extent[1])
    reloads = 1 if not p.sliced else len(p.batches) // s.layer.groups
    elements = len(p.tiles) * s.channels * order.new_elements * inside * reloads
    weights = p.layer_bytes * (1 if p.weights_resident else len(p.tiles))
    outputs = s.images * s.out_height * s.out_width * s.out_channels * cfg.act_bytes
    traffic = int(elements * cfg.act_bytes) + weights + outputs
    loading = max(elements, _bursts(p, elements) * options.latency / cfg.bus.reads_in_flight) + weights / bus
    on_chip = p.slice_channels * p.channel_bytes * p.together
    several = len(p.tiles) * reloads * s.layer.groups > 1
    slots = 2 if _load_jobs(p) <= QUEUED_LOADS else 3
    alone = slots * on_chip > cfg.memory.input_bytes and several  # no room to load ahead
    first = options.latency + on_chip / cfg.act_bytes
    last = cfg.array.rows * min(p.batch_channels * p.together, s.out_channels) + 2 * options.latency
    middle = p.steps + loading if alone else max(p.steps, loading, traffic / bus, _commands(p))
    return replace(p, cycles=first + middle + last, dram_bytes=traffic)


def _bursts(p: PlanePlan, elements: float) -> float:
    """DRAM rows that ``elements`` inputs are loaded in: rows of pixels with all their channels, or single pixels."""
    whole = p.slice_channels * p.together == p.shape.channels and (p.order.fresh_cols == 1 or p.folded)
    return elements / (p.slice_channels * p.together * (p.shape.cfg.array.cols if whole else 1))


def _load_jobs(p: PlanePlan) -> int:
    """About how many LOAD jobs a part of a tile takes."""
    return 1 if p.folded else p.order.fresh_rows * (p.order.fresh_cols + 1) + 1


def _commands(p: PlanePlan) -> int:
    """Command words of a layer."""
    parts = sum(len(p.parts(batch)) for batch in p.batches)
    runs = sum(len(p.parts(batch)) * len(list(p.chunks(batch))) for batch in p.batches)
    drains = sum(ceil(batch.count / p.shape.cfg.lanes) for batch in p.batches)
    words = runs * (RUN_WORDS + LOAD_WORDS) + parts * _load_jobs(p) * LOAD_WORDS + drains * DRAIN_WORDS
    return len(p.tiles) * words


def _check(shape: ConvShape) -> None:
    """Refuse a layer of which not even one channel fits, saying what would do."""
    cfg, memory, order = shape.cfg, shape.cfg.memory, order_of(shape.cfg, shape.layer.window)
    needs = {
        "acc_bytes": 2 * cfg.array.rows * cfg.acc_word_bytes,
        "weight_bytes": order.steps * cfg.act_bytes,
        "input_bytes": channel_bytes(cfg, order),
    }
    for key, need in needs.items():
        if need > getattr(memory, key):
            raise InputError(
                f"layer {shape.layer.name}: its smallest tile needs {need} bytes of the {key.removesuffix('_bytes')} "
                f"buffer, which has {getattr(memory, key)}; raise memory.{key} in configuration {cfg.name!r} "
                f"to at least {need}"
            )
