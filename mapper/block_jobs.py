"""LOAD and STORE jobs of tensors that are kept compressed, and the notes from which their blocks are chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dataflows import isa
from mapper.blocks import Blocks, Range, Use, joined, runs_of
from mapper.context import Context
from mapper.nests import ROWS, SEGMENTS, levels
from mapper.scoreboard import Access


@dataclass(frozen=True)
class Part:
    """A rectangle of a tensor under a view of its bytes: half-open ranges; ``row_stride`` takes every n-th row."""

    tensor: str
    view: tuple[int, int, int, int]
    images: Range
    rows: Range
    cols: Range
    channels: Range
    row_stride: int = 1


@dataclass(frozen=True)
class Target:
    """Where the first pixel of a rectangle goes, and the bytes between neighbouring columns, rows and images there."""

    target: isa.Target
    address: int
    col: int
    row: int
    image: int
    access: Access


def _use(context: Context, part: Part, layer: int, *, write: bool) -> Use | None:
    """The use that a job makes of a tensor, in its own pixels; None where it takes only parts of them."""
    runs, channels, factor = runs_of(*_geometry(part)), part.channels, _factor(context, part)
    if factor == 0:
        return None
    if factor > 1:
        channels = (0, context.network.tensors[context.root(part.tensor)].shape[3])
        runs = [(first * factor, end * factor) for first, end in runs]
    return Use(layer, write, joined(runs), channels)


def _geometry(part: Part) -> tuple[tuple[int, int, int, int], Range, Range, Range, int]:
    return part.view, part.images, part.rows, part.cols, part.row_stride


def _factor(context: Context, part: Part) -> int:
    """Pixels of the tensor per pixel of the view (a flattened one has long ones); 0 where only part of one is used."""
    depth, channels = part.view[3], context.network.tensors[context.root(part.tensor)].shape[3]
    if depth == channels:
        return 1
    return depth // channels if depth % channels == 0 and part.channels == (0, depth) else 0


def note_use(context: Context, part: Part, layer: int, *, write: bool) -> None:
    """Note how a job uses a tensor."""
    context.uses.setdefault(context.root(part.tensor), []).append(_use(context, part, layer, write=write))


def note_rows(context: Context, tensor: str, rows: Sequence[Range], channels: Range, layer: int) -> None:
    """Note that a job stores rows of pixels that jobs of their own could store."""
    use = Use(layer, write=True, runs=tuple(rows), channels=channels, apart=True)
    context.uses.setdefault(context.root(tensor), []).append(use)


def blocks_of(context: Context, tensor: str) -> Blocks | None:
    """How a tensor is compressed; None where it is not."""
    return context.blocks.get(context.root(tensor))


def load_blocks(context: Context, to: Target, part: Part, blocks: Blocks, layer: int, note: str) -> None:
    """LOAD jobs, one per run of blocks and group of channels."""
    factor, size = _factor(context, part), blocks.element_bytes
    channels = part.channels if factor == 1 else (0, blocks.groups[-1][1])
    pixel = to.col if factor == 1 else to.col // factor  # bytes between pixels of the tensor
    _, height, width, _ = part.view
    cols = part.cols[1] - part.cols[0]
    for first, end in runs_of(*_geometry(part)):
        image, place = divmod(first, height * width)
        row, col = divmod(place, width)
        row = (row - part.rows[0]) // part.row_stride
        address = to.address + (image - part.images[0]) * to.image + row * to.row + (col - part.cols[0]) * to.col
        count = (end - first) // cols  # rows of the view
        for group in blocks.inside(channels):
            start, width_bytes = blocks.groups[group][0], size * (blocks.elements(group) // blocks.pixels)
            segment, loops = width_bytes, [(cols * factor, pixel), (count, to.row)]
            if pixel == width_bytes:
                segment, loops = cols * factor * width_bytes, loops[1:]
            registers, accesses = _source(
                context, part.tensor, blocks, group, (first * factor, end * factor), write=False
            )
            destination = {"address": address + size * (start - channels[0]), "target": to.target}
            registers |= {
                "destination": destination, "segment": {"bytes": segment}, **levels(SEGMENTS, loops)
            }  # fmt: skip
            context.builder.add(isa.Unit.LOAD, registers, [to.access, *accesses], layer=layer, note=note)


def store_blocks(context: Context, part: Part, blocks: Blocks, layer: int, note: str, *, mark: bool) -> None:
    """The STORE job of a rectangle that is one run of blocks of one group of channels."""
    (run,) = joined(runs_of(*_geometry(part)))
    store_run(context, part.tensor, blocks, run, part.channels, layer, note, mark=mark)


def store_run(
    context: Context, tensor: str, blocks: Blocks, run: Range, channels: Range, layer: int, note: str, *, mark: bool
) -> None:
    """The STORE job of a run of blocks of one group of channels."""
    (group,) = blocks.inside(channels)
    registers, accesses = _source(context, tensor, blocks, group, run, write=True)
    context.builder.add(isa.Unit.STORE, registers, accesses, layer=layer, note=note, mark=mark)


def _source(
    context: Context, tensor: str, blocks: Blocks, group: int, run: Range, *, write: bool
) -> tuple[dict[str, dict[str, int]], list[Access]]:
    """Registers for the DRAM side of a run of blocks, and what it touches."""
    first, end = run[0] // blocks.pixels, run[1] // blocks.pixels
    offset, slot, entry = blocks.offset(group, first), blocks.slot_bytes(group), blocks.entry_of(group, first)
    registers = {
        "target" if write else "source": context.source(tensor, offset),
        "row": {"bytes": blocks.elements(group) * blocks.element_bytes},
        **levels(ROWS, [(end - first, slot)]),
        "codec": {"coded": 1, "block": entry, "zero": blocks.zero & ((1 << 8 * blocks.element_bytes) - 1)},
    }
    dram = context.dram(tensor, offset, offset + (end - first) * slot, write=write)
    return registers, [dram, Access("block sizes", entry, entry + end - first, write)]
