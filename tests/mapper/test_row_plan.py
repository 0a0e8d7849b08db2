"""Plans for the row-stationary array: what fits, what is cheapest, what the published chip reaches, what is refused."""

import re
from itertools import product
from math import ceil

import numpy as np
import pytest

from dataflows import config, isa
from dataflows.errors import InputError
from dataflows.network import Conv, Network, Tensor, Window
from dataflows.row_sets import RowSets
from mapper.compile import compile_network
from mapper.conv_plan import Options
from mapper.conv_shape import ConvShape
from mapper.row_cost import array_cycles
from mapper.row_mesh import divisions
from mapper.row_plan import RowPlan, spans
from mapper.row_search import candidates, row_plan
from tests.mapper.test_programs import check, small
from tests.random_layers import activation, convolution, random_network

OPTIONS = Options(latency=60, bytes_per_cycle=8)


def one_layer(channels: int, out_channels: int, window: Window, *, size=(6, 7), images: int = 1, groups: int = 1):
    """A network of one convolution."""
    rng = np.random.default_rng(channels)
    source = activation(rng, "x", (images, *size, channels))
    conv, target = convolution(rng, "conv", source, out_channels, groups, window)
    return Network("one", {"x": source, target.name: target}, (conv,), ("x",), (target.name,))


def with_stores(cfg: config.Config, **depths: int) -> config.Config:
    """The configuration with other local stores."""
    return cfg.model_copy(update={"stores": cfg.stores.model_copy(update=depths)})


def layers(seed: int) -> list[tuple[Conv, Tensor, Tensor]]:
    """All convolutions of a random network."""
    net = random_network(seed, most_channels=24, most_size=12)
    convs = [layer for layer in net.layers if isinstance(layer, Conv)]
    return [(c, net.tensors[c.inputs[0]], net.tensors[c.output]) for c in convs]


# -- fitting ---------------------------------------------------------------------------------------------


def check_plan(p: RowPlan) -> None:
    """A plan fits its memories and stores, and computes every product once."""
    cfg, sets, layer = p.shape.cfg, p.sets, p.shape.layer
    memory, stores = cfg.memory, cfg.stores
    assert sets.taps <= stores.input and sets.taps * sets.filters <= stores.weight and sets.filters <= stores.output
    assert sets.rows <= cfg.array.rows and sets.columns * sets.across <= cfg.array.cols
    assert p.positions * p.words <= cfg.acc_bank_words
    for tile in p.filter_tiles:
        parts = list(p.parts(tile.groups))
        height, width = p.shape.extent(*p.tile[1:])
        assert all(height * width * part.slice[1] * cfg.act_bytes <= memory.input_bytes for part in parts)
        assert all(part.words * p.word_bytes <= memory.weight_bytes for part in parts)
        assert all(p.sets_of(part.kernel).taps >= sets.units for part in parts), "sums of units would collide"
        done = np.zeros((p.group_inputs * tile.groups, *layer.window.kernel), int)
        word = 0
        for part in parts:
            assert part.word == word
            word += part.words
            (ky, rows), (kx, cols) = part.kernel.rows, part.kernel.cols
            first, last = part.first * p.pass_channels, (part.first + part.passes) * p.pass_channels
            assert part.slice[0] <= first and min(last, len(done)) <= sum(part.slice)
            done[first:last, ky : ky + rows, kx : kx + cols] += 1
        assert (done == 1).all()
    covered = [c for tile in p.filter_tiles for c in range(tile.first, tile.first + tile.count)]
    assert covered == list(range(p.shape.out_channels))
    for (_, values) in sets.registers(p.positions, p.slice_passes).items():
        assert min(values.values()) >= 0


@pytest.mark.parametrize("seed", range(24))
def test_every_plan_fits_and_is_complete(seed):
    rng = np.random.default_rng(seed)
    rows, cols = (int(v) for v in rng.integers(1, 13, 2))
    cfg = small("row_stationary", rows, cols, lean=seed % 2 == 1)
    cfg = with_stores(
        cfg, input=int(rng.integers(1, 13)), weight=int(rng.integers(1, 100)), output=int(rng.integers(1, 25))
    )
    for layer, source, target in layers(seed):
        shape = ConvShape.of(cfg, layer, source, target)
        found = divisions(shape, OPTIONS, 12)
        assert found
        plans = [p for d in found for p in candidates(d)]
        assert plans
        for p in plans:
            check_plan(p)


def test_parts_of_a_loop_are_even():
    assert spans(11, 3) == [(0, 4), (4, 4), (8, 3)]
    assert spans(5, 5) == [(i, 1) for i in range(5)]


# -- the cheapest ----------------------------------------------------------------------------------------


