"""Loop nests as register values: counts and strides to counts and steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil

from mapper.program import Registers

ROWS = ("row_a", "row_b", "row_c")
"""Levels of DRAM rows: LOAD and STORE jobs."""

SEGMENTS = ("segment_a", "segment_b", "segment_c")
"""Levels of segments on chip: LOAD jobs."""

Loops = list[tuple[int, int]]
"""(count, stride) of loop levels, innermost first."""

Range = tuple[int, int]
"""(first, count)."""

Box = tuple[Range, Range, Range]
"""Part of a (word, kernel_x, kernel_y) nest."""


def levels(names: Sequence[str], loops: Sequence[tuple[int, int]], prefix: str = "") -> dict[str, dict[str, int]]:
    """Registers of a nest.

    ``loops`` holds (count, stride) innermost first; missing outer levels run once.  The hardware wants the
    *step* of each level: its stride minus the way its inner levels have gone.
    """
    registers: dict[str, dict[str, int]] = {}
    gone = 0
    padded = [*loops, *([(1, 0)] * (len(names) - len(loops)))]
    for name, (count, stride) in zip(names, padded, strict=True):
        step = stride - gone if count > 1 else 0
        registers[prefix + name] = {"count": count, "step": step}
        gone += (count - 1) * stride
    return registers


def addresses(registers: Registers, names: Sequence[str], base: int) -> Iterator[int]:
    """Addresses that a nest visits, in order, as the hardware finds them: a level that advances adds its step."""
    counts = [registers[name]["count"] for name in names]
    steps = [registers[name]["step"] for name in names]
    index = [0] * len(names)
    address, level = base, 0
    while level < len(names):
        for _ in range(counts[0] - 1):
            yield address
            address += steps[0]
        yield address
        level = 1
        while level < len(names) and index[level] == counts[level] - 1:
            index[level] = 0
            level += 1
        if level < len(names):
            index[level] += 1
            address += steps[level]


def split(counts: tuple[int, int, int], limit: int) -> Iterator[Box]:
    """Boxes of a (word, kernel_x, kernel_y) nest of at most ``limit`` iterations each, in iteration order.

    The outermost level that must be cut is cut into pieces as equal as they can be; levels around it run one by one.
    """
    words, width, height = counts
    if words * width * height <= limit:
        yield (0, words), (0, width), (0, height)
    elif words * width <= limit:
        for ky in _ranges(height, limit // (words * width)):
            yield (0, words), (0, width), ky
    else:
        for y in range(height):
            if words <= limit:
                for kx in _ranges(width, limit // words):
                    yield (0, words), kx, (y, 1)
            else:
                for x in range(width):
                    for word in _ranges(words, limit):
                        yield word, (x, 1), (y, 1)


def _ranges(extent: int, most: int) -> Iterator[Range]:
    """Pieces of at most ``most`` of a loop of ``extent``."""
    pieces = ceil(extent / most)
    for i in range(pieces):
        first = extent * i // pieces
        yield first, extent * (i + 1) // pieces - first
