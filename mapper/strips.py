"""Input tiles in strips: columns that outputs share lie several times on chip, so that a kernel is one run.

A strip holds all rows of ``columns`` input columns, row after row, for ``outputs`` neighbouring output columns. So the
window of an output is one run, from its first to its last element, with weights of zero for the columns of the strip
that lie between. LOAD reads an image row ``passes`` times, each time for every ``passes``-th strip, in segments of a
strip's columns: longer than pixels, of which the layout ``stacked`` is made.
"""

from __future__ import annotations

from dataclasses import dataclass

from dataflows.network import Window
from mapper.tiles import window_extent

OUTPUTS = (1, 2, 4, 8)
"""Output columns per strip that are tried."""

PREFIX = "strips"
"""Layouts are called by it and their ``outputs``."""


@dataclass(frozen=True)
class Strips:
    """Strips of a layer: output columns, input columns, and how many strips share an input column."""

    outputs: int
    columns: int
    passes: int

    @staticmethod
    def of(window: Window, outputs: int) -> Strips:
        """Strips of ``outputs`` output columns each."""
        step = window.stride[1] * outputs
        passes = -(-window_extent(window, 1, outputs)[1] // step)
        return Strips(outputs, passes * step, passes)

    @staticmethod
    def named(window: Window, layout: str) -> Strips | None:
        """The strips of a layout; None where it has none."""
        return Strips.of(window, int(layout.removeprefix(PREFIX))) if layout.startswith(PREFIX) else None
