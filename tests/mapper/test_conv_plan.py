"""Plans fit their buffers and are the cheapest; what cannot fit says which buffer, how much and what to change."""

import re
from dataclasses import replace
from itertools import product
from math import ceil, prod

import numpy as np
import pytest

from dataflows import config
from dataflows.errors import InputError
from dataflows.network import Conv, Network, Window
from dataflows.vocabulary import Dim
from mapper.compile import compile_network
from mapper.conv_cost import costed
from mapper.conv_jobs import chunks
from mapper.conv_plan import ConvPlan, Options
from mapper.conv_search import NEAR, candidates, plan
from mapper.conv_shape import ConvShape
from mapper.conv_weights import order, packed_weights
from tests.mapper.test_programs import FLOWS, check, small
from tests.random_layers import activation, convolution, random_network

OPTIONS = Options(latency=60, bytes_per_cycle=8)


def with_memory(cfg: config.Config, **sizes: int) -> config.Config:
    """The configuration with other memory sizes, which need not be multiples of words."""
    return cfg.model_copy(update={"memory": cfg.memory.model_copy(update=sizes)})


def shapes(seed: int, cfg: config.Config) -> list[ConvShape]:
    """All convolutions of a random network."""
    net = random_network(seed, most_channels=24, most_size=12, bits=cfg.numbers.act_bits)
    convs = [layer for layer in net.layers if isinstance(layer, Conv)]
    return [ConvShape.of(cfg, c, net.tensors[c.inputs[0]], net.tensors[c.output]) for c in convs]


def one_layer(channels: int, out_channels: int, window: Window, *, size: int = 6, groups: int = 1) -> Network:
    """A network of one convolution."""
    rng = np.random.default_rng(channels)
    source = activation(rng, "x", (1, size, size, channels))
    conv, target = convolution(rng, "conv", source, out_channels, groups, window)
    return Network("one", {"x": source, target.name: target}, (conv,), ("x",), (target.name,))


def shape_of(cfg: config.Config, network: Network) -> ConvShape:
    (conv,) = network.layers
    return ConvShape.of(cfg, conv, network.tensors["x"], network.tensors[conv.output])


CASES = [(flow, seed) for flow in FLOWS for seed in range(12)]
WIDTHS = [(*case, 8) for case in CASES] + [(flow, seed, 16) for flow in FLOWS for seed in range(12, 16)]


# -- fitting ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("flow", "seed", "bits"), WIDTHS)
def test_every_plan_fits_its_buffers(flow, seed, bits):
    rng = np.random.default_rng(seed)
    rows, cols = (int(v) for v in rng.integers(1, 9, 2))
    cfg = small(flow, rows, cols, lean=seed % 2 == 1, bits=bits)
    memory = cfg.memory
    for shape in shapes(seed, cfg):
        for p in candidates(shape):
            largest = [max(t.size[i] for t in p.tiles()) for i in range(3)]
            assert tuple(largest) == p.tile
            height, width = shape.extent(*p.tile[1:])
            dense = p.tile[0] * height * width * p.slice_channels
            stacked = p.tile[0] * p.tile[1] * width * p.slice_channels * shape.layer.window.kernel[0]
            tile_bytes = stacked if p.layout == "stacked" else dense
            on_chip = len(p.tiles()) if p.input_resident else 2 if p.sliced else 1
            assert on_chip * tile_bytes * bits // 8 <= memory.input_bytes
            per_word = rows * cols * (p.blocks if flow == "input_stationary" else 1)
            assert p.chunk_words * per_word * bits // 8 <= memory.weight_bytes
            if p.weights_resident:
                assert packed_weights(p).nbytes <= memory.weight_bytes or p.channels_outer
            assert shape.grid(p.tile).words * p.blocks * cfg.acc_word_bytes <= memory.acc_bytes // 2
            assert p.blocks * cfg.param_entry_bytes <= memory.param_bytes
            assert not (p.input_resident and p.sliced)


@pytest.mark.parametrize(("flow", "seed"), CASES)
def test_tiles_and_chunks_cover_a_layer_once(flow, seed):
    cfg = small(flow, 4, 4, lean=seed % 2 == 1)
    for shape in shapes(seed, cfg):
        p = plan(shape, OPTIONS)
        covered = np.zeros((shape.images, shape.out_height, shape.out_width), int)
        for tile in p.tiles():
            covered[slice(*tile.images), slice(*tile.rows), slice(*tile.cols)] += 1
        assert (covered == 1).all()
        found = list(chunks(p))
        assert [c.word for c in found] == [sum(c.words for c in found[:i]) for i in range(len(found))]
        assert sum(c.words for c in found) == p.words
        assert all(0 < c.words <= p.chunk_words for c in found)
        assert [b for group in p.groups for b in group] == list(shape.blocks)


