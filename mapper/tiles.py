"""Tiles of output pixels, where their sums lie, and the input they depend on."""

from __future__ import annotations

from dataclasses import dataclass

from dataflows.network import Window


@dataclass(frozen=True)
class Tile:
    """Output pixels of one tile: half-open ranges of images, rows and columns."""

    images: tuple[int, int]
    rows: tuple[int, int]
    cols: tuple[int, int]

    @property
    def size(self) -> tuple[int, int, int]:
        """(images, rows, columns)."""
        return self.images[1] - self.images[0], self.rows[1] - self.rows[0], self.cols[1] - self.cols[0]


@dataclass(frozen=True)
class Grid:
    """How a tile's pixels are laid out in groups of ``group`` (1: any number of pixels).

    Pixels lie in ``height`` rows of ``pitch`` per image; a group is ``across`` x ``down`` pixels on consecutive places.
    """

    group: int
    across: int
    down: int
    pitch: int
    height: int
    images: int

    @property
    def words(self) -> int:
        """Places, including those that hold no pixel."""
        return self.pitch * self.height * self.images

    @property
    def groups(self) -> int:
        """Groups of places."""
        return self.words // self.group


def window_extent(window: Window, rows: int, cols: int) -> tuple[int, int]:
    """Input rows and columns under ``rows`` x ``cols`` output pixels, padding included."""
    return (
        (rows - 1) * window.stride[0] + window.dilation[0] * (window.kernel[0] - 1) + 1,
        (cols - 1) * window.stride[1] + window.dilation[1] * (window.kernel[1] - 1) + 1,
    )
