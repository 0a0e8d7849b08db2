"""Output pixels of a layer without weights, cut into pieces whose operands fit the operand buffer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil, gcd

from dataflows.config import Config
from dataflows.errors import InputError
from dataflows.network import Conv, Network, Window
from mapper.tiles import Tile, window_extent

PARTS = (2, 4, 8, 16, 32, 64, 128)
"""Parts that the channels are cut into where a whole row of pixels does not fit."""


@dataclass(frozen=True)
class Piece:
    """Part of a layer's output computed in one job: pixels of one image, and a half-open range of channels."""

    tile: Tile
    channels: tuple[int, int]


def channel_parts(cfg: Config, network: Network, tensor: str) -> list[range]:
    """Channels of a tensor in the parts in which they are best written.

    With a codec these are the channel groups of the convolutions that read it: compressed blocks are read as a whole.
    """
    channels = network.tensors[tensor].shape[3]
    readers = [layer for layer in network.layers if isinstance(layer, Conv) and tensor in layer.inputs]
    size = gcd(channels, *(channels // layer.groups for layer in readers))
    if cfg.codec is None or size < cfg.lanes:
        size = channels
    return [range(first, first + size) for first in range(0, channels, size)]


def cut(
    cfg: Config, name: str, rectangle: Tile, channels: int, window: Window, pixel: Callable[[int], int], word: int, *,
    first: int = 0, most: int | None = None,
) -> Iterator[Piece]:  # fmt: skip
    """Pieces of ``channels`` channels from ``first`` of a rectangle of output pixels, image by image.

    The operands of a piece take half of the operand buffer at most, so that the next piece is loaded meanwhile; all of
    it where half is too little: under ``window`` ``pixel(n)`` bytes for ``n`` channels of each pixel, and a word of
    ``word`` bytes that may reach beyond the last one. No piece has more than ``most`` channels. Raises
    :class:`InputError` naming layer ``name`` where not even one pixel fits.
    """
    memory, lanes = cfg.memory.operand_bytes, cfg.lanes
    _, rows, cols = rectangle.size

    def need(ny: int, nx: int, nc: int) -> int:
        height, width = window_extent(window, ny, nx)
        return height * width * pixel(nc) + word

    shapes = [(ny, nx, min(nc, most or nc)) for ny, nx, nc in _shapes(rows, cols, channels, lanes)]
    fitting = [s for s in shapes if 2 * need(*s) <= memory] or [s for s in shapes if need(*s) <= memory]
    if not fitting:
        least = need(1, 1, min(lanes, channels))
        raise InputError(
            f"layer {name}: its smallest tile needs {least} bytes of the operand buffer, which has {memory}; "
            f"raise memory.operand_bytes in configuration {cfg.name!r} to at least {least}"
        )
    ny, nx, nc = fitting[0]
    (y0, y1), (x0, x1) = rectangle.rows, rectangle.cols
    for image in range(*rectangle.images):
        for y in range(y0, y1, ny):
            for x in range(x0, x1, nx):
                for c in range(0, channels, nc):
                    tile = Tile((image, image + 1), (y, min(y + ny, y1)), (x, min(x + nx, x1)))
                    yield Piece(tile, (first + c, first + min(c + nc, channels)))


def _shapes(rows: int, cols: int, channels: int, lanes: int) -> Iterator[tuple[int, int, int]]:
    """Rows, columns and channels per piece, the best first: whole rows, parts of a row, blocks of channels."""
    for ny in sorted({ceil(rows / k) for k in range(1, rows + 1)}, reverse=True):
        yield ny, cols, channels
    for parts in (2, 4, 8):
        yield 1, ceil(cols / parts), channels
    blocks = [ceil(channels // k / lanes) * lanes for k in PARTS if channels > lanes]
    for nc in [channels, *(b for b in blocks if b > 0), lanes]:
        for ny, nx in ((rows, cols), (1, cols), (1, ceil(cols / 4)), (1, 1)):
            yield ny, nx, min(nc, channels)
