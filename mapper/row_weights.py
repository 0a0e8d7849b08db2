"""Weights of a convolution in the order in which the row-stationary array takes them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapper.row_plan import FilterTile, Part, RowPlan


def packed_filters(plan: RowPlan) -> NDArray[np.signedinteger]:
    """All weights of a layer: filter tile after filter tile, ``plan.filter_bytes`` each but perhaps for the last."""
    return np.concatenate([_job(plan, tile, part) for tile in plan.filter_tiles for part in plan.parts(tile.groups)])


def _job(plan: RowPlan, tile: FilterTile, part: Part) -> NDArray[np.signedinteger]:
    """Words of one job: per pass, side, tap and filter a word of one element per PE row, flat."""
    sets = plan.sets_of(part.kernel)
    (y, height), (x, width) = part.kernel.rows, part.kernel.cols
    loops = _loops(plan, tile)[part.first : part.first + part.passes, ..., y : y + height, x : x + width]
    # pass, side, unit, filter, chain, channel, ky, kx  ->  pass, side, kx, channel, filter, (unit, chain, ky)
    words = loops.transpose(0, 1, 7, 5, 3, 2, 4, 6)
    if sets.folded:  # all units have the same filters
        words = np.repeat(words, sets.units, axis=5)
    words = words.reshape(-1, sets.rows)
    padded = np.zeros((words.shape[0], plan.shape.cfg.array.rows), words.dtype)
    padded[:, : sets.rows] = words
    return padded.reshape(-1)


def _loops(plan: RowPlan, tile: FilterTile) -> NDArray[np.signedinteger]:
    """Weights of a filter tile as (pass, side, unit, filter, chain, channel, ky, kx), zero where there is none."""
    sets, weight = plan.sets, plan.shape.layer.weight
    weight = weight[tile.first : tile.first + tile.count]
    units = 1 if sets.folded else sets.units
    passes, kernel = plan.passes(tile.groups), weight.shape[2:]
    channels = sets.pass_channels * (passes if plan.together == 1 else 1)
    groups = 1 if plan.together == 1 else tile.groups
    weight = weight.reshape(groups, -1, *weight.shape[1:])
    padded = np.zeros((groups, sets.job_filters, channels, *kernel), weight.dtype)
    padded[:, : weight.shape[1], : weight.shape[2]] = weight
    split = padded.reshape(
        groups, sets.across, units, sets.filters, passes // groups, sets.chained, sets.channels, *kernel
    )
    # (group, side, unit, filter, pass, chain, channel, ky, kx): a pass is one of a group, or a group
    return split.transpose(0, 4, 1, 2, 3, 5, 6, 7, 8).reshape(
        passes, sets.across, units, sets.filters, sets.chained, sets.channels, *kernel
    )
