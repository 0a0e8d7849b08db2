"""All ways to divide the row-stationary array for a layer, estimated at once: a mesh of p, q and how sets lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from dataflows.row_sets import MOST_FIELD, MOST_STEP, RowSets
from mapper.conv_plan import Options
from mapper.conv_shape import ConvShape
from mapper.row_cost import JOB_CYCLES

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Division:
    """One way to divide array and kernel, with the output columns of a tile that fit, and estimated cycles."""

    shape: ConvShape
    sets: RowSets
    kernel_parts: tuple[int, int]
    positions: int
    cycles: float


def divisions(shape: ConvShape, options: Options, keep: int) -> list[Division]:
    """The ``keep`` divisions with the fewest estimated cycles, the best first; empty if no memory has room for any."""
    found: list[Division] = []
    for parts in kernel_parts(shape):
        found += _Mesh(shape, parts, options).best(keep)
    return sorted(found, key=lambda d: d.cycles)[:keep]


def kernel_parts(shape: ConvShape) -> Iterator[tuple[int, int]]:
    """Ways to cut the kernel (rows, columns) into parts that rows and windows of the array have room for."""
    cfg, window = shape.cfg, shape.layer.window
    (kh, kw), (dy, dx) = window.kernel, window.dilation
    most = min(cfg.array.rows, MOST_FIELD) if dy <= MOST_STEP else 1
    widest = 1 if dx > 1 else min(cfg.stores.input or 1, cfg.stores.weight or 1, MOST_FIELD, kw)
    across = ceil(kw / widest)
    sizes = sorted({ceil(kh / n) for n in range(1, kh + 1)}, reverse=True)
    for size in sizes:
        if size <= most:
            yield ceil(kh / size), across


class _Mesh:
    """Arrays over (arrangement of sets, q, p), flat."""

    def __init__(self, shape: ConvShape, parts: tuple[int, int], options: Options):
        self.shape, self.parts, self.options = shape, parts, options
        self.kernel = tuple(ceil(k / n) for k, n in zip(shape.layer.window.kernel, parts, strict=True))
        self.group_inputs = shape.channels // shape.layer.groups
        self.group_outputs = shape.out_channels // shape.layer.groups

    def _arrangements(self) -> set[tuple[int, int, int, int]]:
        """(units, columns, across, folded): balanced, so that the last block of rows is as full as can be."""
        array, height = self.shape.cfg.array, self.shape.out_height
        steep = self.shape.layer.window.stride[0] > MOST_STEP
        result = set()
        for across in range(1, min(array.cols, self.group_outputs, MOST_FIELD) + 1):
            for units in range(1, min(array.rows // self.kernel[0], MOST_FIELD) + 1):
                for folded in (0, 1):
                    together = units if folded else 1
                    if together > 1 and (units == 1 or steep):
                        continue
                    most = 1 if steep else min(array.cols // across, MOST_FIELD)
                    columns = ceil(height / (ceil(height / (most * together)) * together))
                    if not folded or ceil(height / columns) >= units:
                        result.add((units, columns, across, int(folded and units > 1)))
        return result

    def best(self, keep: int) -> list[Division]:
        """The divisions with the fewest cycles."""
        cfg, shape = self.shape.cfg, self.shape
        stores = cfg.stores
        columns = self.kernel[1]
        most_taps = min(stores.input or 1, stores.weight or 1, MOST_FIELD)
        q_axis = np.arange(1, max(1, min(most_taps // columns, self.group_inputs)) + 1)
        p_axis = np.arange(1, min(stores.output or 1, self.group_outputs, stores.weight or 1, MOST_FIELD) + 1)
        places = np.array(sorted(self._arrangements()))
        index, q, p = (a.ravel() for a in np.meshgrid(np.arange(len(places)), q_axis, p_axis, indexing="ij"))
        units, cols, across, folded = places[index].T
        slots = min(cfg.array.rows // self.kernel[0], MOST_FIELD)
        chained = np.minimum(slots // units, -(-self.group_inputs // q))
        passes = -(-self.group_inputs // (q * chained))
        chained = np.minimum(chained, -(-self.group_inputs // (q * passes)))
        taps = q * columns
        smallest = min(k // n for k, n in zip(shape.layer.window.kernel[1:], self.parts[1:], strict=True))
        legal = (taps * p <= (stores.weight or 1)) & (q * smallest >= units)
        positions = self._positions(units, cols, folded, p, np.minimum(q * chained, self.group_inputs))
        weights = taps * p * across
        word_bytes = cfg.array.rows * cfg.act_bytes
        legal &= (positions >= 1) & (weights * word_bytes <= cfg.memory.weight_bytes) & (weights < 1 << 16)
        if not legal.any():
            return []
        fields = (units, cols, across, folded, chained, q, p, passes, positions)
        units, cols, across, folded, chained, q, p, passes, positions = (f[legal] for f in fields)
        cycles = self._cycles(units, cols, across, folded, chained, q, p, passes, positions)
        order = np.argsort(cycles, kind="stable")[:keep]
        return [
            Division(
                shape,
                RowSets(
                    int(p[i]), int(q[i]), (self.kernel[0], columns), shape.layer.window.stride,
                    shape.layer.window.dilation[0], int(chained[i]), int(units[i]), int(cols[i]), int(across[i]),
                    bool(folded[i]),
                ),
                self.parts, int(positions[i]), float(cycles[i]),
            )
            for i in order
        ]  # fmt: skip

    def _positions(self, units: Ints, cols: Ints, folded: Ints, p: Ints, channels: Ints) -> Ints:
        """Output columns of a tile: its sums fit a bank, and its input for one pass the buffer; 0 if not even one."""
        cfg, shape = self.shape.cfg, self.shape
        window = shape.layer.window
        rows = np.minimum(cols * np.where(folded, units, 1), shape.out_height)
        height = (rows - 1) * window.stride[0] + window.dilation[0] * (window.kernel[0] - 1) + 1
        reach = window.dilation[1] * (window.kernel[1] - 1) + 1
        width = cfg.memory.input_bytes // (height * channels * cfg.act_bytes)
        most = np.minimum(cfg.acc_bank_words // (units * p), (width - reach) // window.stride[1] + 1)
        most = np.clip(most, 0, shape.out_width)
        tiles = -(-shape.out_width // np.maximum(most, 1))
        return np.where(most > 0, -(-shape.out_width // tiles), 0)

    def _cycles(
        self, units: Ints, cols: Ints, across: Ints, folded: Ints, chained: Ints, q: Ints, p: Ints, passes: Ints,
        positions: Ints,
    ) -> NDArray[np.float64]:  # fmt: skip
        """Cycles of the whole layer: the slowest of array, vector unit and reading the weights once.

        The array's are the law of :class:`~dataflows.row_sets.RowSets`.
        """
        cfg, shape = self.shape.cfg, self.shape
        stride, (kernel_rows, columns) = shape.layer.window.stride, self.kernel
        rows = cols * np.where(folded, units, 1)
        input_rows = stride[0] * (rows - 1) + shape.layer.window.dilation[0] * (kernel_rows - 1) + 1
        step = q * columns * p
        fresh, preload = min(stride[1], columns) * q, ceil(columns / stride[1])
        bus = (preload + positions - 1) * fresh * input_rows * chained
        skew = cfg.array.rows - 1 + p * (units - 1)
        waits = np.where(2 * step <= (cfg.stores.weight or 1), 0, skew + (across - 1) * step)
        one_pass = np.maximum(np.maximum(positions * step, bus), step * across) + waits
        job_bytes = step * across * cfg.array.rows * cfg.act_bytes
        chunks = -(-passes * job_bytes * 2 // cfg.memory.weight_bytes)
        filters = -(-self.group_outputs // (p * across * np.where(folded, 1, units)))
        tiles = shape.images * -(-shape.out_height // rows) * -(-shape.out_width // positions)
        parts = self.parts[0] * self.parts[1]
        jobs = shape.layer.groups * filters * tiles * parts
        rate = min(cfg.bus_bytes, self.options.bytes_per_cycle)
        weights = shape.layer.groups * filters * passes * parts * job_bytes / rate
        merged = (shape.layer.groups > 1) & (passes == 1) & (across == 1)  # groups that may share jobs
        merged &= np.where(folded, p, p * units) == np.where(folded, 1, self.group_outputs)
        blocks = shape.layer.groups * filters * across * -(-p * np.where(folded, 1, units) // cfg.lanes)
        blocks = np.where(merged, -(-shape.out_channels // cfg.lanes), blocks)
        vector = tiles * blocks * np.where(folded, units, 1) * positions * cfg.lanes
        array = jobs * (passes * one_pass + chunks * (skew + JOB_CYCLES))
        slowest: NDArray[np.float64] = np.maximum(np.maximum(array, vector), weights)
        # narrow tiles read their borders again: a small price that decides between equals
        return slowest + 1e-3 * tiles * filters
