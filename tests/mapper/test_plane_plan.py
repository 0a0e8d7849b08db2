"""Plans for the array over the output plane: what is loaded, what fits, how long it takes."""

import itertools

import numpy as np
import pytest

from mapper.conv_plan import Options
from mapper.plane_loads import Block, blocks, needed
from mapper.plane_plan import PlanePlan
from mapper.plane_search import plane_plan
from tests.mapper.test_programs import small
from tests.random_layers import random_network


def moves(block: Block) -> list[tuple[int, int]]:
    """(element of the tensor, element on chip) of everything a block moves."""
    result = []
    for index in itertools.product(*(range(axis.count) for axis in block.axes)):
        pairs = list(zip(index, block.axes, strict=True))
        result.append((
            block.source + sum(i * a.source for i, a in pairs), block.place + sum(i * a.place for i, a in pairs)
        ))  # fmt: skip
    return result


def expected(plan: PlanePlan, tile, first: int, channels: int) -> list[tuple[int, int]]:
    """The same from the order of inputs, element by element."""
    s, order = plan.shape, plan.order
    (sy, sx), (dy, dx) = s.layer.window.stride, s.layer.window.dilation
    (top, below), (left, right) = needed(plan, tile)
    pitch, result = order.words * order.elements, []
    for c, (ky, row) in itertools.product(range(channels), enumerate(order.places)):
        for kx, place in enumerate(row):
            down, across = order.group(ky, kx)
            for r, q in itertools.product(range(down), range(across)):
                y = top + sy * (order.rows - down + r) + dy * ky
                x = left + sx * (order.cols - across + q) + dx * kx
                if plan.folded:
                    y, x = 0, tile.cols[0] + r * order.cols + q
                inside = 0 <= y < min(below, s.height) and 0 <= x < min(right, s.width)
                if inside:
                    source = ((tile.images[0] * s.height + y) * s.width + x) * s.channels + first + c
                    result.append((source, c * pitch + place + r * across + q))
    return result


def drawn(seed: int) -> PlanePlan:
    rng = np.random.default_rng([seed, 4])
    network = random_network(seed)
    layer = network.layers[0]
    cfg = small("output_stationary_plane", *(int(v) for v in rng.integers(1, 7, 2)), lean=seed % 3 == 0)
    tensors = network.tensors
    return plane_plan(cfg, layer, tensors[layer.inputs[0]], tensors[layer.output], Options())


@pytest.mark.parametrize("seed", range(20))
def test_loads_put_every_element_into_its_place_once(seed):
    plan = drawn(seed)
    for tile in plan.tiles:
        found = [move for block in blocks(plan, tile, 0, plan.slice_channels) for move in moves(block)]
        assert sorted(found) == sorted(expected(plan, tile, 0, plan.slice_channels))