def every_geometry(cfg: config.Config, kernel: tuple[int, int], stride: tuple[int, int], channels: int, filters: int):
    """All legal geometries of an array for a kernel that is not cut."""
    kh, kw = kernel
    slots = cfg.array.rows // kh
    most_p, most_q = min(cfg.stores.output, filters), min(cfg.stores.input // kw, channels)
    for p, q in product(range(1, most_p + 1), range(1, most_q + 1)):
        if p * q * kw > cfg.stores.weight:
            continue
        for units, chained in product(range(1, slots + 1), repeat=2):
            if units * chained > slots or units > q * kw:
                continue
            for columns, folded in product(range(1, cfg.array.cols + 1), (False, True)):
                for across in range(1, cfg.array.cols // columns + 1):
                    yield RowSets(p, q, kernel, stride, 1, chained, units, columns, across, folded and units > 1)


@pytest.mark.parametrize(
    ("rows", "cols", "kernel", "stride", "channels", "filters", "size"),
    [
        (4, 5, (3, 3), (1, 1), 6, 10, (9, 11)), (6, 4, (3, 2), (2, 1), 5, 9, (10, 8)),
        (3, 3, (1, 1), (2, 2), 7, 6, (9, 9)), (5, 6, (2, 2), (1, 3), 3, 12, (7, 12)),
    ],
)  # fmt: skip
def test_no_geometry_of_the_whole_kernel_is_much_better(rows, cols, kernel, stride, channels, filters, size):
    """Brute force over all geometries with the cycle law: the plan, with all its tiling, is at most 4 % behind."""
    cfg = small("row_stationary", rows, cols)
    net = one_layer(channels, filters, Window(kernel, stride), size=size)
    (conv,) = net.layers
    options = Options(latency=0, bytes_per_cycle=1e6)
    p = row_plan(cfg, conv, net.tensors["x"], net.tensors[conv.output], options)
    _, height, width, _ = net.tensors[conv.output].shape

    def law(s: RowSets) -> float:
        most = min(width, cfg.acc_bank_words // s.sums)
        columns = ceil(width / ceil(width / most))
        jobs = ceil(height / s.output_rows) * ceil(width / columns) * ceil(filters / s.job_filters)
        return jobs * s.passes(channels) * s.pass_cycles(columns, rows, cfg.stores.weight)

    best = min(law(s) for s in every_geometry(cfg, kernel, stride, channels, filters))
    pairs = p.tile_count * len(p.filter_tiles)
    found = pairs * p.passes(1) * sum(
        p.sets_of(k).pass_cycles(p.positions, rows, cfg.stores.weight) for k in p.kernels
    )
    overhead = array_cycles(p) * pairs - found
    assert found <= best * 1.04 + overhead


# -- the published chip ----------------------------------------------------------------------------------

ALEXNET = {
    "C1": (227, 3, 96, 11, 4, 0, 1, 154, 16.5),
    "C2": (27, 96, 256, 5, 1, 2, 2, 135, 39.2),
    "C3": (13, 256, 384, 3, 1, 1, 1, 156, 21.8),
    "C4": (13, 384, 384, 3, 1, 1, 2, 156, 16.0),
    "C5": (13, 384, 256, 3, 1, 1, 2, 156, 10.0),
}
"""Size, channels, filters, kernel, stride, padding, groups; the chip's active PEs and milliseconds for four images."""


def alexnet(name: str) -> RowPlan:
    """The plan of one of AlexNet's convolutions, batch 4."""
    cfg = config.load("configs/eyeriss.toml")
    size, channels, filters, kernel, stride, padding, groups, *_ = ALEXNET[name]
    window = Window((kernel, kernel), (stride, stride), (padding,) * 4)
    weight = np.zeros((filters, channels // groups, kernel, kernel), np.int16)
    source = Tensor("x", (4, size, size, channels), 1.0, 0)
    target = Tensor("y", (4, *window.output_size(size, size), filters), 1.0, 0)
    conv = Conv(name, ("x",), "y", weight=weight, window=window, groups=groups)
    return row_plan(cfg, conv, source, target, Options(latency=100, bytes_per_cycle=16))


def milliseconds(p: RowPlan) -> float:
    """The cycle law of a layer at the configuration's clock."""
    cfg = p.shape.cfg
    one = sum(p.sets_of(k).pass_cycles(p.positions, cfg.array.rows, cfg.stores.weight) for k in p.kernels)
    return one * p.passes(p.together) * p.tile_count * len(p.filter_tiles) / cfg.clock_mhz / 1000


@pytest.mark.parametrize("name", ALEXNET)
def test_alexnet_on_the_published_chip(name):
    p = alexnet(name)
    *_, active, most = ALEXNET[name]
    assert p.sets.active == active if name in ("C1", "C3", "C5") else p.sets.active >= active
    assert milliseconds(p) <= most
    assert array_cycles(p) * p.tile_count * len(p.filter_tiles) <= most * 200_000


def test_alexnet_in_all():
    assert sum(milliseconds(alexnet(name)) for name in ALEXNET) <= 103.5


# -- programs at the edges -------------------------------------------------------------------------------

EDGES = {
    "kernel higher than the array": (3, 4, {}, (5, 6, Window((7, 2), padding=(3, 0, 3, 1)), {})),
    "kernel wider than the window store": (4, 4, {"input": 3}, (4, 5, Window((2, 7), padding=(0, 3, 0, 3)), {})),
    "dilated both ways": (5, 4, {}, (4, 5, Window((3, 3), (1, 2), (2, 2, 2, 2), (2, 3)), {"size": (9, 9)})),
    "dilation beyond its field": (5, 4, {}, (2, 3, Window((2, 1), dilation=(17, 1)), {"size": (20, 3)})),
    "stride beyond its field": (4, 4, {}, (2, 3, Window((3, 3), (17, 18)), {"size": (40, 40)})),
    "stride greater than the kernel": (4, 5, {}, (7, 6, Window((1, 2), (3, 3)), {"size": (11, 10)})),
    "stores of one word": (3, 3, {"input": 1, "weight": 1, "output": 1}, (3, 4, Window((2, 2)), {})),
    "depthwise": (6, 5, {}, (9, 9, Window((3, 3), padding=(1, 1, 1, 1)), {"groups": 9})),
    "depthwise, two filters each": (6, 5, {}, (5, 10, Window((3, 3), (2, 2)), {"groups": 5, "size": (9, 9)})),
    "grouped": (7, 5, {}, (12, 8, Window((3, 3)), {"groups": 4})),
    "linear": (6, 5, {}, (130, 70, Window(), {"size": (1, 1)})),
    "linear, a batch": (6, 5, {}, (40, 30, Window(), {"size": (1, 1), "images": 7})),
    "pixels of several images": (4, 4, {}, (11, 13, Window(), {"size": (5, 3), "images": 3})),
    "one row of pixels under a wide kernel": (3, 3, {}, (4, 5, Window((1, 3), padding=(0, 1, 0, 1)), {"size": (1, 9)})),
    "one PE": (1, 1, {}, (5, 4, Window((3, 3), padding=(1, 1, 1, 1)), {})),
}


@pytest.mark.parametrize("name", EDGES)
@pytest.mark.parametrize("lean", [False, True])
def test_programs_at_the_edges(name, lean):
    rows, cols, depths, (channels, filters, window, more) = EDGES[name]
    cfg = with_stores(small("row_stationary", rows, cols, lean=lean), **depths)
    check(one_layer(channels, filters, window, **more), cfg, 1)


def test_channel_groups_share_a_job():
    """Depthwise layers take one INPUT job for many channels, a pass each."""
    cfg = small("row_stationary", 3, 4)
    net = one_layer(12, 12, Window((3, 3)), groups=12)
    program = compile_network(cfg, net, OPTIONS)
    jobs = [job for job in program.jobs if job.unit is isa.Unit.INPUT]
    tiles = program.schedule[0].plan.tile_count
    assert sum(job.registers["bus"]["passes"] for job in jobs) == 12 * tiles
    assert len(jobs) < 12 * tiles / 2


# -- refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "size", "net"),
    [
        ("input_bytes", 64, one_layer(3, 4, Window((9, 9)), size=(9, 9))),
        ("weight_bytes", 16, one_layer(3, 4, Window((2, 5)))),
    ],
)
def test_what_does_not_fit_says_what_would(key, size, net):
    cfg = small("row_stationary", 6, 4)
    (conv,) = net.layers

    def plan_with(size: int) -> RowPlan:
        memory = cfg.memory.model_copy(update={key: size})
        return row_plan(
            cfg.model_copy(update={"memory": memory}), conv, net.tensors["x"], net.tensors[conv.output], OPTIONS
        )

    with pytest.raises(InputError, match=f"layer conv: .* raise memory.{key} in configuration 'tiny'") as error:
        plan_with(size)
    least = int(re.search(r"at least (\d+)", str(error.value)).group(1))
    check_plan(plan_with(least))
    with pytest.raises(InputError):
        plan_with(least - 1)


def test_plans_of_a_cut_kernel_name_their_parts():
    cfg = small("row_stationary", 3, 4)
    net = one_layer(2, 2, Window((7, 2), padding=(3, 0, 3, 0)))
    (conv,) = net.layers
    p = row_plan(cfg, conv, net.tensors["x"], net.tensors[conv.output], OPTIONS)
    assert p.kernel_parts[0] >= 3 and p.summary["kernel_parts"] == list(p.kernel_parts)
    assert {k.rows[0] for k in p.kernels} == {first for first, _ in spans(7, p.kernel_parts[0])}
