"""Constants of a convolution: weights in the order in which the array takes them, parameters of each block."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dataflows.network import Codes, Tensor
from mapper.conv_plan import ConvPlan
from mapper.conv_shape import Block, ConvShape
from mapper.requantization import Requantization


def packed_weights(plan: ConvPlan) -> Codes:
    """All weights of a layer: group after group of output channels, ``plan.group_bytes`` each but for the last.

    Where output channels run in time, a group is (words, channels of all its blocks, rows), else (blocks, words, rows,
    lanes). Words are the reduction words of all channel slices, one slice after the other.
    """
    return np.concatenate([_group(plan, group).reshape(-1) for group in plan.groups])


def _group(plan: ConvPlan, group: tuple[Block, ...]) -> Codes:
    blocks = np.stack([np.concatenate(list(_slabs(plan, block))) for block in group])  # (blocks, words, rows, lanes)
    if not plan.shape.channels_in_time:
        return blocks
    _, words, rows, _ = blocks.shape
    return blocks.transpose(1, 0, 3, 2).reshape(words, -1, rows)


def _slabs(plan: ConvPlan, block: Block) -> Iterator[Codes]:
    """Reduction words of a block, (words, rows, lanes) per channel slice."""
    dense = matrix(plan.shape, block)
    for first, count in plan.slices():
        index = order(plan.shape, plan.layout, count)
        flat = dense[:, :, first : first + count].reshape(-1, plan.shape.cfg.lanes)
        yield np.where((index >= 0)[..., None], flat[index], np.zeros(1, dense.dtype))


def order(shape: ConvShape, layout: str, channels: int) -> NDArray[np.int64]:
    """For every row of every reduction word: index into (kernel row, kernel column, channel), or -1; (words, rows)."""
    kh, kw = shape.layer.window.kernel
    index = np.arange(kh * kw * channels).reshape(kh, kw, channels)
    runs = {
        "rows": index.reshape(kh, kw * channels),
        "taps": index.reshape(kh * kw, channels),
        "stacked": index.transpose(1, 0, 2).reshape(1, -1),
    }[layout]
    rows = shape.cfg.array.rows
    words = -(-runs.shape[1] // rows)
    padded = np.full((runs.shape[0], words * rows), -1, np.int64)
    padded[:, : runs.shape[1]] = runs
    return padded.reshape(-1, rows)


def matrix(shape: ConvShape, block: Block) -> Codes:
    """Weights of one block as (kernel row, kernel column, depth, lanes), zero where there is none."""
    layer, groups = shape.layer, shape.layer.groups
    per_in, per_out = shape.channels // groups, shape.out_channels // groups
    kh, kw = layer.window.kernel
    dense = np.zeros((kh, kw, shape.depth, shape.cfg.lanes), f"<i{shape.cfg.act_bytes}")
    for channel in range(block.count):
        first = (block.first + channel) // per_out * per_in - block.source
        dense[:, :, first : first + per_in, channel] = layer.weight[block.first + channel].transpose(1, 2, 0)
    return dense


def packed_parameters(shape: ConvShape, source: Tensor, target: Tensor) -> NDArray[np.uint8]:
    """Parameter entries of all blocks: bias (with the input's zero point folded in), multiplier and shift per lane."""
    requantization = Requantization.of(shape.layer, source, target)
    return np.concatenate([requantization.entry(shape.cfg, block.first, block.count) for block in shape.blocks])