@pytest.mark.parametrize(("flow", "seed", "bits"), WIDTHS)
def test_reduction_words_hold_every_weight_once(flow, seed, bits):
    cfg = small(flow, 5, 3, lean=seed % 2 == 1, bits=bits)
    for shape in shapes(seed, cfg):
        for layout in shape.layouts():
            kh, kw = shape.layer.window.kernel
            rows = order(shape, layout, shape.depth)
            assert rows.shape == (prod(shape.nest(layout, shape.depth)), cfg.array.rows)
            assert sorted(rows[rows >= 0]) == list(range(kh * kw * shape.depth))
        p = plan(shape, OPTIONS)
        packed = packed_weights(p)
        assert packed.nbytes == p.words * shape.word_bytes(1) * len(shape.blocks)
        assert np.abs(packed.view(f"<i{bits // 8}").astype(int)).sum() == np.abs(shape.layer.weight.astype(int)).sum()


# -- choosing --------------------------------------------------------------------------------------------


def key(p: ConvPlan) -> tuple:
    return p.layout, p.tile, p.blocks, p.slice_channels, p.channels_outer, p.input_resident, p.weights_resident


@pytest.mark.parametrize(("flow", "seed"), CASES)
def test_no_candidate_is_cheaper(flow, seed):
    cfg = small(flow, 4, 4, lean=seed % 2 == 1)
    for shape in shapes(seed, cfg):
        chosen = plan(shape, OPTIONS)
        every = [costed(c, OPTIONS) for c in candidates(shape)]
        fastest = min(c.cycles for c in every)
        assert key(chosen) in {key(c) for c in every}
        assert chosen.cycles <= fastest * (1 + NEAR)
        assert all(c.dram_bytes >= chosen.dram_bytes for c in every if c.cycles <= fastest * (1 + NEAR))


@pytest.mark.parametrize(("flow", "seed"), CASES)
def test_no_other_size_is_cheaper(flow, seed):
    """Brute force over all parts of a row, numbers of rows and numbers of images, not only equal divisions."""
    cfg = small(flow, 4, 4, lean=seed % 2 == 1)
    for shape in shapes(seed, cfg):
        chosen = plan(shape, OPTIONS)
        images, rows, cols = shape.images, shape.out_height, shape.out_width
        sizes = [(1, 1, x + 1) for x in range(cols)] + [(1, y + 1, cols) for y in range(rows)]
        sizes += [(i + 1, rows, cols) for i in range(images)]
        kinds = {(c.layout, c.blocks): c for c in candidates(shape)}
        for size, other in product(sizes, kinds.values()):
            p = replace(other, tile=size, input_resident=False, weights_resident=False)
            places = shape.grid(size).words * p.blocks
            if p.tile_bytes <= cfg.memory.input_bytes and places <= cfg.acc_bank_words:
                assert costed(p, OPTIONS).cycles * (1 + NEAR) >= chosen.cycles


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize(("pixels", "channels", "out_channels"), [(25, 16, 16), (36, 17, 9), (16, 40, 33)])
def test_compute_is_the_cycle_law(flow, pixels, channels, out_channels):
    """A layer in one tile costs what the dataflow's law says, what is loaded before, and what is drained after."""
    cfg = small(flow, 4, 4)
    cfg = with_memory(cfg, **dict.fromkeys(("input_bytes", "weight_bytes", "acc_bytes", "param_bytes"), 1 << 24))
    shape = shape_of(cfg, one_layer(channels, out_channels, Window(), size=round(pixels**0.5)))
    p = next(c for c in candidates(shape) if c.tile == (1, 1, pixels) and c.blocks == 1)
    extent = {Dim.PIXEL: pixels, Dim.CHANNEL: out_channels, Dim.REDUCTION: channels}
    temporal = cfg.dataflow.temporal
    if temporal is not Dim.PIXEL:
        extent[temporal] = ceil(extent[temporal] / 4) * 4  # in whole words
    law = cfg.dataflow.cycles(4, 4, extent)
    before = (channels * pixels + 16 * p.words) / 8  # the tile and the first block's weights, at 8 bytes a cycle
    after = shape.grid(p.tile).words + 4 * len(shape.blocks)
    assert costed(p, Options(latency=0, bytes_per_cycle=8)).cycles == pytest.approx(law + before + after, abs=2)


