"""Depthwise convolutions in the epilogue of the convolution before: the functional model against the golden model."""

from __future__ import annotations

import numpy as np
import pytest

from dataflows import isa
from dataflows.config import Config
from dataflows.errors import InputError
from dataflows.network import Network, Window
from mapper.compile import Program, compile_network
from mapper.conv_plan import Options
from sim import golden
from tests.mapper.test_pool_epilogue import compiled, summed, with_windows
from tests.mapper.test_programs import FLOWS, check_program, execute
from tests.mixed_networks import Draw, Limits, mixed_input
from tests.random_layers import activation, convolution, random_input
from tests.system.mixed_regression import SHORT, configuration

ENGINE = "array + vector window"


def inverted(rng: np.random.Generator, images: int, channels: int, *, stride: int, add: bool = False) -> Network:
    """Expansion (1x1 or 3x3), depthwise layer with any padding, projection; perhaps a sum of expansions."""
    source = activation(rng, "x", (images, int(rng.integers(3, 15)), int(rng.integers(3, 12)), int(rng.integers(1, 9))))
    w = Window((1, 1)) if rng.random() < 0.6 else Window((3, 3), (1, 1), (1, 1, 1, 1))
    layers, tensors = summed(rng, "expand", source, channels, w, add=add)
    wide = tensors[-1]
    kernel = (3, 3) if rng.random() < 0.7 else tuple(int(n) for n in rng.integers(2, 4, 2))
    padding = tuple(int(rng.integers(0, kernel[i % 2])) for i in range(4))
    slide = Window((kernel[0], kernel[1]), (stride, stride), (padding[0], padding[1], padding[2], padding[3]))
    depthwise, thin = convolution(rng, "depthwise", wide, channels, channels, slide)
    project, out = convolution(rng, "project", thin, int(rng.integers(1, 9)), 1, Window((1, 1)))
    layers += [depthwise, project]
    return Network("inverted", {t.name: t for t in [*tensors, thin, out]}, tuple(layers), ("x",), (out.name,))


def is_inside(program: Program) -> bool:
    """Whether the depthwise layer runs behind the expansion."""
    return any(entry.engine == ENGINE for entry in program.schedule)


@pytest.mark.parametrize("flow", FLOWS)
def test_random_networks(flow: str) -> None:
    """Every dataflow, in much and in little memory, one and several images, strides of 1 and 2."""
    happened = 0
    for case in range(8):
        rng = np.random.default_rng([FLOWS.index(flow), case])
        rows, cols = (int(v) for v in rng.integers(2, 6, 2))
        images, channels = int(rng.choice([1, 1, 2])), int(rng.integers(1, 40))
        network = inverted(rng, images, channels, stride=1 + case % 2, add=case % 5 == 4)
        program = compiled(network, with_windows(flow, rows, cols, lean=case % 4 == 3))
        happened += is_inside(program)
        x = random_input(network, case)
        found, wanted = execute(program, x), golden.run(network, {"x": x})
        np.testing.assert_array_equal(found[network.outputs[0]], wanted[network.outputs[0]], err_msg=f"case {case}")
    assert happened >= 2


def test_the_expanded_tensor_never_leaves_the_chip() -> None:
    rng = np.random.default_rng(1)
    network = inverted(rng, 1, 16, stride=1)
    cfg = with_windows("weight_stationary", 4, 4, lean=False)
    inside, apart = (
        compile_network(cfg, network, Options(bytes_per_cycle=cfg.bus_bytes), fuse=fuse) for fuse in (True, False)
    )
    assert is_inside(inside) and not is_inside(apart)
    assert [entry.output for entry in inside.schedule] == ["depthwise_out", "project_out"]

    def moved(program: Program, unit: isa.Unit) -> int:
        rows = [job.registers for job in program.jobs if job.unit is unit and "row" in job.registers]
        return sum(r["row"]["bytes"] * int(np.prod([r[n]["count"] for n in ("row_a", "row_b", "row_c")])) for r in rows)

    size = network.tensors["expand_out"].size
    assert moved(apart, isa.Unit.STORE) - moved(inside, isa.Unit.STORE) == size


def test_results_that_others_need_go_to_memory() -> None:
    """An expanded tensor that the network hands out is stored, so its windows run by themselves."""
    network = inverted(np.random.default_rng(1), 1, 16, stride=1)
    outputs = ("expand_out", *network.outputs)
    again = Network("x", network.tensors, network.layers, network.inputs, outputs)
    assert not is_inside(compiled(again, with_windows("weight_stationary", 4, 4, lean=False)))


def mixed(cfg: Config, seed: int) -> Network:
    """The same three layers, each tensor and the weights of each layer of a width of their own."""
    d = Draw(seed, Limits.of(cfg, 30, 9))
    height, width, inputs, channels = (int(n) for n in d.rng.integers((3, 3, 1, 1), (12, 10, 9, 30)))
    source = d.tensor("x", (1, height, width, inputs), array=True)
    wide = d.convolution("expand", source, channels, 1, Window(), array=False)
    stride = int(d.rng.integers(1, 3))
    thin = d.convolution(
        "depthwise", wide, channels, channels, Window((3, 3), (stride, stride), (1, 1, 1, 1)), array=True
    )
    out = d.convolution("project", thin, 5, 1, Window(), array=False)
    return Network("mixed", d.tensors, tuple(d.layers), ("x",), (out.name,))


def test_narrow_tensors() -> None:
    """Words of packed elements stay on chip as well as bytes."""
    happened = 0
    for number in range(len(SHORT)):
        cfg = configuration(number)
        if cfg.vector is None or min(cfg.operand_bits) == 1:
            continue
        for case in range(3):
            network = mixed(cfg, 10 * number + case)
            try:
                program = compile_network(cfg, network, Options(bytes_per_cycle=cfg.bus_bytes))
            except InputError:  # little memory
                continue
            happened += is_inside(program)
            check_program(program, mixed_input(network, case))
    assert happened >= 3
