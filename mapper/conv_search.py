"""Tiling of one convolution: every candidate that fits the buffers, costed, the cheapest kept."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import fields, replace
from math import ceil

import numpy as np

from dataflows.errors import InputError
from dataflows.formats import pitch
from mapper.conv_cost import costed, least_cycles
from mapper.conv_plan import ConvPlan, Options
from mapper.conv_shape import ConvShape
from mapper.search import choose

WEIGHT_SLOTS = 4
"""A streamed weight chunk is at most this fraction of the buffer, so that loading runs ahead of computing."""

DEFAULT = Options()

NEAR = 0.002
"""Plans this close in estimated cycles count as equal; then the one of less energy is taken."""

BLOCKS = (1, 2, 4, 8, 16, 32, 64)
"""Blocks of output channels per accumulator bank that are tried."""

SLICES = (2, 4, 8, 16, 32, 64)
"""Parts that the input channels are cut into where all of them do not fit."""

Size = tuple[int, int, int]


def plan(shape: ConvShape, options: Options, *, residual: bool = False) -> ConvPlan:
    """The cheapest plan.

    Parameters
    ----------
    shape : ConvShape
    options : Options
    residual : bool
        The other operand of an addition passes through the operand buffer, a tile of a group at a time.

    Raises
    ------
    InputError
        When no plan fits; it names the buffer.
    """
    found = cheapest(shape, options, residual=residual)
    if found is None:
        raise InputError(_no_fit(shape))
    return found


_known: dict[Hashable, ConvPlan] = {}
"""Plans of shapes that were searched before."""


def _key(shape: ConvShape, options: Options, *more: Hashable) -> Hashable:
    """All that a plan depends on, ``more`` included: weights and names are not among it."""
    geometry = tuple(getattr(shape, f.name) for f in fields(shape) if f.name not in ("cfg", "layer"))
    layer = shape.layer.window, shape.layer.groups, layouts(shape, options)
    assumed = options.latency, options.bytes_per_cycle, options.objective
    return id(shape.cfg), geometry, layer, assumed, more  # what is known holds the configuration


def _bare(shape: ConvShape) -> ConvShape:
    """The shape with weights that take no memory."""
    layer = shape.layer
    weight, bias = (np.broadcast_to(x.dtype.type(0), x.shape) for x in (layer.weight, layer.bias))
    return replace(shape, layer=replace(layer, weight=weight, bias=bias))


def cheapest(
    shape: ConvShape, options: Options, *, residual: bool, accept: Callable[[ConvPlan], bool] = lambda _: True,
    least: Callable[[ConvPlan], float] = lambda _: 0, behind: Hashable = None,
) -> ConvPlan | None:  # fmt: skip
    """The cheapest plan of those that fit and that ``accept`` takes; None if there is none.

    A plan takes no less than the cycles ``least``. ``behind`` is all that ``accept`` and ``least`` know beside it.
    """
    key = _key(shape, options, residual, behind)
    known = _known.get(key)
    if known is not None and known.search is not None:
        return replace(known, shape=shape, search=replace(known.search, reused=True))
    fitting = (
        c for c in candidates(shape, options)
        if (not residual or _residual_bytes(c) <= shape.cfg.memory.operand_bytes) and accept(c)
    )  # fmt: skip
    fast = options.objective == "cycles"

    def cost(candidate: ConvPlan) -> ConvPlan:
        p = costed(candidate, options, residual=residual)
        return replace(p, cycles=max(p.cycles, least(p)))

    def bound(candidate: ConvPlan) -> float:
        return least_cycles(candidate, options) if fast else 0

    found = choose(fitting, cost, options.objective, bound=bound, near=NEAR if fast else 0.0)
    if found is None:
        return None
    chosen, search = found
    _known[key] = replace(chosen, shape=_bare(shape), search=search)
    return replace(chosen, search=search)


def layouts(shape: ConvShape, options: Options) -> tuple[str, ...]:
    """Layouts to try: the one that is asked for, where the layer can have it; every layer can have taps."""
    wanted = options.layout
    if isinstance(wanted, Mapping):
        wanted = wanted.get(shape.layer.name)
    return (wanted,) if wanted in ("taps", *shape.layouts()) else shape.layouts()


def candidates(shape: ConvShape, options: Options = DEFAULT) -> Iterator[ConvPlan]:
    """All plans that fit the buffers, not costed yet."""
    bank, entries = shape.cfg.acc_bank_words, shape.cfg.param_entries
    for layout in layouts(shape, options):
        for blocks in sorted({min(b, len(shape.blocks)) for b in BLOCKS}):
            if blocks > 1 and (not shape.uniform or blocks > entries):
                continue
            for size in _tile_sizes(shape, bank // blocks):
                if shape.grid(size).words * blocks <= bank and _suits(shape, layout, size):
                    yield from _residencies(shape, layout, size, blocks, shape.channels)
    # slices of the channels read the input more often: only where not even one pixel's window fits
    if shape.layer.groups == 1 and _window_bytes(shape) > shape.cfg.memory.input_bytes:
        for channels in _slice_channels(shape):
            for size in _tile_sizes(shape, bank):
                if shape.grid(size).words <= bank:
                    yield from _residencies(shape, "taps", size, 1, channels)


    if shape.cfg.attention and shape.layer.groups == 1:
        yield from _slices_outer(shape)


def _slices_outer(shape: ConvShape) -> Iterator[ConvPlan]:
    """Plans in which tiles have as many pixels as fit a bank, and slices of the channels follow each other."""
    memory, bank = shape.cfg.memory, shape.cfg.acc_bank_words
    for blocks in sorted({min(b, len(shape.blocks)) for b in BLOCKS}):
        if blocks > shape.cfg.param_entries or (blocks > 1 and not shape.uniform) or shape.channels_in_time:
            continue
        for size in _tile_sizes(shape, bank // blocks):
            room = memory.input_bytes // 2
            channels = next((c for c in _slice_channels(shape) if shape.input_bytes("taps", size, c) <= room), None)
            if channels is None or shape.grid(size).words * blocks > bank:
                continue
            plan = ConvPlan(shape, "taps", size, blocks, channels, False, False, False, 1, slices_outer=True)
            chunk = memory.weight_bytes // WEIGHT_SLOTS // shape.word_bytes(blocks)
            if chunk:
                yield replace(plan, chunk_words=min(plan.words, chunk))


def _suits(shape: ConvShape, layout: str, size: Size) -> bool:
    """Whether a tile can have a layout: strips are whole, and those of several outputs take a loop level of images."""
    strips = shape.strips(layout)
    return strips is None or (size[2] % strips.outputs == 0 and (strips.outputs == 1 or size[0] == 1))


def _window_bytes(shape: ConvShape) -> int:
    """Input buffer bytes of one output pixel."""
    return min(shape.input_bytes(layout, (1, 1, 1), shape.channels) for layout in shape.layouts())


def _slice_channels(shape: ConvShape) -> list[int]:
    """Sizes of channel slices, largest first."""
    sizes = {shape.padded(shape.channels // parts) for parts in SLICES if shape.channels >= parts}
    return sorted((size for size in sizes if size < shape.channels), reverse=True)


def _residual_bytes(p: ConvPlan) -> int:
    """Operand buffer bytes of a full tile of the largest group."""
    images, rows, cols = p.tile
    channels = max(g[-1].first + g[-1].count - g[0].first for g in p.groups)
    return images * rows * cols * pitch(channels, p.shape.residual_bits)


def _sizes(extent: int, most: int) -> list[int]:
    """Candidate tile extents: equal divisions, largest first, at most ``most``."""
    return sorted({ceil(extent / k) for k in range(1, extent + 1) if ceil(extent / k) <= most}, reverse=True)


def _tile_sizes(shape: ConvShape, words: int) -> Iterator[Size]:
    """Tiles of about ``words`` pixels at most: parts of a row, whole rows, whole images; one pixel is among them."""
    group = shape.grid((1, 1, 1)).group
    for cols in _sizes(shape.out_width, max(words, group)):
        if cols == shape.out_width:
            for rows in _sizes(shape.out_height, max(words // cols, 1)):
                yield 1, rows, cols
                if rows == shape.out_height and shape.images > 1:
                    for images in _sizes(shape.images, max(words // (cols * rows), 1)):
                        yield images, rows, cols
        elif cols * 4 >= min(shape.out_width, words) or cols <= 2 * group:
            yield 1, 1, cols


def _residencies(shape: ConvShape, layout: str, size: Size, blocks: int, channels: int) -> Iterator[ConvPlan]:
    """Loop orders of one tiling, and what can stay on chip in each."""
    memory = shape.cfg.memory
    p = ConvPlan(shape, layout, size, blocks, channels, False, False, False, 1)
    per_word, several = shape.word_bytes(blocks), p.tile_count > 1
    chunk = max(1, min(p.words, memory.weight_bytes // WEIGHT_SLOTS // per_word))
    # slices are loaded ahead of each other, a whole tile need not be
    if chunk * per_word > memory.weight_bytes or p.tile_bytes * (2 if p.sliced else 1) > memory.input_bytes:
        return
    input_fits = p.tile_count * p.tile_bytes <= memory.input_bytes and not p.sliced
    for outer in (False, True):
        if outer and several and p.sliced:
            continue
        # two groups, so that the next one's weights are loaded while one computes
        stay = 2 * p.group_bytes if outer else p.group_bytes * len(p.groups)
        for input_stays in {input_fits and not several, input_fits}:
            for weights_stay in {False, stay <= memory.weight_bytes and several and not p.sliced}:
                yield ConvPlan(shape, layout, size, blocks, channels, outer, input_stays, weights_stay, chunk)


def _no_fit(shape: ConvShape) -> str:
    """Which buffer is too small for one output pixel and one block of channels, and what would do."""
    cfg, memory = shape.cfg, shape.cfg.memory
    input_needs = [_window_bytes(shape)]
    if shape.layer.groups == 1:
        input_needs += [2 * shape.input_bytes("taps", (1, 1, 1), channels) for channels in _slice_channels(shape)]
    needs = {
        "acc_bytes": 2 * shape.grid((1, 1, 1)).words * cfg.acc_word_bytes,
        "weight_bytes": shape.word_bytes(1),
        "input_bytes": min(input_needs),
    }
    key, need = next((key, need) for key, need in needs.items() if need > getattr(memory, key))
    return (
        f"layer {shape.layer.name}: its smallest tile needs {need} bytes of the {key.removesuffix('_bytes')} buffer, "
        f"which has {getattr(memory, key)}; raise memory.{key} in configuration {cfg.name!r} to at least {need}"
    )
