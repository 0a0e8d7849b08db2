"""Plans for the array over the output plane: what is loaded, what fits, how long it takes."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from dataflows import config
from dataflows.errors import InputError
from dataflows.network import Tensor, Window
from mapper.conv_plan import Options
from mapper.plane_loads import Block, blocks, needed
from mapper.plane_plan import PlanePlan, order_of
from mapper.plane_search import plane_plan
from tests.mapper.test_programs import small
from tests.random_layers import convolution, random_network


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


def layer_of(kernel: int, stride: int, size: int, channels: int, out_channels: int, groups: int = 1, pad: int = 0):
    """A square convolution and its tensors."""
    rng = np.random.default_rng(1)
    source = Tensor("x", (1, size, size, channels), 0.1, 3)
    window = Window((kernel, kernel), (stride, stride), (pad,) * 4)
    return source, *convolution(rng, "conv", source, out_channels, groups, window)


def chip_plan(*shape: int, **more: int) -> PlanePlan:
    source, layer, target = layer_of(*shape, **more)
    return plane_plan(config.load("configs/shidiannao.toml"), layer, source, target, Options())


@pytest.mark.parametrize(
    ("shape", "tiles", "loads"),
    [
        ((5, 1, 32, 1, 6), 16, 4),  # LeNet-5 C1; a job per block of one stride, see below
        ((5, 1, 14, 6, 16), 4, 4),
        ((3, 1, 13, 256, 384), 4, 4),
        ((11, 4, 227, 3, 96), 49, 40),
    ],
)
def test_cycle_law(shape, tiles, loads):
    """ceil(Ox / 8) ceil(Oy / 8) M C K^2 cycles, and few jobs to load a tile."""
    kernel, _, _, channels, out_channels = shape
    plan = chip_plan(*shape)
    assert len(plan.tiles) == tiles
    assert plan.steps == tiles * out_channels * channels * kernel**2
    assert len(blocks(plan, plan.tiles[0], 0, plan.slice_channels)) <= loads


def test_neighbours_save_what_the_paper_says():
    """With stride 1 a kernel of K x K needs about K^2 times fewer inputs from the buffer on a large array."""
    plan = chip_plan(5, 1, 36, 8, 16)
    alone = plan.steps * 64
    assert plan.new_elements * 11 < alone < plan.new_elements * 12
    assert chip_plan(1, 1, 8, 8, 16).new_elements == chip_plan(1, 1, 8, 8, 16).steps * 64


def test_pixels_of_pointwise_layers_fill_the_array():
    """7 x 7 pixels are one tile; 10 x 10 are two, not four."""
    assert [len(chip_plan(1, 1, size, 64, 64).tiles) for size in (7, 8, 10)] == [1, 1, 2]


def test_channels_that_do_not_fit_are_sliced():
    """512 channels of a 3x3 layer take twice the buffer: slices that leave room for the next one, sums kept."""
    plan = chip_plan(3, 1, 16, 512, 64, pad=1)
    assert plan.sliced and 2 * plan.slice_channels * plan.channel_bytes <= 65536
    parts = plan.parts(plan.batches[0])
    assert sum(part.channels for part in parts) == 512 and len(plan.batches) == 1


def test_depthwise_groups_share_jobs():
    plan = chip_plan(3, 1, 16, 96, 96, groups=96, pad=1)
    assert plan.together > 1 and len(plan.batches) < 10
    assert plan.steps == 4 * 96 * 9


@pytest.mark.parametrize(
    ("key", "value", "need"), [("input_bytes", 512, 2048), ("weight_bytes", 256, 1250), ("acc_bytes", 672, 768)]
)
def test_refuses_with_what_would_do(key, value, need):
    """The size in the message is enough (rounded up to what the configuration takes)."""
    source, layer, target = layer_of(25, 1, 30, 2, 3)
    values = config.load("configs/shidiannao.toml").model_dump()
    values["stores"]["input"] = 1024
    values["memory"][key] = value
    with pytest.raises(InputError, match=f"raise memory.{key} in configuration 'shidiannao' to at least {need}"):
        plane_plan(config.parse(values, "test"), layer, source, target, Options())
    values["memory"][key] = -(-need // 256) * 256
    plane_plan(config.parse(values, "test"), layer, source, target, Options())


def test_refuses_a_kernel_beyond_the_counters():
    source, layer, target = layer_of(1, 1, 300, 1, 1)
    window = Window((256, 1), (1, 1), (0,) * 4)
    large = replace(layer, window=window, weight=np.ones((1, 1, 256, 1), np.int8))
    with pytest.raises(InputError, match="its kernel of 256x1 is too large"):
        plane_plan(config.load("configs/shidiannao.toml"), large, source, target, Options())


def test_little_history_means_new_inputs():
    """A PE that remembers one step hands inputs on to the west only; one that remembers three also to the north."""
    window = Window((3, 3))
    orders = []
    for depth in (1, 2, 3):
        cfg = small("output_stationary_plane", 4, 4)
        stores = cfg.stores.model_copy(update={"input": depth})
        orders.append(order_of(cfg.model_copy(update={"stores": stores}), window))
    assert [(o.fresh_rows, o.fresh_cols) for o in orders] == [(3, 1), (3, 1), (1, 1)]
