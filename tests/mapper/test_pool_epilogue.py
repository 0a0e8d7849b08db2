"""Pooling in the epilogue of convolutions: the functional model against the golden model, and that it happens."""

from __future__ import annotations

import numpy as np
import pytest

from dataflows import config
from dataflows.network import Add, AvgPool, Conv, Layer, MaxPool, Network, Tensor, Window
from mapper.compile import Program, compile_network
from mapper.conv_plan import Options
from sim import golden
from tests.mapper.test_programs import FLOWS, execute, small
from tests.random_layers import activation, convolution, random_input

KINDS = {
    "global": ((6, 6), (1, 1), (0, 0, 0, 0)),
    "small map": ((3, 3), (2, 2), (1, 1, 1, 1)),
    "apart": ((2, 2), (2, 2), (0, 0, 0, 0)),
    "slides": ((3, 3), (2, 2), (1, 1, 1, 1)),
    "slides unpadded": ((3, 3), (2, 2), (0, 0, 0, 0)),
    "slides dense": ((3, 3), (1, 1), (1, 0, 2, 1)),
}


def summed(
    rng: np.random.Generator, name: str, source: Tensor, channels: int, w: Window, *, add: bool
) -> tuple[list[Layer], list[Tensor]]:
    """A convolution, perhaps added to another one's result: layers and tensors, the last of these the result."""
    conv, mid = convolution(rng, name, source, channels, 1, w)
    if not add:
        return [conv], [source, mid]
    other, aside = convolution(rng, "other", source, channels, 1, w)
    total = activation(rng, "total", mid.shape)
    return [other, conv, Add("add", (mid.name, aside.name), "total")], [source, mid, aside, total]


def pooled(rng: np.random.Generator, kind: str, images: int, channels: int, *, average: bool, add: bool) -> Network:
    """A convolution, perhaps an addition, and a pooling."""
    kernel, stride, padding = KINDS[kind]
    size = 6 if kind in ("global", "small map") else int(rng.integers(9, 15))
    side = (size, size if kind == "global" else int(rng.integers(5, 12)))
    source = activation(rng, "x", (images, *side, 5))
    w = Window((1, 1)) if rng.random() < 0.3 else Window((3, 3), (1, 1), (1, 1, 1, 1))
    layers, tensors = summed(rng, "conv", source, channels, w, add=add)
    mid = tensors[-1]
    window = Window(mid.shape[1:3] if kind == "global" else kernel, stride, padding)
    shape = (images, *window.output_size(*mid.shape[1:3]), channels)
    if average:
        out = activation(rng, "out", shape)
        divisors = np.full(shape[1:3], window.kernel[0] * window.kernel[1], np.int32)
        divisors[0] = 5  # a row of its own, as borders are
        layers.append(AvgPool("pool", (mid.name,), "out", window=window, divisors=divisors))
    else:
        out = Tensor("out", shape, mid.scale, mid.zero)
        layers.append(MaxPool("pool", (mid.name,), "out", window=window))
    return Network("pooled", {t.name: t for t in [*tensors, out]}, tuple(layers), ("x",), ("out",))


def with_windows(flow: str, rows: int, cols: int, lean: bool) -> config.Config:
    """A configuration with windows in the vector unit."""
    values = small(flow, rows, cols, lean=lean).model_dump()
    return config.parse({**values, "vector": {"window_words": 64}}, "test")


def compiled(network: Network, cfg: config.Config) -> Program:
    return compile_network(cfg, network, Options(bytes_per_cycle=cfg.bus_bytes))


def is_pooled(program: Program) -> bool:
    """Whether the pooling runs in the convolution's epilogue."""
    return any(isinstance(layer, MaxPool | AvgPool) for entry in program.schedule for layer in entry.absorbed)


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("kind", KINDS)
def test_pooled_on_chip(kind: str, flow: str) -> None:
    """Every kind of pooling in every dataflow, in much and in little memory, with and without an addition."""
    rng = np.random.default_rng([list(KINDS).index(kind), FLOWS.index(flow)])
    happened = []
    for case in range(6):
        rows, cols = (int(v) for v in rng.integers(2, 6, 2))
        average = case % 2 == 1 and not kind.startswith("slides")
        images, channels = int(rng.choice([1, 1, 2])), int(rng.integers(1, 14))
        network = pooled(rng, kind, images, channels, average=average, add=case % 3 == 2)
        program = compiled(network, with_windows(flow, rows, cols, lean=case >= 3))
        happened.append(is_pooled(program))
        x = random_input(network, case)
        found, wanted = execute(program, x), golden.run(network, {"x": x})
        np.testing.assert_array_equal(found["out"], wanted["out"], err_msg=f"{kind} {flow} case {case}")
    assert any(happened)


def test_parameters_of_both_fit() -> None:
    """As many blocks of channels as there are parameter entries leave none for the pooling."""
    rng = np.random.default_rng(6)
    cfg = small("weight_stationary", 4, 4)
    network = pooled(rng, "global", 1, 4 * cfg.param_entries, average=True, add=False)
    program = compiled(network, cfg)
    x = random_input(network, 1)
    np.testing.assert_array_equal(execute(program, x)["out"], golden.run(network, {"x": x})["out"])


def test_no_trip_to_memory() -> None:
    """What is pooled on chip is neither written to DRAM nor read from it."""
    rng = np.random.default_rng(3)
    network = pooled(rng, "apart", 1, 8, average=False, add=False)
    program = compiled(network, small("weight_stationary", 4, 4))
    assert is_pooled(program)
    assert {entry.output for entry in program.schedule} == {"out"}
    conv = network.layers[0]
    assert isinstance(conv, Conv)
    stores = [job for job in program.jobs if job.unit.name == "STORE"]
    stored = sum(
        job.registers["row"]["bytes"] * np.prod([job.registers[n]["count"] for n in ("row_a", "row_b", "row_c")])
        for job in stores
    )
    assert stored == network.tensors["out"].size


def test_results_that_others_need_are_not_pooled_away() -> None:
    """A result with a second user, and one that the network hands out, go to DRAM."""
    rng = np.random.default_rng(4)
    network = pooled(rng, "apart", 1, 8, average=False, add=False)
    handed_out = Network("x", network.tensors, network.layers, ("x",), ("conv_out", "out"))
    assert not is_pooled(compiled(handed_out, small("weight_stationary", 4, 4)))
    again = MaxPool("again", ("conv_out",), "again", window=network.layers[1].window)
    tensors = network.tensors | {"again": Tensor("again", *list(vars(network.tensors["out"]).values())[1:])}
    twice = Network("x", tensors, (*network.layers, again), ("x",), ("out", "again"))
    assert not is_pooled(compiled(twice, small("weight_stationary", 4, 4)))
