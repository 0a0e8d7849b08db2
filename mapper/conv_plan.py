"""A plan: how one convolution is tiled, what of it stays on chip, and in which order it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import ceil, prod

from mapper.conv_shape import Block, ConvShape
from mapper.objectives import Objective
from mapper.search import Search
from mapper.tiles import Tile

ENGINES = ("auto", "array", "sparse")
"""What can be asked to run a layer with weights."""


@dataclass(frozen=True)
class Options:
    """What the planner may assume about the DRAM, for its choice only, and which engine runs what.

    ``engine`` is "auto" (the faster one), "array" or "sparse" for all layers that both can run, or says so by the name
    of a layer; layers left out are "auto". ``layout`` is the layout of input tiles (:mod:`mapper.conv_shape`) of all
    layers that can have it, or says so by the name of a layer; None is the fastest one of each. ``objective`` is what
    plans of the array make least (:mod:`mapper.search`).
    """

    latency: int = 100  # cycles
    bytes_per_cycle: float = 16
    engine: Mapping[str, str] | str = "auto"
    layout: Mapping[str, str] | str | None = None
    objective: Objective = "cycles"


@dataclass(frozen=True)
class ConvPlan:
    """One way to run a layer. Cycles and traffic are estimates for choosing.

    Attributes
    ----------
    layout : str
        Of the input tile, see :mod:`mapper.conv_shape`.
    tile : tuple of int
        Images, rows and columns of output pixels per tile.
    blocks : int
        Blocks of output channels per accumulator bank: a group.
    slice_channels : int
        Input channels on chip at a time.
    channels_outer : bool
        Groups of output channels are the outer loop, tiles the inner one.
    input_resident, weights_resident : bool
        All tiles stay on chip; the weights (of a group, if ``channels_outer``) stay on chip.
    chunk_words : int
        Most reduction words per job.
    slices_outer : bool
        A slice of the channels serves all blocks of a group before the next one comes.
    """

    shape: ConvShape
    layout: str
    tile: tuple[int, int, int]
    blocks: int
    slice_channels: int
    channels_outer: bool
    input_resident: bool
    weights_resident: bool
    chunk_words: int
    cycles: float = 0
    dram_bytes: int = 0
    slices_outer: bool = False
    search: Search | None = None
    on_chip: float = 0  # picojoules of accesses on chip, where energy is the objective

    @cached_property
    def groups(self) -> tuple[tuple[Block, ...], ...]:
        """Blocks that share an accumulator bank."""
        blocks = self.shape.blocks
        return tuple(blocks[i : i + self.blocks] for i in range(0, len(blocks), self.blocks))

    @property
    def runs(self) -> int:
        """Sets of array jobs per tile and chunk: one per block, or per group where channels run in time."""
        return len(self.groups if self.shape.channels_in_time else self.shape.blocks)

    @property
    def parameters_stay(self) -> bool:
        """Whether parameter entries of the whole layer are loaded once, leaving as much room for the next layer's."""
        return 2 * len(self.shape.blocks) <= self.shape.cfg.param_entries

    # -- pixels -----------------------------------------------------------------------------------

    @property
    def tile_count(self) -> int:
        """Number of tiles."""
        s, (images, rows, cols) = self.shape, self.tile
        return ceil(s.images / images) * ceil(s.out_height / rows) * ceil(s.out_width / cols)

    def tiles(self) -> list[Tile]:
        """All tiles in order."""
        s, (ni, ny, nx) = self.shape, self.tile
        return [
            Tile((i, min(i + ni, s.images)), (y, min(y + ny, s.out_height)), (x, min(x + nx, s.out_width)))
            for i in range(0, s.images, ni)
            for y in range(0, s.out_height, ny)
            for x in range(0, s.out_width, nx)
        ]

    @property
    def tile_bytes(self) -> int:
        """Input buffer bytes of one full tile."""
        return self.shape.input_bytes(self.layout, self.tile, self.slice_channels)

    # -- reduction and weights --------------------------------------------------------------------

    @property
    def sliced(self) -> bool:
        """Whether only a slice of a tile's input channels is on chip at a time."""
        return self.slice_channels < self.shape.channels

    def slices(self) -> list[tuple[int, int]]:
        """(first, count) of the input channels of each slice, relative to those a block depends on."""
        s = self.shape
        if not self.sliced:
            return [(0, s.depth)]
        return [(c, min(self.slice_channels, s.channels - c)) for c in range(0, s.channels, self.slice_channels)]

    @cached_property
    def words(self) -> int:
        """Reduction words of one block, over all slices."""
        return sum(prod(self.shape.nest(self.layout, count)) for _, count in self.slices())

    @cached_property
    def group_bytes(self) -> int:
        """Weight bytes of one full group."""
        s = self.shape
        return self.words * s.word_bytes(self.blocks) * (1 if s.channels_in_time else self.blocks)

    @property
    def summary(self) -> dict[str, object]:
        """What is worth telling about the plan."""
        return {
            "layout": self.layout, "tile": list(self.tile), "blocks": self.blocks,
            "slice_channels": self.slice_channels, "channels_outer": self.channels_outer,
            "input_resident": self.input_resident, "weights_resident": self.weights_resident,
            "chunk_words": self.chunk_words, "slices_outer": self.slices_outer,
        }  # fmt: skip
