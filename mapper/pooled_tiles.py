"""Which tilings of a convolution let its tiles be pooled on chip, and where a tile's words lie there.

Three cases in which no window needs words of two tiles, or the vector unit keeps what it needs:

* a tile is the whole image (global pooling, small maps);
* windows do not overlap from tile to tile: kernel rows at most the stride, which divides the tile's rows;
* 3x3 maxima and depthwise convolutions in the windows of the vector unit, which keep two rows from job to job.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from dataflows.config import Config
from dataflows.formats import pitch
from dataflows.network import AvgPool, Conv, MaxPool, Tensor
from mapper.conv_cost import JOB_CYCLES
from mapper.conv_plan import ConvPlan
from mapper.conv_shape import Block
from mapper.tiles import Tile, window_extent
from mapper.window_plan import Chunk, WindowPlan, suits
from mapper.window_shape import SIDE

Pool = MaxPool | AvgPool | Conv

ALONE_CYCLES = 30
"""What a vector job costs that runs alone: it waits for the one before it, and the next waits for it."""


@dataclass(frozen=True)
class PooledTiles:
    """A pooling of tiles: rows are those of the padded map that is pooled (``source``), of ``plan``'s convolution."""

    pool: Pool
    source: Tensor
    target: Tensor
    plan: ConvPlan

    @property
    def cfg(self) -> Config:
        """The accelerator."""
        return self.plan.shape.cfg

    @cached_property
    def folded(self) -> bool:
        """Whether the convolution sees all its pixels as one row."""
        return self.plan.shape.target_view != self.source.shape

    @cached_property
    def sliding(self) -> WindowPlan | None:
        """How the vector unit's windows go over one group of channels; None if they do not."""
        p = self.plan
        if self.cfg.vector is None or self.folded or not suits(self.pool, self.source, self.target):
            return None
        if len(p.groups) > 1 and not p.channels_outer:
            return None
        (_, rows, cols, _), stride = self.target.shape, self.pool.window.stride
        height, width = ((n - 1) * s + SIDE for n, s in zip((rows, cols), stride, strict=True))
        if width * p.blocks > self.cfg.vector.window_words:
            return None
        return WindowPlan(height, width, p.blocks * self.cfg.lanes, height, stride)

    @property
    def legal(self) -> bool:
        """Whether tiles of the plan can be pooled one by one, and their words find room twice."""
        shape, window, cfg = self.plan.shape, self.pool.window, self.cfg
        images, rows, cols = self.plan.tile
        apart = window.padding[0] == 0 and self._reach <= window.stride[0] and rows % window.stride[0] == 0
        if images != 1 or cols != shape.out_width or not (rows == shape.out_height or apart or self.sliding):
            return False
        if isinstance(self.pool, Conv) and not self.sliding:
            return False
        if self.plan.blocks + self.entries > cfg.param_entries:
            return False
        if self.folded and (self.source.shape[0] > 1 or any(window.padding)):
            return False
        most = max(self.bytes(rows, group) for rows in ((0, rows), self._last) for group in self.plan.groups)
        return 2 * (most + cfg.operand_word_bytes) <= cfg.memory.operand_bytes

    @property
    def entries(self) -> int:
        """Parameter entries of the pooling that a group needs at once: of a convolution one per block."""
        if isinstance(self.pool, AvgPool):
            return len(set(self.pool.divisors.flat))
        return self.plan.blocks if isinstance(self.pool, Conv) else 1

    @property
    def vector_cycles(self) -> int:
        """Cycles of the vector unit, as an estimate: every word goes through it twice."""
        p, window = self.plan, self.pool.window
        blocks = len(p.shape.blocks)
        words = p.tile_count * p.shape.grid(p.tile).words * blocks
        images, rows, cols, _ = self.target.shape
        reads = images * rows * cols * window.kernel[0] * window.kernel[1] * blocks
        jobs = 2 * p.tile_count * len(p.groups)
        return words + (words if self.sliding else reads) + jobs * (ALONE_CYCLES + JOB_CYCLES)

    # -- where words lie --------------------------------------------------------------------------

    @property
    def _reach(self) -> int:
        """Rows under a window."""
        return self.pool.window.dilation[0] * (self.pool.window.kernel[0] - 1) + 1

    @property
    def _last(self) -> tuple[int, int]:
        """Rows of the last tile."""
        height, rows = self.plan.shape.out_height, self.plan.tile[1]
        return (height - 1) // rows * rows, height

    def rows(self, tile: Tile) -> tuple[int, int]:
        """Rows of the map that a tile holds."""
        return (0, self.source.shape[1]) if self.folded else tile.rows

    def region(self, rows: tuple[int, int]) -> tuple[int, int, int]:
        """Padded rows [first, end) that lie on chip for rows of the map, and pixels from one row to the next."""
        (_, height, width, _), (top, left, _, _) = self.source.shape, self.pool.window.padding
        if self.folded:
            return 0, height, width
        if self.sliding:
            used = self.sliding.height, self.sliding.width
        else:
            used = window_extent(self.pool.window, *self.target.shape[1:3])
        first = rows[0] + top if rows[0] else 0
        end = max(rows[1] + top, used[0]) if rows[1] == height else rows[1] + top
        return first, end, max(left + width, used[1])

    def depth(self, group: tuple[Block, ...]) -> int:
        """Bytes of a pixel on chip."""
        return pitch(group[-1].first + group[-1].count - group[0].first, self.source.bits)

    def bytes(self, rows: tuple[int, int], group: tuple[Block, ...]) -> int:
        """Bytes of all that lies on chip for rows of the map."""
        first, end, width = self.region(rows)
        return (end - first) * width * self.depth(group)

    # -- what a tile completes --------------------------------------------------------------------

    def chunk(self, rows: tuple[int, int]) -> Chunk:
        """Padded rows that go through the windows, where they slide."""
        assert self.sliding is not None
        first, end, _ = self.region(rows)
        return self.sliding.chunk(first, min(end, self.sliding.height))

    def completed(self, rows: tuple[int, int]) -> tuple[int, int]:
        """Output rows whose windows lie in rows of the map, where they do not slide."""
        first, end, _ = self.region(rows)
        stride = self.pool.window.stride[0]
        return -(-first // stride), min(self.target.shape[1], max(0, end - self._reach + stride) // stride)
