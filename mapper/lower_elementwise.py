"""Addition and concatenation as steps: they run on the vector unit alone, one operand word per tensor and word."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import ceil

import numpy as np

from dataflows import isa
from dataflows.network import Add, Concat, Tensor, Window
from mapper import loads
from mapper.context import Context, parameters
from mapper.nests import Loops
from mapper.numbers import IDENTITY, common
from mapper.pieces import Piece, cut
from mapper.pipeline import Load, Step
from mapper.tiles import Tile
from mapper.vector_jobs import Pass, addend_registers, operand_pass


class ElementwiseLowering:
    """Steps of an addition (one part, of two operands) or a concatenation (a part per input, of one operand).

    Parameters
    ----------
    layer : Add or Concat
        The layer.
    index : int
        Number under which its jobs are marked.

    Raises
    ------
    InputError
        When not even one output pixel fits the operand buffer.
    """

    def __init__(self, context: Context, layer: Add | Concat, index: int):
        self.context, self.layer, self.index = context, layer, index
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

    def steps(self) -> Iterator[Step]:
        """One step per piece of every part."""
        images, rows, cols, _ = self.target.shape
        whole = Tile((0, images), (0, rows), (0, cols))
        jobs: list[tuple[int, int, Piece]] = []
        offset = 0  # channel of the result
        for i, operands in enumerate(self.parts):
            channels = operands[0].shape[3]
            pieces = cut(self.context.cfg, self.layer.name, whole, channels, Window(), len(operands))
            jobs += [(i, offset, piece) for piece in pieces]
            offset += channels
        for number, (i, first, piece) in enumerate(jobs):
            key = (self.index, "param", i)
            needed = (
                self._operand_load(i, piece, number),
                loads.parameter_load(self.context, key, self._entries[i], 1, self.index),
            )
            yield Step(self.index, needed, partial(self._run, i, first, piece, number == len(jobs) - 1))

    def _layout(self, piece: Piece) -> loads.Layout:
        """Where one operand of a piece lies: dense."""
        images, rows, cols = piece.tile.size
        depth = (piece.channels[1] - piece.channels[0]) * self.context.cfg.act_bytes
        return loads.Layout(depth, cols * depth, rows * cols * depth, images * rows * cols * depth)

    def _operand_load(self, i: int, piece: Piece, number: int) -> Load:
        """All operands of a piece, one after the other."""
        operands, tile, layout = self.parts[i], piece.tile, self._layout(piece)
        area = loads.Area(tile.images, tile.rows, tile.cols, piece.channels)

        def emit(address: int) -> None:
            for k, source in enumerate(operands):
                to = loads.Destination(isa.Target.OPERAND, address + k * layout.size, layout)
                loads.rectangle(self.context, to, loads.View(source.name, source.shape), area, 0, self.index)

        # the last word may reach beyond the last channel
        size = layout.size * len(operands) + self.context.cfg.vector_word_bytes
        return Load((self.index, "operand", number), "operand", size, emit, layer_bound=True)

    def _run(self, i: int, offset: int, piece: Piece, last: bool, at: list[int]) -> None:
        """VECTOR and STORE jobs of a piece, given where operands and parameters are."""
        layer, layout, lanes = self.layer, self._layout(piece), self.context.cfg.lanes
        images, rows, cols = piece.tile.size
        first, end = piece.channels
        count = len(self.parts[i])
        loops: Loops = [
            (count, layout.size), (1, 0), (ceil((end - first) / lanes), self.context.cfg.vector_word_bytes),
            (cols, layout.col), (rows, layout.row), (images, layout.image),
        ]  # fmt: skip
        if isinstance(layer, Add):
            requantize = {"zero": 0, "low": self.target.lowest, "high": self.target.highest}
            addition = addend_registers(self.context, layer, layer.inputs[0])
        else:
            requantize = {"zero": self.target.zero, "low": layer.low, "high": layer.high}
            addition = None
        operand_pass(
            self.context,
            Pass(
                source=self.parts[i][0].name,
                address=at[0], size=layout.size * count, loops=loops, tile=piece.tile, first=offset + first,
                count=end - first, output=self.target.name, view=self.target.shape, param_at=at[1],
                reduce=isa.Reduce.NONE, requantize=requantize, index=self.index, name=layer.name, last=last,
                addition=addition, addend=self.parts[i][-1].name if addition else None,
            ),
        )  # fmt: skip
