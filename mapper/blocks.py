"""Which tensors are kept compressed in DRAM, and in which blocks.

A block is a number of consecutive pixels and a range of channels; it lies in a slot of its own that has room for the
worst case. What producers store and consumers load must be made of whole blocks. So the choice follows from how all
jobs use a tensor: the pixels of a block are the greatest common divisor of all places where a use begins or ends, its
channels those that the producer stores together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import gcd

from dataflows.config import Config
from dataflows.network import Concat, MaxPool, Network, Reshape
from dataflows.run_length import Format

LEAST_ELEMENTS = 32
"""Elements of a block at least, on average: less is more overhead than gain."""

MOST_WORDS = (1 << 16) - 1
"""Words of a block at most: what an entry of the size table holds."""

SLOT_ALIGNMENT = 64
"""Slots begin at multiples of this many bytes: a beat of the widest bus."""

Range = tuple[int, int]
"""Half-open: (first, end)."""


@dataclass(frozen=True)
class Use:
    """How one job uses a tensor: runs of consecutive pixels, counted over all images, and a range of channels.

    ``apart``: each run can be stored by a job of its own.
    """

    layer: int
    write: bool
    runs: tuple[Range, ...]
    channels: Range
    apart: bool = False


@dataclass(frozen=True)
class Blocks:
    """A compressed tensor: blocks of group 0 (a range of channels), then those of group 1, and so on.

    Attributes
    ----------
    form : Format
    zero : int
        Zero point of the tensor.
    element_bytes : int
    pixels : int
        Of a block.
    count : int
        Blocks per group.
    groups : tuple of (first, end)
        Channels of each group, in order; together all channels.
    entry : int
        Size table entry of the first block.
    """

    form: Format
    zero: int
    element_bytes: int
    pixels: int
    count: int
    groups: tuple[Range, ...]
    entry: int

    def elements(self, group: int) -> int:
        """Elements of each block of a group."""
        first, end = self.groups[group]
        return self.pixels * (end - first)

    def slot_bytes(self, group: int) -> int:
        """DRAM bytes from one block of a group to the next."""
        size = self.form.worst_words(self.elements(group)) * self.form.word_bits // 8
        return -(-size // SLOT_ALIGNMENT) * SLOT_ALIGNMENT

    def offset(self, group: int, block: int) -> int:
        """DRAM bytes from the tensor's place to a block."""
        return self.count * sum(map(self.slot_bytes, range(group))) + block * self.slot_bytes(group)

    @property
    def size(self) -> int:
        """DRAM bytes of all slots."""
        return self.count * sum(map(self.slot_bytes, range(len(self.groups))))

    @property
    def entries(self) -> int:
        """Entries of the size table."""
        return self.count * len(self.groups)

    def entry_of(self, group: int, block: int) -> int:
        """Entry of a block."""
        return self.entry + group * self.count + block

    def parts(self) -> Iterator[tuple[int, int, slice, slice]]:
        """All blocks: (offset in bytes, elements, pixels, channels)."""
        for group, (first, end) in enumerate(self.groups):
            for block in range(self.count):
                pixels = slice(block * self.pixels, (block + 1) * self.pixels)
                yield self.offset(group, block), self.elements(group), pixels, slice(first, end)

    def inside(self, channels: Range) -> list[int]:
        """Groups that make up a range of channels."""
        return [g for g, (first, end) in enumerate(self.groups) if channels[0] <= first and end <= channels[1]]


def runs_of(view: Sequence[int], images: Range, rows: Range, cols: Range, row_stride: int = 1) -> list[Range]:
    """Runs of consecutive pixels of a rectangle of a tensor, per image or row, as (first, end)."""
    _, height, width, _ = view
    count = len(range(*rows, row_stride))
    result = []
    for image in range(*images):
        start = (image * height + rows[0]) * width
        if cols == (0, width) and (row_stride == 1 or count == 1):
            result.append((start, start + count * width))
        else:
            starts = [start + r * row_stride * width for r in range(count)]
            result += [(s + cols[0], s + cols[1]) for s in starts]
    return result


def joined(runs: Iterable[Range]) -> tuple[Range, ...]:
    """The same pixels in as few runs as possible."""
    result: list[Range] = []
    for first, end in runs:
        if result and result[-1][1] == first:
            result[-1] = (result[-1][0], end)
        else:
            result.append((first, end))
    return tuple(result)


def sparse(network: Network) -> set[str]:
    """Tensors that hold many zeros: what is clamped at its zero point, and what maxima and the like make of it."""
    found: set[str] = set()
    for layer in network.layers:
        if layer.low == network.tensors[layer.output].zero or (
            isinstance(layer, MaxPool | Concat | Reshape) and found.issuperset(layer.inputs)
        ):
            found.add(layer.output)
    return found


def choose(
    cfg: Config, network: Network, uses: Mapping[str, Sequence[Use | None]], candidates: Iterable[str]
) -> dict[str, Blocks]:
    """Blocks of every candidate that can be kept compressed.

    Parameters
    ----------
    cfg : Config
        With a codec.
    network : Network
    uses : mapping
        How all jobs use each tensor; None where one takes only part of a pixel.
    candidates : iterable of str
        Tensors that may be compressed, the most wanted first.
    """
    table = _Table(cfg.codec.blocks if cfg.codec else 0)
    result = {}
    for name in candidates:
        known = [use for use in uses.get(name, ()) if use]
        blocks = _blocks(cfg, network, name, known)
        if blocks is None or len(known) < len(uses[name]):
            continue
        entry = table.take(blocks.entries, min(u.layer for u in known), max(u.layer for u in known))
        if entry is not None:
            result[name] = replace(blocks, entry=entry)
    return result


def _blocks(cfg: Config, network: Network, name: str, uses: Sequence[Use]) -> Blocks | None:
    """Blocks of a tensor, beginning at entry 0; None where its uses do not allow any."""
    form, tensor = cfg.codec_format, network.tensors[name]
    n, h, w, channels = tensor.shape
    groups = tuple(sorted({use.channels for use in uses if use.write}))
    starts, ends = {first for first, _ in groups}, {end for _, end in groups}
    whole = [0, *(end for _, end in groups)] == [*(first for first, _ in groups), channels]
    fits = all(use.channels[0] in starts and use.channels[1] in ends for use in uses)
    in_one_run = all(len(use.runs) == 1 or use.apart for use in uses if use.write)
    if form is None or not groups or not (whole and fits and in_one_run):
        return None
    pixels = gcd(n * h * w, *(border for use in uses for run in use.runs for border in run))
    widest = max(end - first for first, end in groups)
    while form.worst_words(pixels * widest) > MOST_WORDS:
        pixels = next(pixels // d for d in range(2, pixels + 1) if pixels % d == 0)
    if pixels * channels < LEAST_ELEMENTS * len(groups):
        return None
    return Blocks(form, tensor.zero, cfg.act_bytes, pixels, n * h * w // pixels, groups, 0)


class _Table:
    """Entries of the size table, handed out for the layers between a tensor's first and last use."""

    def __init__(self, size: int):
        self.size = size
        self.taken: list[tuple[int, int, int, int]] = []  # first and last layer, first entry, end

    def take(self, count: int, first: int, last: int) -> int | None:
        """The first of ``count`` entries free from layer ``first`` to layer ``last``; None if there are none."""
        busy = sorted((start, end) for a, b, start, end in self.taken if a <= last and first <= b)
        position = 0
        for start, end in busy:
            if position + count <= start:
                break
            position = max(position, end)
        if position + count > self.size:
            return None
        self.taken.append((first, last, position, position + count))
        return position
