"""Compressed activations on the RTL: bit-exact under random stalls."""

from pathlib import Path

import numpy as np
import pytest

from dataflows.config import Config, load, parse
from dataflows.network import Network
from mapper.compile import Program, compile_network
from mapper.conv_plan import Options
from mapper.run import Run, execute
from sim.runner import Dram
from tests.random_layers import random_input
from tests.sparse_networks import sparse_network

ROOT = Path(__file__).parents[2]

ARRAYS = [
    ("weight_stationary", 4, 7, 64, {"run_bits": 4}),
    ("output_stationary", 5, 3, 128, {"run_bits": 2, "blocks": 60}),
    ("input_stationary", 8, 8, 256, {"run_bits": 5, "blocks": 300}),
]


def config(number: int, *, codec: bool = True) -> Config:
    """A small accelerator; odd bursts, little memory."""
    flow, rows, cols, bits, values = ARRAYS[number]
    base = load(ROOT / "configs" / "tiny.toml").model_dump()
    base |= {"name": f"codec{number}" if codec else f"plain{number}", "codec": values if codec else None}
    base["array"] |= {"rows": rows, "cols": cols, "dataflow": flow}
    base["memory"] |= {"acc_bytes": 8 * cols * 128, "operand_bytes": 4096, "param_bytes": 64 * 64}
    base["bus"] |= {"data_bits": bits, "max_write_burst": (16, 3, 16)[number], "max_read_burst": (16, 5, 64)[number]}
    return parse(base, "test")


def compiled(cfg: Config, network: Network, *, fuse: bool = True) -> Program:
    return compile_network(cfg, network, Options(30, cfg.bus_bytes), fuse=fuse)


def run(program: Program, dram: Dram, seed: int, samples: int = 1) -> Run:
    x = np.concatenate([random_input(program.network, seed + i) for i in range(samples)])
    return execute(program, {"x": x}, dram=dram, build_root=ROOT / "build" / "test" / "rtl", seed=seed)


@pytest.mark.parametrize("number", range(len(ARRAYS)))
def test_random_networks(number: int) -> None:
    cfg, rng = config(number), np.random.default_rng(number)
    compressed = 0
    for seed in range(8):
        network = sparse_network(100 * number + seed)
        program = compiled(cfg, network, fuse=seed % 2 == 0)
        compressed += len(program.blocks)
        stall = float(rng.choice([0.0, 0.5]))
        dram = Dram(latency=int(rng.choice([1, 30, 150])), read_stall=stall, write_stall=stall, seed=seed)
        result = run(program, dram, seed, samples=2 if seed % 3 == 0 else 1)
        assert not result.mismatches, f"{network.name}: {result.mismatches[0]}"
    assert compressed >= 16
