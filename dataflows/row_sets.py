"""How a row-stationary array is divided for one layer: sets of PEs, what each works on, and the cycle law.

A *set* is ``kernel_rows`` PE rows x ``columns`` PE columns: PE (ky, oy) convolves kernel row ky with the input row
that output row oy needs.  Sets lie one below the other (``chained``: other channels, their sums add up; ``units``:
other filters, or other output rows where ``folded``) and side by side (``across``: other filters).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

MOST_FIELD = 255
"""Largest value of the eight-bit fields of the geometry registers."""

MOST_STEP = 15
"""Largest row step (dilation) and column step (stride)."""


@dataclass(frozen=True)
class RowSets:
    """Geometry of a job of the row-stationary array, and every number derived from it.

    Attributes
    ----------
    filters, channels : int
        p filters and q input channels interleaved in a PE.
    kernel : tuple of int
        Kernel rows (PE rows of a set) and columns (S).
    stride : tuple of int
        Rows and columns.
    dilation : int
        Input rows between kernel rows.
    chained, units, columns, across : int
        Sets that add up, chains one below the other, output rows of a set, sets side by side.
    folded : bool
        Units have the same filters and follow each other in output rows.
    """

    filters: int
    channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: int = 1
    chained: int = 1
    units: int = 1
    columns: int = 1
    across: int = 1
    folded: bool = False

    # -- in a PE ----------------------------------------------------------------------------------

    @property
    def taps(self) -> int:
        """Words of the window: kernel columns, channels inside."""
        return self.kernel[1] * self.channels

    @property
    def fresh_columns(self) -> int:
        """Input columns that change from one position to the next."""
        return min(self.stride[1], self.kernel[1])

    @property
    def fresh(self) -> int:
        """Words of the window that change from one position to the next."""
        return self.fresh_columns * self.channels

    @property
    def preload(self) -> int:
        """Groups of fresh words that make the first window of a row."""
        return ceil(self.kernel[1] / self.stride[1])

    @property
    def lead(self) -> int:
        """Input columns before the first window with which the stream of a row begins; nobody uses them."""
        sx = self.stride[1]
        return max(0, sx * self.preload - self.kernel[1]) if sx <= self.kernel[1] else 0

    # -- in the array -----------------------------------------------------------------------------

    @property
    def rows(self) -> int:
        """PE rows in use."""
        return self.kernel[0] * self.chained * self.units

    @property
    def active(self) -> int:
        """PEs in use."""
        return self.rows * self.columns * self.across

    @property
    def output_rows(self) -> int:
        """Output rows of a job."""
        return self.columns * (self.units if self.folded else 1)

    @property
    def sums(self) -> int:
        """Words of sums per output column."""
        return self.filters * self.units

    @property
    def side_filters(self) -> int:
        """Filters of the sets below each other."""
        return self.filters * (1 if self.folded else self.units)

    @property
    def job_filters(self) -> int:
        """Filters of a job."""
        return self.side_filters * self.across

    @property
    def pass_channels(self) -> int:
        """Input channels of a pass."""
        return self.chained * self.channels

    @property
    def input_rows(self) -> int:
        """Input rows that go over the bus."""
        return self.stride[0] * (self.output_rows - 1) + self.dilation * (self.kernel[0] - 1) + 1

    @property
    def group_words(self) -> int:
        """Bus words of a group: what all PEs need for one more position."""
        return self.fresh * self.input_rows * self.chained

    @property
    def weight_words(self) -> int:
        """Weight words of a pass: one element per PE row each."""
        return self.taps * self.filters * self.across

    # -- cycle law --------------------------------------------------------------------------------

    @property
    def step_cycles(self) -> int:
        """Cycles of one position, and words of a pass in the filter store."""
        return self.taps * self.filters

    def bus_cycles(self, positions: int) -> int:
        """Cycles of a pass on the bus, one word each."""
        return (self.preload + positions - 1) * self.group_words

    def skew(self, array_rows: int) -> int:
        """Cycles from the first PE row to the last."""
        return array_rows - 1 + self.filters * (self.units - 1)

    def exposed(self, array_rows: int, filter_words: int) -> int:
        """Cycles that each pass waits for weights because the filter store has no room for two passes."""
        if 2 * self.step_cycles <= filter_words:
            return 0
        return self.skew(array_rows) + (self.across - 1) * self.step_cycles

    def pass_cycles(self, positions: int, array_rows: int, filter_words: int) -> int:
        """The cycle law of one pass: PEs, bus and weights work side by side, and the slowest counts.

        Parameters
        ----------
        positions : int
            Output columns of a row.
        array_rows : int
            PE rows of the array.
        filter_words : int
            Words of the filter store.
        """
        work = max(positions * self.step_cycles, self.bus_cycles(positions), self.weight_words)
        return work + self.exposed(array_rows, filter_words)

    def passes(self, channels: int) -> int:
        """Passes over ``channels`` input channels."""
        return ceil(channels / self.pass_channels)

    # -- registers --------------------------------------------------------------------------------

    def registers(self, positions: int, passes: int) -> dict[str, dict[str, int]]:
        """Geometry registers of an INPUT job (:func:`dataflows.isa.geometry`)."""
        return {
            "step": {
                "filters": self.filters, "taps": self.taps, "fresh": self.fresh, "preload": self.preload,
                "positions": positions,
            },
            "sets": {
                "kernel_rows": self.kernel[0], "chained": self.chained, "units": self.units, "columns": self.columns,
                "row_step": self.dilation if self.kernel[0] > 1 else 0,
                "column_step": self.stride[0] if self.output_rows > 1 else 0,
                "folded": int(self.folded),
            },
            "bus": {"rows": self.input_rows, "across": self.across, "passes": passes},
        }  # fmt: skip