# -- what does not fit -----------------------------------------------------------------------------------

TOO_LARGE = [
    ("input", one_layer(40, 3, Window((5, 5))), {"input_bytes": 32}),
    ("input", one_layer(3, 3, Window((5, 5), dilation=(1, 2)), size=12), {"input_bytes": 64}),
    ("input", one_layer(1, 2, Window((6, 6))), {"input_bytes": 16}),
    ("input", one_layer(40, 4, Window((3, 3)), groups=2), {"input_bytes": 128}),
    ("input", one_layer(130, 5, Window()), {"input_bytes": 2}),
    ("weight", one_layer(8, 8, Window()), {"weight_bytes": 8}),
    ("acc", one_layer(8, 8, Window()), {"acc_bytes": 8}),
]


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize(("buffer", "network", "sizes"), TOO_LARGE, ids=range(len(TOO_LARGE)))
def test_what_cannot_fit_names_the_buffer_and_what_would_do(flow, buffer, network, sizes):
    cfg = with_memory(small(flow, 4, 4), **sizes)
    with pytest.raises(InputError) as error:
        plan(shape_of(cfg, network), OPTIONS)
    message = str(error.value)
    (have,) = sizes.values()
    found = re.fullmatch(
        rf"layer conv: its smallest tile needs (\d+) bytes of the {buffer} buffer, which has {have}; "
        rf"raise memory\.{buffer}_bytes in configuration 'tiny' to at least (\d+)", message
    )  # fmt: skip
    assert found and found[1] == found[2]
    need = int(found[1])
    plan(shape_of(with_memory(cfg, **{f"{buffer}_bytes": need}), network), OPTIONS)
    with pytest.raises(InputError, match=f"needs {need} bytes"):
        plan(shape_of(with_memory(cfg, **{f"{buffer}_bytes": need - 1}), network), OPTIONS)


# -- programs at the edge of what fits ---------------------------------------------------------------------


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize(
    ("channels", "out_channels", "kernel", "size"), [(500, 3, 3, 4), (600, 9, 2, 2), (3000, 10, 1, 1)]
)
def test_channel_slices_give_the_same_bits(flow, channels, out_channels, kernel, size):
    """Not even one window fits the input buffer; several groups of output channels read every slice again."""
    network = one_layer(channels, out_channels, Window((kernel, kernel)), size=size)
    cfg = small(flow, 4, 4, lean=True)
    assert plan(shape_of(cfg, network), OPTIONS).sliced
    check(network, cfg, 1)


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("seed", [37, 41, 137])
def test_epilogues_fit_small_operand_and_parameter_memories(flow, seed):
    """A residual tile is no larger than the operand buffer, a group of blocks no longer than the parameter memory."""
    network = random_network(seed, most_channels=40, most_size=8)
    cfg = small(flow, 4, 4)
    memory = {"operand_bytes": 16, "param_bytes": cfg.param_entry_bytes, "acc_bytes": 4 * 4 * 1024}
    cfg = config.parse({**cfg.model_dump(), "memory": {**cfg.memory.model_dump(), **memory}}, "test")
    assert any(entry.absorbed for entry in compile_network(cfg, network, OPTIONS).schedule)
    check(network, cfg, seed)


def test_residual_limits_the_tile():
    cfg = small("weight_stationary", 4, 4)
    shape = shape_of(cfg, one_layer(4, 16, Window((3, 3), padding=(1, 1, 1, 1)), size=12))
    cfg = with_memory(cfg, operand_bytes=64)
    shape = replace(shape, cfg=cfg)
    free, bound = plan(shape, OPTIONS), plan(shape, OPTIONS, residual=True)
    assert prod(free.tile) * min(free.blocks * 4, 16) > 64
    assert prod(bound.tile) * min(bound.blocks * 4, 16) <= 64


def test_fewer_parameter_entries_than_divisors():
    """Average windows of more divisors than the parameter memory has entries."""
    network = next(
        net for net in (random_network(seed, most_channels=6, most_size=9) for seed in range(200, 400))
        if any(hasattr(layer, "divisors") and len(np.unique(layer.divisors)) == 3 for layer in net.layers)
    )  # fmt: skip
    cfg = small("weight_stationary", 4, 4)
    memory = {**cfg.memory.model_dump(), "param_bytes": cfg.param_entry_bytes}
    cfg = config.parse({**cfg.model_dump(), "memory": memory}, "test")
    assert compile_network(cfg, network, OPTIONS).schedule
    check(network, cfg, 5)
