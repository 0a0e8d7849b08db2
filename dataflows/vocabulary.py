"""The vocabulary of dataflow descriptions: dimensions, accesses, links, skew and cycle law.

A description says which problem dimensions are unrolled over rows and columns, which operand
stays in the PE, how each operand travels, and everything else here follows from it: whether the
description is legal (null space of each access), the skew of the array, the words at its edges,
which feeders and drains it needs, and its cycle law.  ``docs/architecture.md`` section 3 derives
the rules and applies them to all six dataflows.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from math import ceil, prod


class Dim(Enum):
    """What can be unrolled: a group of the seven convolution loops as a matrix product sees them, or one of them."""

    PIXEL = "pixel"  # (batch, output row, output column), M
    CHANNEL = "channel"  # output channel, N
    REDUCTION = "reduction"  # (kernel row, kernel column, input channel), K
    OUTPUT_ROW = "output row"  # of PIXEL
    OUTPUT_COLUMN = "output column"  # of PIXEL
    KERNEL_ROW = "kernel row"  # of REDUCTION

    @property
    def group(self) -> Dim:
        """The group a loop belongs to; a group itself."""
        return _GROUP.get(self, self)


_GROUP = {
    Dim.OUTPUT_ROW: Dim.PIXEL,
    Dim.OUTPUT_COLUMN: Dim.PIXEL,
    Dim.KERNEL_ROW: Dim.REDUCTION,
}


class Operand(Enum):
    """The three tensors of a layer."""

    INPUT = "input"
    WEIGHT = "weight"
    OUTPUT = "output"


ACCESS = {
    Operand.INPUT: (Dim.PIXEL, Dim.REDUCTION),
    Operand.WEIGHT: (Dim.REDUCTION, Dim.CHANNEL),
    Operand.OUTPUT: (Dim.PIXEL, Dim.CHANNEL),
}
"""Dimensions that select an element of each operand; every other dimension is its null space."""


class Axis(Enum):
    """Direction of a link between PEs."""

    EAST = "east"  # along the row, from column to column; enters at the west edge, one word per row
    SOUTH = "south"  # down the column, from row to row; enters at the north edge, one word per column
    BOTH = "both"  # along rows and columns: to all PEs or to each its own


class Kind(Enum):
    """How an operand travels."""

    FORWARD = "forward"  # used by every PE it passes; delay 0: a wire to all of them
    LOAD = "load"  # captured: stays in the PE, double-buffered
    PRIVATE = "private"  # each PE its own, every cycle
    BUS = "bus"  # to the PEs that hold the identifier sent along (null vector along a diagonal)
    NEIGHBOUR = "neighbour"  # what a neighbour used some steps ago (null vectors through a loop in time)
    SUM = "sum"  # partial sums, added to on the way; delay 0: an adder tree
    DRAIN = "drain"  # stays and accumulates in the PE, shifted out when complete


@dataclass(frozen=True)
class Link:
    """One operand's way through the array.

    Attributes
    ----------
    kind : Kind
    axis : Axis
        Direction.
    delay : int
        Registers per hop.
    store : bool
        It is kept in a local store of each PE, as deep as ``[stores]`` of the configuration says; else one word (LOAD:
        two, DRAIN: one and its drain register).
    """

    kind: Kind
    axis: Axis
    delay: int = 1
    store: bool = False


@dataclass(frozen=True)
class Nest:
    """Loop levels of one stream, innermost first; the first ``inner`` levels make one tile."""

    levels: tuple[str, ...]
    inner: int


_PIXELS = ("x", "y", "image")
_TAPS = ("word", "kernel_x", "kernel_y")
_GROUPS = ("group_x", "group_y", "group_image")


@dataclass(frozen=True)
class Dataflow:
    """One dataflow.

    Attributes
    ----------
    name : str
        As written in configuration files.
    title, source : str
        For documentation: usual name, and the paper it comes from.
    rows, cols : Dim
        Dimension unrolled over PE rows and over PE columns.
    links : tuple of (Operand, Link)
        How each operand travels.

    Raises
    ------
    ValueError
        From construction, when the description contradicts itself (see :meth:`_check`).
    """

    name: str
    title: str
    source: str
    rows: Dim
    cols: Dim
    input: Link
    weight: Link
    output: Link

    def __post_init__(self) -> None:
        self._check()

    def link(self, operand: Operand) -> Link:
        """The link of one operand."""
        return {Operand.INPUT: self.input, Operand.WEIGHT: self.weight, Operand.OUTPUT: self.output}[operand]

    # -- what follows ---------------------------------------------------------------------------

    @property
    def matrix(self) -> bool:
        """Whether whole groups are unrolled, so that the array multiplies matrices."""
        return self.rows.group is self.rows and self.cols.group is self.cols

    @property
    def stores(self) -> tuple[Operand, ...]:
        """Operands with a local store of configured depth."""
        return tuple(o for o in Operand if self.link(o).store)

    @property
    def stationary(self) -> Operand | None:
        """The operand that stays in the PE; None if nothing does."""
        return next((o for o in Operand if self.link(o).kind in (Kind.LOAD, Kind.DRAIN)), None)

    @property
    def moving(self) -> Operand:
        """The operand whose words pace the array (it carries the tile flags)."""
        if self.stationary is Operand.INPUT:
            return Operand.WEIGHT
        return Operand.INPUT

    @cached_property
    def temporal(self) -> Dim:
        """The group that is not unrolled (of several, the first): it runs in time."""
        groups = (Dim.PIXEL, Dim.CHANNEL, Dim.REDUCTION)
        return next(d for d in groups if d not in (self.rows.group, self.cols.group))

    @property
    def skew(self) -> tuple[int, int]:
        """Start delay of PE (r, c) is ``skew[0]*r + skew[1]*c`` cycles."""
        by_axis = {link.axis: link.delay for link in (self.input, self.weight, self.output) if _timed(link)}
        return by_axis.get(Axis.SOUTH, 0), by_axis.get(Axis.EAST, 0)

    @property
    def input_serialized(self) -> bool:
        """Whether input words (contiguous in the reduction) meet rows that are not the reduction.

        Then row r takes its own word every ``rows`` cycles and shifts it out, one element a cycle.
        """
        return self.rows is Dim.PIXEL

    @property
    def output_transposed(self) -> bool:
        """Whether sums are turned at the edge of the array: columns are pixels, output channels run in time."""
        return self.cols is Dim.PIXEL

    @property
    def output_turned_late(self) -> bool:
        """Whether accumulators hold pixels of one output channel side by side, to be turned when they are complete.

        So it is where one loop of the pixels is unrolled over the columns: sums of several passes meet in the
        accumulators, and turning them once is cheaper than turning every partial sum.
        """
        return self.cols in (Dim.OUTPUT_ROW, Dim.OUTPUT_COLUMN)

    def elements(self, operand: Operand, rows: int, cols: int) -> int:
        """Elements of one word of ``operand`` at the edge of the array."""
        link = self.link(operand)
        if link.kind is Kind.BUS:
            return 1
        if link.kind in (Kind.PRIVATE, Kind.NEIGHBOUR):
            return rows * cols
        return {Axis.EAST: rows, Axis.SOUTH: cols, Axis.BOTH: 1}[link.axis]

    def input_elements(self, rows: int, cols: int) -> int:
        """Elements of one input word at the array's edge."""
        return self.elements(Operand.INPUT, rows, cols)

    def weight_elements(self, rows: int, cols: int) -> int:
        """Elements of one weight word at the array's edge."""
        return self.elements(Operand.WEIGHT, rows, cols)

    @property
    def input_nest(self) -> Nest:
        """Loop levels of the input stream."""
        if self.input.kind is Kind.BUS:
            return Nest(("channel", "column", "row", "slot", "x", "pass"), inner=5)
        if self.input.kind is Kind.NEIGHBOUR:
            return Nest(("word", "repeat", "group"), inner=1)
        if self.temporal is Dim.PIXEL:
            return Nest(_PIXELS + _TAPS, inner=3)
        return Nest(_PIXELS + _TAPS + _GROUPS, inner=3)

    @property
    def weight_nest(self) -> Nest:
        """Loop levels of the weight stream: words of a tile, tiles, repetitions per pixel group."""
        return Nest(("word", "tile", "repeat"), inner=1)

    def load_cycles(self, rows: int, cols: int) -> int:
        """Cycles to load (or drain) the stationary operand of one tile; hidden behind the tile before."""
        if self.stationary is None:
            return 1
        return rows if self.link(self.stationary).axis is Axis.SOUTH else cols

    def tiles(self, rows: int, cols: int, extent: dict[Dim, int]) -> int:
        """Stationary tiles of a product of the given extents."""
        return ceil(extent[self.rows] / rows) * ceil(extent[self.cols] / cols)

    def cycles(self, rows: int, cols: int, extent: dict[Dim, int]) -> int:
        """Cycle law, array only, fill and drain hidden.

        ``ceil(rows' dimension / R) * ceil(columns' dimension / C) * max(temporal extent, load cycles)``, once for each
        iteration of other groups that run in time; a temporal dimension that must fill whole words is rounded up by
        the caller. (Row-stationary: :class:`~dataflows.row_sets.RowSets`.)
        """
        groups = (Dim.PIXEL, Dim.CHANNEL, Dim.REDUCTION)
        *outer, inner = (extent[d] for d in groups if d not in (self.rows.group, self.cols.group))
        return self.tiles(rows, cols, extent) * prod(outer) * max(inner, self.load_cycles(rows, cols))

    # -- legality -------------------------------------------------------------------------------

    def _check(self) -> None:
        if self.rows is self.cols:
            raise ValueError(
                f"{self.name}: rows and columns must unroll different dimensions, not both {self.rows.value}"
            )
        unrolled = {Axis.SOUTH: (self.rows,), Axis.EAST: (self.cols,), Axis.BOTH: (self.rows, self.cols)}
        for operand in Operand:
            link = self.link(operand)
            fixed = [d for d in unrolled[link.axis] if d.group in ACCESS[operand]]
            if link.kind in (Kind.FORWARD, Kind.SUM) and fixed:
                raise ValueError(
                    f"{self.name}: {operand.value} cannot travel {link.axis.value}: "
                    f"it depends on {fixed[0].value}, which is unrolled in that direction"
                )
            if link.axis is Axis.BOTH and link.kind is Kind.FORWARD and link.delay:
                raise ValueError(f"{self.name}: {operand.value} goes to all PEs at once: delay 0, not {link.delay}")
            if (link.kind in (Kind.SUM, Kind.DRAIN)) != (operand is Operand.OUTPUT):
                raise ValueError(f"{self.name}: {operand.value} cannot have a link of kind {link.kind.value}")
            places = {self.rows, self.cols}
            if link.kind is Kind.BUS and (operand is not Operand.INPUT or places != {Dim.KERNEL_ROW, Dim.OUTPUT_ROW}):
                raise ValueError(f"{self.name}: {operand.value} has no diagonal that a bus could serve")
            if link.kind is Kind.NEIGHBOUR and (
                operand is not Operand.INPUT or places != {Dim.OUTPUT_ROW, Dim.OUTPUT_COLUMN}
            ):
                raise ValueError(f"{self.name}: {operand.value} is not used again by a neighbour")
        stays = [o for o in Operand if self.link(o).kind in (Kind.LOAD, Kind.DRAIN)]
        if len(stays) > 1:
            raise ValueError(f"{self.name}: at most one operand may stay in the PE, not {len(stays)}")
        timed = [link for link in (self.input, self.weight, self.output) if _timed(link)]
        for axis in Axis:
            delays = {link.delay for link in timed if link.axis is axis}
            if len(delays) > 1:
                raise ValueError(
                    f"{self.name}: operands travelling {axis.value} need one skew, not delays {sorted(delays)}"
                )


def _timed(link: Link) -> bool:
    """Whether a link constrains the start delay of neighbouring PEs."""
    return link.kind in (Kind.FORWARD, Kind.SUM)
