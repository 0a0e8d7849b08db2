"""Inputs of an array over the output plane: which are new in a step, and where they lie in the words of a channel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class PlaneOrder:
    """Inputs that enter an array whose PEs (row, column) each hold one pixel of a tile of the output plane.

    A step is one kernel element (kernel row, kernel column) of one channel, columns fastest. What no PE has used before
    comes from the buffer; everything else comes from a neighbour:

    ==================  ====================  ==================================================
    kernel row          kernel column         new elements
    ==================  ====================  ==================================================
    below fresh_rows    below fresh_cols      those of all PEs, row by row
    below fresh_rows    others                of the last column; others from the east neighbour
    others              below fresh_cols      of the last row; others from the south neighbour
    others              others                of the last PE; last row from the east neighbour
    ==================  ====================  ==================================================

    A word of the buffer holds ``rows * cols`` elements. New elements of all PEs are a word of their own. Smaller groups
    follow each other in words beside these, in the order of use; a group that does not fit into what is left of a word
    begins the next, and so does the first group of a channel. So every channel takes equally many words.

    Attributes
    ----------
    rows, cols : int
        PEs.
    kernel_rows, kernel_cols : int
    fresh_rows, fresh_cols : int
        The stride, at most the kernel's extent; the whole kernel if neighbours use nothing again (dilation).
    """

    rows: int
    cols: int
    kernel_rows: int
    kernel_cols: int
    fresh_rows: int
    fresh_cols: int

    @property
    def elements(self) -> int:
        """Elements of a word."""
        return self.rows * self.cols

    @property
    def steps(self) -> int:
        """Steps of a channel."""
        return self.kernel_rows * self.kernel_cols

    @property
    def history(self) -> int:
        """Steps a PE must remember its inputs for; 0 if neighbours use nothing again."""
        south = self.fresh_rows * self.kernel_cols if self.fresh_rows < self.kernel_rows else 0
        east = self.fresh_cols if self.fresh_cols < self.kernel_cols else 0
        return max(south, east)

    def group(self, ky: int, kx: int) -> tuple[int, int]:
        """(rows, columns) of the PEs with new inputs in a step: always those at the south-east end."""
        return self.rows if ky < self.fresh_rows else 1, self.cols if kx < self.fresh_cols else 1

    @cached_property
    def places(self) -> tuple[tuple[int, ...], ...]:
        """For each kernel row and column: the element of a channel's words at which its group begins."""
        places: list[tuple[int, ...]] = []
        words = used = left = 0  # of the word of small groups: elements used, elements left
        for ky in range(self.kernel_rows):
            row = []
            for kx in range(self.kernel_cols):
                size = self.count(ky, kx)
                if self.whole(ky, kx):
                    row.append(words * self.elements)
                    words += 1
                    continue
                if left < size:
                    used, left = words * self.elements, self.elements
                    words += 1
                row.append(used)
                used, left = used + size, left - size
            places.append(tuple(row))
        return tuple(places)

    @cached_property
    def takes(self) -> tuple[bool, ...]:
        """For each step of a channel: whether it takes a word from the buffer."""
        seen = -1
        takes = []
        for ky, row in enumerate(self.places):
            for kx, place in enumerate(row):
                whole, word = self.whole(ky, kx), place // self.elements
                takes.append(whole or word != seen)
                seen = seen if whole else word
        return tuple(takes)

    @property
    def words(self) -> int:
        """Words of a channel."""
        return sum(self.takes)

    @property
    def new_elements(self) -> int:
        """Elements of a channel that enter the array; without neighbours it would be ``steps * elements``."""
        return sum(self.count(ky, kx) for ky in range(self.kernel_rows) for kx in range(self.kernel_cols))

    def count(self, ky: int, kx: int) -> int:
        """New elements of a step."""
        rows, cols = self.group(ky, kx)
        return rows * cols

    def whole(self, ky: int, kx: int) -> bool:
        """Whether all PEs get new inputs in a step."""
        return ky < self.fresh_rows and kx < self.fresh_cols
