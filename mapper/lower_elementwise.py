"""Addition and concatenation as steps: they run on the vector unit alone, one operand word per tensor and word."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import ceil

import numpy as np

from dataflows import isa
from dataflows.attention import Lookup
from dataflows.formats import pitch
from dataflows.network import Add, Concat, Tensor, Window
from mapper import loads, packed
from mapper.context import Context, parameters
from mapper.nests import Loops
from mapper.numbers import IDENTITY, common
from mapper.pieces import Piece, cut
from mapper.pipeline import Load, Step
from mapper.tables import Table
from mapper.tiles import Tile
from mapper.vector_jobs import Pass, addend_registers, operand_pass

COLUMNS = 2
"""Dimension of columns, NHWC."""


class ElementwiseLowering:
    """Steps of an addition (one part, of two operands) or a concatenation (a part per input, of one operand).

    Parameters
    ----------
    layer : Add or Concat
        The layer.
    index : int
        Number under which its jobs are marked.
    lookup : Lookup, optional
        Table through which results leave.

    Raises
    ------
    InputError
        When not even one output pixel fits the operand buffer.
    """

    def __init__(self, context: Context, layer: Add | Concat, index: int, lookup: Lookup | None = None):
        self.context, self.layer, self.index = context, layer, index
        self.table = None if lookup is None else Table(context, lookup, index)
        tensors = context.network.tensors
        self.target = tensors[layer.output]
        sources = [tensors[name] for name in layer.inputs]
        self.parts: list[list[Tensor]] = [sources] if isinstance(layer, Add) else [[source] for source in sources]
        lanes = np.ones(context.cfg.lanes, np.int64)
        if isinstance(layer, Add):  # the addition itself is in the registers; its first operand passes as it is
            multipliers, shift = [IDENTITY[0]], IDENTITY[1]
            biases = [0]
        else:
            scales = [np.float32(t.scale) / np.float32(self.target.scale) for t in sources]
            multipliers, shift = common(scales, layer.name)
            biases = [-t.zero for t in sources]
        self._entries = [
            context.constants.add(parameters(context.cfg, lanes * bias, lanes * multiplier, lanes * shift))
            for bias, multiplier in zip(biases, multipliers, strict=True)
        ]

    def _view(self, tensor: Tensor) -> tuple[int, int, int, int]:
        """Shape under which a tensor is seen.

        Operands of an addition that take different bytes meet word by word: pixels of whole words are seen as several.
        """
        (images, rows, cols, channels), lanes = tensor.shape, self.context.cfg.lanes
        if self._mixed and channels % lanes == 0:
            return images, rows, cols * channels // lanes, lanes
        return tensor.shape

    @property
    def _mixed(self) -> bool:
        """Whether operands that meet take different bytes."""
        return any(len({t.container for t in operands}) > 1 for operands in self.parts)

    def _pixel(self, i: int, channels: int) -> int:
        """Bytes from pixel to pixel of one operand of part ``i``: those of its widest."""
        return max(pitch(channels, t.bits) for t in self.parts[i])

    def steps(self) -> Iterator[Step]:
        """One step per piece of every part."""
        cfg = self.context.cfg
        images, rows, cols, _ = self._view(self.target)
        whole = Tile((0, images), (0, rows), (0, cols))
        jobs: list[tuple[int, int, Piece]] = []
        offset = 0  # channel, or column, of the result
        for i, operands in enumerate(self.parts):
            *_, length, channels = self._view(operands[0])
            if self._joins_columns:
                whole = Tile((0, images), (0, rows), (0, length))
            word = max(packed.word_bytes(cfg, t) for t in operands)
            pieces = cut(
                cfg, self.layer.name, whole, channels, Window(), partial(self._pixels, i), word,
                most=cfg.lanes if self._mixed else None,
            )
            jobs += [(i, offset, piece) for piece in pieces]
            offset += length if self._joins_columns else channels
        for number, (i, first, piece) in enumerate(jobs):
            key = (self.index, "param", i)
            needed = (
                self._operand_load(i, piece, number),
                loads.parameter_load(self.context, key, self._entries[i], 1, self.index),
                *(() if self.table is None else (self.table.load(),)),
            )
            yield Step(self.index, needed, partial(self._run, i, first, piece, number == len(jobs) - 1))

    @property
    def _joins_columns(self) -> bool:
        """Whether the parts are columns of the result, not channels."""
        return isinstance(self.layer, Concat) and self.layer.axis == COLUMNS

    def _pixels(self, i: int, channels: int) -> int:
        """Bytes of a pixel of all operands of part ``i``."""
        return len(self.parts[i]) * self._pixel(i, channels)

    def _layout(self, i: int, piece: Piece) -> loads.Layout:
        """Where one operand of a piece lies: dense, if all have the same width."""
        images, rows, cols = piece.tile.size
        depth = self._pixel(i, piece.channels[1] - piece.channels[0])
        return loads.Layout(depth, cols * depth, rows * cols * depth, images * rows * cols * depth)

    def _operand_load(self, i: int, piece: Piece, number: int) -> Load:
        """All operands of a piece, one after the other."""
        operands, tile, layout = self.parts[i], piece.tile, self._layout(i, piece)
        area = loads.Area(tile.images, tile.rows, tile.cols, piece.channels)

        def emit(address: int) -> None:
            for k, source in enumerate(operands):
                to = loads.Destination(isa.Target.OPERAND, address + k * layout.size, layout)
                loads.rectangle(self.context, to, loads.View(source.name, self._view(source)), area, 0, self.index)

        # the last word may reach beyond the last channel
        size = layout.size * len(operands) + max(packed.word_bytes(self.context.cfg, t) for t in operands)
        return Load((self.index, "operand", number), "operand", size, emit, layer_bound=True)

    def _run(self, i: int, offset: int, piece: Piece, last: bool, at: list[int]) -> None:
        """VECTOR and STORE jobs of a piece, given where operands and parameters are."""
        layer, layout, lanes = self.layer, self._layout(i, piece), self.context.cfg.lanes
        images, rows, cols = piece.tile.size
        (first, end), operands = piece.channels, self.parts[i]
        tile, shift = piece.tile, offset
        if self._joins_columns:
            tile, shift = Tile(tile.images, tile.rows, (tile.cols[0] + offset, tile.cols[1] + offset)), 0
        count = len(operands)
        word = packed.word_bytes(self.context.cfg, operands[0])
        loops: Loops = [
            (count, layout.size), (1, 0), (ceil((end - first) / lanes), word),
            (cols, layout.col), (rows, layout.row), (images, layout.image),
        ]  # fmt: skip
        if isinstance(layer, Add):
            requantize = {"zero": 0, "low": operands[0].lowest, "high": operands[0].highest}
            addition = addend_registers(self.context, layer, layer.inputs[0])
        else:
            requantize = {"zero": self.target.zero, "low": layer.low, "high": layer.high}
            addition = None
        operand_pass(
            self.context,
            Pass(
                source=operands[0].name,
                address=at[0], size=layout.size * count, loops=loops, tile=tile, first=shift + first,
                count=end - first, output=self.table.layer.output if self.table else self.target.name,
                view=self._view(self.target), param_at=at[1],
                reduce=isa.Reduce.NONE, requantize=requantize, index=self.index, name=layer.name, last=last,
                addition=addition, addend=operands[-1].name if addition else None,
                slot=at[2] if self.table else None,
            ),
        )  # fmt: skip
