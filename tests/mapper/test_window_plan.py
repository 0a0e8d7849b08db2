"""Layers as windows in the vector unit: which, in which jobs, and their programs on the functional model."""

import numpy as np
import pytest

from dataflows import config, isa
from dataflows.config import Config
from dataflows.network import Add, Conv, MaxPool, Network, Tensor, Window
from mapper.compile import compile_network
from mapper.conv_plan import Options
from mapper.window_plan import WindowPlan, window_plan
from tests.mapper.test_programs import FLOWS, check, small
from tests.random_layers import activation, convolution


def with_windows(flow: str, rows: int, cols: int, words: int, *, lean: bool = False) -> Config:
    """A small configuration whose windows take rows of ``words`` words."""
    values = small(flow, rows, cols, lean=lean).model_dump()
    return config.parse(values | {"vector": {"window_words": words}}, "test")


def one_layer(rng: np.random.Generator, shape: tuple[int, int, int, int], w: Window, *, pool: bool = False) -> Network:
    """A depthwise convolution or a maximum."""
    x = activation(rng, "x", shape)
    if pool:
        y = Tensor("y", (shape[0], *w.output_size(*shape[1:3]), shape[3]), x.scale, x.zero)
        layer: Conv | MaxPool = MaxPool("pool", ("x",), "y", window=w)
    else:
        layer, y = convolution(rng, "depthwise", x, shape[3], shape[3], w)
    return Network("one", {x.name: x, y.name: y}, (layer,), ("x",), (y.name,))


def planned(network: Network, cfg: Config, latency: int = 1) -> WindowPlan | None:
    layer, tensors = network.layers[0], network.tensors
    options = Options(latency, cfg.bus_bytes)
    return window_plan(cfg, options, layer, tensors[layer.inputs[0]], tensors[layer.output])


@pytest.mark.parametrize("seed", range(40))
def test_random_layers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, cols = (int(v) for v in rng.integers(1, 10, 2))
    cfg = with_windows(FLOWS[seed % len(FLOWS)], rows, cols, int(rng.integers(3, 120)), lean=seed % 4 == 0)
    pool = rng.random() < 0.3
    kernel = (3, 3) if pool or rng.random() < 0.5 else (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    top, left, bottom, right = (int(rng.integers(0, kernel[i % 2])) for i in range(4))
    w = Window(kernel, (int(rng.integers(1, 4)), int(rng.integers(1, 4))), (top, left, bottom, right))
    shape = (int(rng.integers(1, 3)), int(rng.integers(3, 14)), int(rng.integers(3, 14)), int(rng.integers(1, 40)))
    check(one_layer(rng, shape, w, pool=pool), cfg, seed)


@pytest.mark.parametrize("rows", range(1, 9))
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_chunks_complete_each_output_row_once(rows: int, stride: int) -> None:
    """An output row belongs to the chunk that holds the last of its three input rows."""
    for outputs in (1, 2, 5):
        height = (outputs - 1) * stride + 3
        found = []
        for chunk in WindowPlan(height, 9, 4, rows, (stride, 1)).chunks():
            assert chunk.skip <= 2
            lasts = range(chunk.first + chunk.skip, chunk.end, stride)
            assert len(lasts) == chunk.out_count
            found += [(chunk.out_first + i, last) for i, last in enumerate(lasts)]
        assert found == [(i, i * stride + 2) for i in range(outputs)]


@pytest.mark.parametrize(("w", "pool", "expected"), [
    (Window((3, 3)), False, True),
    (Window((3, 3), (2, 2), (0, 1, 1, 0)), True, True),
    (Window((1, 3)), False, True),
    (Window((1, 1)), False, False),  # nothing to keep
    (Window((5, 5)), False, False),
    (Window((3, 3), dilation=(2, 2)), False, False),
    (Window((3, 1), dilation=(1, 2)), False, True),  # a single column has no distance
    (Window((2, 2), (2, 2)), True, False),  # a tap of weight zero could be the largest
    (Window((3, 3), (4, 1)), False, False),  # more words than the array has taps
    (Window((2, 2), (3, 2)), False, False),
])  # fmt: skip
def test_which_windows_suit(w: Window, pool: bool, expected: bool) -> None:
    network = one_layer(np.random.default_rng(0), (1, 12, 12, 9), w, pool=pool)
    assert (planned(network, with_windows("weight_stationary", 4, 4, 99)) is not None) is expected
    assert planned(network, small("weight_stationary", 4, 4)) is None  # no windows in this one


def test_other_convolutions_stay_on_the_array() -> None:
    rng = np.random.default_rng(1)
    x = activation(rng, "x", (1, 9, 9, 6))
    for outputs, groups in ((6, 1), (12, 6), (6, 3)):
        conv, y = convolution(rng, "conv", x, outputs, groups, Window((3, 3)))
        network = Network("one", {x.name: x, y.name: y}, (conv,), ("x",), (y.name,))
        assert planned(network, with_windows("weight_stationary", 4, 4, 99)) is None


def test_what_limits_a_job() -> None:
    """Words of a row, parameter entries and the operand buffer; slices of channels only if a long row is read fast."""
    def plan(shape: tuple[int, int, int, int], words: int, latency: int = 1) -> WindowPlan | None:
        network = one_layer(np.random.default_rng(0), shape, Window((3, 3), padding=(1, 1, 1, 1)))
        return planned(network, with_windows("weight_stationary", 4, 4, words), latency)

    whole = plan((1, 8, 8, 40), 100)
    assert whole is not None and (whole.width, whole.channels, whole.height) == (10, 40, 10)
    sliced = plan((1, 8, 8, 40), 99)
    assert sliced is not None and sliced.channels == 20
    assert plan((1, 8, 8, 40), 99, latency=2000) is None
    assert plan((1, 8, 8, 4), 9) is None  # not even one word per column
    assert plan((1, 8, 300, 4), 400) is not None
    assert plan((1, 8, 1100, 4), 2000) is None  # a row is larger than the operand buffer


def test_a_fused_addition_does_not_meet_windows() -> None:
    """An addition needs the operand buffer, which windows read: it stays a layer of its own."""
    rng = np.random.default_rng(4)
    x = activation(rng, "x", (1, 7, 6, 10))
    w = Window((3, 3), padding=(1, 1, 1, 1))
    conv, y = convolution(rng, "depthwise", x, 10, 10, w)
    out = activation(rng, "out", y.shape)
    layers = (conv, Add("add", ("x", y.name), "out"))
    network = Network("two", {t.name: t for t in (x, y, out)}, layers, ("x",), ("out",))
    cfg = with_windows("weight_stationary", 4, 4, 60)
    program = compile_network(cfg, network, Options())
    assert [(e.engine, e.absorbed) for e in program.schedule] == [("vector window", ()), ("vector", ())]
    check(network, cfg, 4)


def test_nothing_is_loaded_twice() -> None:
    """Each byte of the image enters the chip once, however many jobs there are."""
    network = one_layer(np.random.default_rng(0), (2, 21, 9, 30), Window((3, 3), (2, 1), (1, 1, 1, 1)))
    cfg = with_windows("weight_stationary", 4, 4, 99, lean=True)
    program = compile_network(cfg, network, Options(1, 8))
    loads = [j.registers for j in program.jobs if j.unit is isa.Unit.LOAD and "source" in j.registers]
    image = [r for r in loads if r["source"]["region"] == isa.Region.INPUT]
    assert len(image) > 4
    assert sum(r["row"]["bytes"] * np.prod([r[n]["count"] for n in ("row_a", "row_b", "row_c")]) for r in image) == (
        network.tensors["x"].size
    )
