"""VECTOR and STORE jobs: draining accumulators, and layers that run on the vector unit alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dataflows import isa
from dataflows.formats import pitch
from dataflows.network import Add
from mapper import packed, tables
from mapper.block_jobs import Part, blocks_of, note_use, store_blocks
from mapper.context import Context
from mapper.loads import ROWS
from mapper.nests import Loops, levels
from mapper.numbers import common
from mapper.scoreboard import Access
from mapper.tiles import Grid, Tile

ACC_LEVELS = ("block", "x", "y", "image")
RESULT_LEVELS = ("block", "x", "y")
OPERAND_LEVELS = ("tap_a", "tap_b", "block", "x", "y", "image")
Registers = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Kept:
    """Where words go that stay in the operand buffer: byte address of the first pixel, bytes from column to column and
    from row to row, and all of what is written."""

    address: int
    column: int
    row: int
    access: Access


@dataclass(frozen=True)
class Drain:
    """One accumulator bank on its way to DRAM: ``count`` channels from ``first`` of the pixels of ``tile``."""

    bank: int
    places: Grid
    tile: Tile
    first: int
    count: int
    blocks: int
    entry: int  # first parameter entry used
    entries: int  # loaded together, at byte address ``param_at``
    param_at: int
    output: str  # tensor, of shape ``view``
    view: tuple[int, int, int, int]
    residual: int | None  # byte address of an addition's other operand, tensor ``addend``
    index: int
    name: str
    last: bool  # of its layer
    zero: int
    low: int
    high: int
    addition: Registers | None
    addend: str | None = None
    kept: Kept | None = None  # on chip instead of DRAM
    slot: int | None = None  # of the table in which results are looked up


def other_operand(add: Add, first: str) -> str:
    """The operand of an addition that is not ``first``; ``first`` again if it is added to itself."""
    return add.inputs[1] if add.inputs[0] == first else add.inputs[0]


def addend_registers(context: Context, add: Add, first: str) -> Registers:
    """Registers of an addition whose requantized operand is tensor ``first``."""
    tensors = context.network.tensors
    a = tensors[first]
    b = tensors[other_operand(add, first)]
    out = tensors[add.output]
    scales = [np.float32(t.scale) / np.float32(out.scale) for t in (a, b)]
    (multiplier_a, multiplier_b), shift = common(scales, add.name)
    return isa.spread(
        context.cfg, isa.Unit.VECTOR, isa.SUM_REGISTERS,
        multiplier_a=multiplier_a, shift=shift, zero_a=a.zero, zero_b=b.zero,
        multiplier_b=multiplier_b, zero=out.zero, low=add.low, high=add.high,
    )  # fmt: skip


def store(
    context: Context, output: str, view: tuple[int, int, int, int], tile: Tile, first: int, count: int, index: int,
    note: str, *, mark: bool, of_rows: bool = False,
) -> None:  # fmt: skip
    """STORE job for ``count`` channels from ``first`` of a tile's pixels, in the longest possible rows.

    ``of_rows``: they come from the row engine.
    """
    part = Part(output, view, tile.images, tile.rows, tile.cols, (first, first + count))
    note_use(context, part, index, write=True)
    blocks = blocks_of(context, output)
    if blocks:
        store_blocks(context, part, blocks, index, note, mark=mark)
        return
    _, height, width, channels = view
    tensor = context.network.tensors[output]
    channels, (first, count) = pitch(channels, tensor.bits), packed.span(tensor, first, count)  # in bytes
    (i0, i1), (y0, y1), (x0, x1) = tile.images, tile.rows, tile.cols
    images, rows, cols = tile.size
    line, image = width * channels, height * width * channels
    start = i0 * image + y0 * line + x0 * channels + first
    run, loops = count, [(cols, channels), (rows, line), (images, image)]
    if count == channels:
        run, loops = cols * channels, loops[1:]
        if cols == width:
            run, loops = rows * line, loops[1:]
            if rows == height:
                run, loops = images * image, []
    end = (i1 - 1) * image + (y1 - 1) * line + (x1 - 1) * channels + first + count
    context.builder.add(
        isa.Unit.STORE,
        {
            "target": context.source(output, start), "row": {"bytes": run}, **levels(ROWS, loops),
            **({"mode": {"rows": 1}} if of_rows else {}),
        },
        [context.dram(output, start, end, write=True)], layer=index, note=note, mark=mark,
    )  # fmt: skip


def drain(context: Context, d: Drain) -> None:
    """VECTOR and STORE jobs of one accumulator bank."""
    cfg, (images, rows, cols) = context.cfg, d.tile.size
    lanes, places = cfg.lanes, d.places
    loops: Loops = [
        (d.blocks, places.words),
        (cols, 1),
        (rows, places.pitch),
        (images, places.pitch * places.height),
    ]
    tensors = context.network.tensors
    addend = tensors[d.addend] if d.addend else None
    registers: Registers = {
        "mode": {"add": int(d.addition is not None), **tables.mode(d.slot)},
        "param": {"entry": d.entry, "blocks": d.blocks, "tail": d.count - (d.blocks - 1) * lanes},
        "requantize": {"zero": d.zero, "low": d.low, "high": d.high},
        "acc_base": {"address": d.bank * cfg.acc_bank_words},
        **levels(ACC_LEVELS, loops, "acc_"),
        **packed.formats(cfg, result=tensors[d.output], addend=addend),
    }
    accesses = [
        Access("acc", d.bank, d.bank + 1),
        Access("param", d.param_at, d.param_at + d.entries * cfg.param_entry_bytes),
        *tables.access(d.slot),
    ]
    if d.addition is not None and d.residual is not None and addend is not None:
        _, size = packed.span(addend, d.first, d.count)  # of a pixel
        residual: Loops = [
            (1, 0), (1, 0), (d.blocks, packed.word_bytes(cfg, addend)), (cols, size), (rows, cols * size),
            (images, rows * cols * size),
        ]  # fmt: skip
        registers |= d.addition
        registers |= {"operand_base": {"address": d.residual}, **levels(OPERAND_LEVELS, residual, "operand_")}
        accesses.append(Access("operand", d.residual, d.residual + images * rows * cols * size))
    note = f"{d.name}: rows {d.tile.rows[0]}..{d.tile.rows[1] - 1}, channels {d.first}..{d.first + d.count - 1}"
    if d.kept is not None:
        word = packed.word_bytes(cfg, tensors[d.output])
        nest: Loops = [(d.blocks, word), (cols, d.kept.column), (rows, d.kept.row)]
        registers["mode"]["keep"] = 1
        registers |= {"result_base": {"address": d.kept.address}, **levels(RESULT_LEVELS, nest, "result_")}
        accesses.append(d.kept.access)
    context.builder.add(isa.Unit.VECTOR, registers, accesses, layer=d.index, note=note)
    if d.kept is None:
        store(context, d.output, d.view, d.tile, d.first, d.count, d.index, note, mark=d.last)


@dataclass(frozen=True)
class Pass:
    """One vector job over operand words of tensor ``source``: ``count`` channels from ``first`` of a tile.

    ``loops`` are (count, stride) in bytes of tap_a, tap_b, block, x, y, image, from byte ``address``, where ``size``
    bytes of operands lie; ``param_at`` is the byte address of one parameter entry.
    """

    source: str
    address: int
    size: int
    loops: Loops
    tile: Tile
    first: int
    count: int
    output: str
    view: tuple[int, int, int, int]
    param_at: int
    reduce: isa.Reduce
    requantize: dict[str, int]
    index: int
    name: str
    last: bool
    addition: Registers | None = None
    addend: str | None = None  # second operand of an addition
    zeros: Registers | None = None  # zero points of both operands of a product
    slot: int | None = None  # of the table in which results are looked up
    rows: Callable[[], None] | None = None  # adds the ROWS job through which they go to DRAM
    half: isa.Nibbles = isa.Nibbles.NONE  # of each code only this half leaves
    stored: Callable[[str], None] | None = None  # adds the STORE job, with that note, where it is of a special kind


def operand_pass(context: Context, p: Pass) -> None:
    """VECTOR and STORE jobs of a tile that never meets the array."""
    cfg, tensors = context.cfg, context.network.tensors
    blocks = -(-p.count // cfg.lanes)
    addend = tensors[p.addend] if p.addend else None
    registers: Registers = {
        "mode": {
            "from_operand": 1, "reduce": p.reduce, "add": int(p.addition is not None), "broadcast": 1,
            **tables.mode(p.slot), **({"rows": 1} if p.rows else {}), **({"nibbles": p.half} if p.half else {}),
        },
        "param": {
            "entry": p.param_at // cfg.param_entry_bytes, "blocks": blocks, "tail": p.count - (blocks - 1) * cfg.lanes
        },
        "requantize": p.requantize,
        "operand_base": {"address": p.address},
        **levels(OPERAND_LEVELS, p.loops, "operand_"),
        **(p.addition or p.zeros or {}),
        **packed.formats(cfg, source=tensors[p.source], addend=addend, result=tensors[p.output]),
    }  # fmt: skip
    accesses = [
        Access("operand", p.address, p.address + p.size),
        Access("param", p.param_at, p.param_at + cfg.param_entry_bytes),
        *tables.access(p.slot),
    ]
    note = f"{p.name}: rows {p.tile.rows[0]}..{p.tile.rows[1] - 1}, channels {p.first}..{p.first + p.count - 1}"
    context.builder.add(isa.Unit.VECTOR, registers, accesses, layer=p.index, note=note)
    if p.rows:
        p.rows()
    if p.stored:
        p.stored(note)
        return
    store(
        context, p.output, p.view, p.tile, p.first, p.count, p.index, note, mark=p.last, of_rows=p.rows is not None
    )
