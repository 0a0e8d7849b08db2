"""Windows of the vector unit on the RTL: against the golden model, and one word per cycle."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dataflows.config import load, parse
from dataflows.network import Network, Window
from mapper.compile import Program, compile_network
from mapper.conv_plan import Options
from mapper.run import Run, execute
from mapper.timing import predict
from sim.runner import Dram
from tests.mapper.test_depthwise_epilogue import inverted, is_inside
from tests.mapper.test_window_plan import one_layer
from tests.random_layers import random_input

ROOT = Path(__file__).parents[2]
LATENCY = 30


def program(shape: tuple[int, int, int, int], window: Window, seed: int = 0, *, pool: bool = False) -> Program:
    """One layer on a small accelerator with little operand memory, so that rows come in many jobs."""
    compiled = mapped(one_layer(np.random.default_rng(seed), shape, window, pool=pool))
    assert [entry.engine for entry in compiled.schedule] == ["vector window"]
    return compiled


def mapped(network: Network) -> Program:
    """The program of a network on that accelerator."""
    values = load(ROOT / "configs" / "tiny.toml").model_dump()
    values |= {"name": "windows", "vector": {"window_words": 90}}
    values["array"] |= {"rows": 4, "cols": 7}
    values["memory"] |= {"acc_bytes": 56 * 64, "param_bytes": 64 * 9, "operand_bytes": 2048}
    cfg = parse(values, "test")
    return compile_network(cfg, network, Options(LATENCY, cfg.bus_bytes))


def run(compiled: Program, dram: Dram, seed: int = 0) -> Run:
    x = random_input(compiled.network, seed)
    return execute(compiled, {"x": x}, dram=dram, build_root=ROOT / "build" / "test" / "rtl", seed=seed)


def layers() -> Iterator[tuple[tuple[int, int, int, int], Window, bool]]:
    """Odd sizes, all strides, lopsided padding, channels that divide nothing, channel slices, batches, tiny images."""
    rng = np.random.default_rng(11)
    for seed in range(24):
        kernel = (3, 3) if seed % 3 else (int(rng.integers(1, 4)), int(rng.integers(2, 4)))
        pad = [int(rng.integers(0, kernel[i % 2])) for i in range(4)]
        stride = (int(rng.integers(1, 3)), int(rng.integers(1, min(kernel[1], 2) + 1))) if kernel[0] > 1 else (1, 1)
        shape = (int(rng.integers(1, 3)), int(rng.integers(3, 20)), int(rng.integers(3, 15)), int(rng.integers(1, 60)))
        yield shape, Window(kernel, stride, (pad[0], pad[1], pad[2], pad[3])), seed % 4 == 1 and kernel == (3, 3)


def test_random_layers() -> None:
    rng = np.random.default_rng(5)
    for seed, (shape, window, pool) in enumerate(layers()):
        stall = float(rng.choice([0.0, 0.5]))
        dram = Dram(latency=int(rng.choice([1, LATENCY, 150])), read_stall=stall, write_stall=stall, seed=seed)
        result = run(program(shape, window, seed, pool=pool), dram, seed)
        assert not result.mismatches, f"{shape} {window}: {result.mismatches[0]}"


@pytest.mark.parametrize(("stride", "bound"), [(1, 2.0), (2, 1.25)])
def test_a_word_per_cycle(stride: int, bound: float) -> None:
    """What limits is the memory: a byte read and ``1 / stride**2`` bytes written per byte of the bus, or the lanes."""
    compiled = program((1, 40, 20, 28), Window((3, 3), (stride, stride), (1, 1, 1, 1)))
    result = run(compiled, Dram(latency=LATENCY, bytes_per_cycle=8))
    assert not result.mismatches
    least = max(42 * 22 * 4, 40 * 20 * 28 / 8 * bound)
    assert least <= result.cycles <= least * 1.2 + 400
    assert result.cycles == predict(compiled, LATENCY, 8).cycles


def test_behind_the_array() -> None:
    """Depthwise layers in the epilogue of the convolution before them: bits, with stalls, and cycles, without."""
    happened = 0
    for seed in range(10):
        rng = np.random.default_rng([8, seed])
        network = inverted(rng, int(rng.integers(1, 3)), int(rng.integers(1, 40)), stride=1 + seed % 2)
        compiled, plain = mapped(network), seed % 2 == 0
        happened += is_inside(compiled)
        stall = 0.0 if plain else 0.5
        result = run(compiled, Dram(latency=LATENCY, read_stall=stall, write_stall=stall, seed=seed), seed)
        assert not result.mismatches, f"{seed}: {result.mismatches[0]}"
        if plain:
            assert result.cycles == predict(compiled, LATENCY, compiled.cfg.bus_bytes).cycles
    assert happened >= 5
