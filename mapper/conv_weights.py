"""Constants of a convolution: weights in the order in which the array takes them, parameters of each block."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dataflows.network import Codes, Tensor
from dataflows.packing import pack
from mapper.conv_plan import ConvPlan
from mapper.conv_shape import Block, ConvShape
from mapper.requantization import Requantization


def packed_weights(plan: ConvPlan) -> NDArray[np.uint8]:
    """All weights of a layer: group after group of output channels, ``plan.group_bytes`` each but for the last.

    Where output channels run in time, a group is (words, channels of all its blocks, depth), else (blocks, words,
    steps, lanes, products): a reduction word is ``depth`` = ``steps`` * ``products`` indices. Words are those of all
    channel slices, one slice after the other.
    """
    return np.concatenate([_group(plan, group).reshape(-1) for group in plan.groups])


def _group(plan: ConvPlan, group: tuple[Block, ...]) -> NDArray[np.uint8]:
    blocks = np.stack([np.concatenate(list(_slabs(plan, block))) for block in group])  # (blocks, words, depth, lanes)
    count, words, depth, lanes = blocks.shape
    reduction, bits = plan.shape.reduction, plan.shape.bits[1]
    if plan.shape.channels_in_time:
        return pack(blocks.transpose(1, 0, 3, 2).reshape(words, -1, depth), bits)
    steps = blocks.reshape(count, words, reduction.steps, reduction.products, lanes).swapaxes(3, 4)
    return pack(steps.reshape(count, words, reduction.steps, -1), bits)


def _slabs(plan: ConvPlan, block: Block) -> Iterator[Codes]:
    """Reduction words of a block, (words, depth, lanes) per channel slice."""
    dense = matrix(plan.shape, block)
    for first, count in plan.slices():
        index = order(plan.shape, plan.layout, count)
        flat = dense[:, :, first : first + count].reshape(-1, plan.shape.cfg.lanes)
        nothing = np.full(1, padding(plan.shape), dense.dtype)
        yield np.where((index >= 0)[..., None], flat[index], nothing)


def padding(shape: ConvShape) -> int:
    """Weights where a run does not fill its words: zero, or +1 where there is none; inputs are +1 there, too."""
    return 1 if shape.binary else 0


def order(shape: ConvShape, layout: str, channels: int) -> NDArray[np.int64]:
    """For every index of every reduction word: index into (kernel row, kernel column, channel), or -1; (words, depth).

    What is left of the last byte of a pixel counts in runs over several pixels.
    """
    kh, kw = shape.layer.window.kernel
    index = np.arange(kh * kw * channels).reshape(kh, kw, channels)
    if layout != "taps":
        room = shape.padded(channels) - channels
        index = np.pad(index, [(0, 0), (0, 0), (0, room)], constant_values=-1)
    runs = {
        "rows": lambda: index.reshape(kh, -1),
        "taps": lambda: index.reshape(kh * kw, -1),
        "stacked": lambda: index.transpose(1, 0, 2).reshape(1, -1),
    }.get(layout, lambda: _strip(shape, layout, index))()
    depth = shape.reduction.depth
    words = -(-runs.shape[1] // depth)
    padded = np.full((runs.shape[0], words * depth), -1, np.int64)
    padded[:, : runs.shape[1]] = runs
    return padded.reshape(-1, depth)


def _strip(shape: ConvShape, layout: str, index: NDArray[np.int64]) -> NDArray[np.int64]:
    """The run of a window in a strip: nothing in the columns between its rows."""
    strips = shape.strips(layout)
    assert strips is not None
    _, kw, channels = index.shape
    between = strips.columns - kw
    wide = np.pad(index, [(0, 0), (0, between), (0, 0)], constant_values=-1).reshape(1, -1)
    return wide[:, : wide.shape[1] - between * channels]


def matrix(shape: ConvShape, block: Block) -> Codes:
    """Weights of one block as (kernel row, kernel column, depth, lanes), zero where there is none."""
    layer, groups = shape.layer, shape.layer.groups
    per_in, per_out = shape.channels // groups, shape.out_channels // groups
    kh, kw = layer.window.kernel
    dense = np.full((kh, kw, shape.depth, shape.cfg.lanes), padding(shape), f"<i{shape.cfg.act_bytes}")
    for channel in range(block.count):
        first = (block.first + channel) // per_out * per_in - block.source
        dense[:, :, first : first + per_in, channel] = layer.weight[block.first + channel].transpose(1, 2, 0)
    return dense


def packed_parameters(plan: ConvPlan, source: Tensor, target: Tensor) -> NDArray[np.uint8]:
    """Parameter entries of all blocks: bias (with the input's zero point folded in), multiplier and shift per lane.

    Products of what is behind the runs of one-bit operands are +1 each, which goes off the bias.
    """
    shape = plan.shape
    behind = 0
    if shape.binary:
        behind = sum(int((order(shape, plan.layout, count) < 0).sum()) for _, count in plan.slices())
    requantization = Requantization.of(shape.layer, source, target, behind=behind)
    return np.concatenate([requantization.entry(shape.cfg, block.first, block.count) for block in shape.blocks])
