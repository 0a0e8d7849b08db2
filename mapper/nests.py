"""Loop nests as register values: counts and strides to counts and steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


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


def split(counts: tuple[int, int, int], limit: int) -> Iterator[tuple[tuple[int, int], ...]]:
    """Boxes of a (word, kernel_x, kernel_y) nest of at most ``limit`` iterations, in iteration order.

    Each box is ((first, count), (first, count), (first, count)); boxes are as equal as they can be.
    """
    word, kx, ky = counts

    def ranges(extent: int, most: int) -> Iterator[tuple[int, int]]:
        pieces = -(-extent // most)
        for i in range(pieces):
            first = extent * i // pieces
            yield first, extent * (i + 1) // pieces - first

    if word * kx * ky <= limit:
        yield (0, word), (0, kx), (0, ky)
    elif word * kx <= limit:
        for y in ranges(ky, limit // (word * kx)):
            yield (0, word), (0, kx), y
    else:
        for y in range(ky):
            if word <= limit:
                for x in ranges(kx, limit // word):
                    yield (0, word), x, (y, 1)
            else:
                for x in range(kx):
                    for w in ranges(word, limit):
                        yield w, (x, 1), (y, 1)
