"""Compressed activations on the RTL: bit-exact under random stalls, bytes on the bus as the golden data says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dataflows import isa
from dataflows.config import Config, load, parse
from dataflows.network import Conv, Network
from mapper.compile import Program, compile_network
from mapper.conv_plan import Options
from mapper.nests import ROWS, addresses
from mapper.run import Run, execute
from mapper.timing import Prediction
from mapper.traffic import traffic
from sim.runner import Dram
from tests.pruned_networks import Limits, pruned_input, pruned_network
from tests.random_layers import random_input
from tests.sparse_networks import sparse_network

ROOT = Path(__file__).parents[2]

ARRAYS = [
    ("weight_stationary", 4, 7, 64, {"run_bits": 4}),
    ("output_stationary", 5, 3, 128, {"run_bits": 2, "blocks": 60}),
    ("weight_stationary", 6, 5, 64, {"run_bits": 5, "level_bits": 16}),
]


def config(number: int) -> Config:
    """A small accelerator; odd bursts, little memory."""
    flow, rows, cols, bits, values = ARRAYS[number]
    base = load(ROOT / "configs" / "tiny.toml").model_dump()
    base |= {"name": f"codec{number}", "codec": values}
    base["numbers"] = {"act_bits": values.get("level_bits", 8)}
    if number == 0:
        base["sparse"] = {"pes": 14, "weight_bytes": 1024, "pointer_bytes": 512, "accumulators": 8}
    base["array"] |= {"rows": rows, "cols": cols, "dataflow": flow}
    base["memory"] |= {"acc_bytes": 96 * cols * 16, "operand_bytes": 4096, "param_bytes": 128 * 64}
    base["bus"] |= {"data_bits": bits, "max_write_burst": (16, 3, 16)[number], "max_read_burst": (16, 5, 16)[number]}
    return parse(base, "test")


def compiled(cfg: Config, network: Network, *, fuse: bool = True) -> Program:
    return compile_network(cfg, network, Options(30, cfg.bus_bytes), fuse=fuse)


def run(program: Program, dram: Dram, seed: int, samples: int = 1) -> Run:
    x = np.concatenate([random_input(program.network, seed + i) for i in range(samples)])
    return execute(program, {"x": x}, dram=dram, build_root=ROOT / "build" / "test" / "rtl", seed=seed)


@pytest.mark.parametrize("number", [1, *(pytest.param(number, marks=pytest.mark.regress) for number in (0, 2))])
def test_random_networks(number: int) -> None:
    cfg, rng = config(number), np.random.default_rng(number)
    compressed = 0
    for seed in range(6):
        network = sparse_network(100 * number + seed, bits=cfg.numbers.act_bits)
        program = compiled(cfg, network, fuse=seed % 2 == 0)
        compressed += len(program.blocks)
        samples = 2 if seed % 3 == 0 else 1
        stall = float(rng.choice([0.0, 0.5]))
        dram = Dram(latency=int(rng.choice([1, 30, 150])), read_stall=stall, write_stall=stall, seed=seed)
        result = run(program, dram, seed, samples)
        assert not result.mismatches, f"{network.name}: {result.mismatches[0]}"
        reads, writes = expected(program, samples, result)
        assert (result.dram["read_bytes"], result.dram["write_bytes"]) == (reads, writes)
    assert compressed >= 12


def test_compressed_activations_of_pruned_layers() -> None:
    """The sparse engine's vectors come through the codec, and its results leave through it."""
    cfg = config(0)
    compressed = set()
    for seed in range(24):
        network = pruned_network(seed, Limits(15, 14))
        options = Options(30, cfg.bus_bytes, "auto" if seed % 4 == 0 else "sparse")
        program = compile_network(cfg, network, options, zeros=dict.fromkeys(network.tensors, 0.7))
        if not program.blocks:
            continue
        stall = 0.5 * (seed % 3 == 0)
        dram = Dram(latency=30, read_stall=stall, write_stall=stall, seed=seed)
        inputs = {"x": pruned_input(network, seed)}
        result = execute(program, inputs, dram=dram, build_root=ROOT / "build" / "test" / "rtl", seed=seed)
        assert not result.mismatches, f"{network.name}: {result.mismatches[0]}"
        for entry in program.schedule:
            if entry.engine == "sparse":
                compressed |= {"read"} if entry.layer.inputs[0] in program.blocks else set()
                compressed |= {"written"} if entry.output in program.blocks else set()
    assert compressed == {"read", "written"}


def expected(program: Program, batches: int, result: Run) -> tuple[int, int]:
    """Bytes read and written: rows of all jobs, the program in whole beats, the mark table."""
    bus, dense = program.cfg.bus_bytes, Prediction()
    for job in program.jobs:
        fill = job.unit is isa.Unit.LOAD and any(r.get("fill") for r in job.registers.values())
        if job.unit not in (isa.Unit.LOAD, isa.Unit.STORE) or fill:
            continue
        read, size = job.unit is isa.Unit.LOAD, job.registers["row"]["bytes"]
        place = job.registers["source" if read else "target"]["address"]
        starts = addresses(job.registers, ROWS, place)
        moved = sum(-(-(start % bus + size) // bus) * bus if read else size for start in starts)
        layers = dense.dram_read_bytes if read else dense.dram_write_bytes
        layers[job.layer] = layers.get(job.layer, 0) + moved
    reads, writes = traffic(program, dense, batches, result.block_words)
    fetched, marks = -(-program.words.nbytes // bus) * bus, isa.MARK_BYTES * len(program.schedule)
    return sum(reads.values()) + batches * fetched, sum(writes.values()) + batches * marks


def test_zeros_save_traffic() -> None:
    """A map of nothing but zeros takes a pair per 4 elements, its run being of two bits: 6 pairs in 8 bytes."""
    network = sparse_network(110)
    first = network.layers[0]
    assert isinstance(first, Conv)
    bias = np.full(first.bias.shape, -(1 << 24), np.int32)
    empty = replace(network, layers=(replace(first, bias=bias), *network.layers[1:]))
    program = compiled(config(1), empty, fuse=False)
    blocks, elements = program.blocks["first_out"], network.tensors["first_out"].size
    result = run(program, Dram(latency=30), 1)
    assert not result.mismatches
    place = program.places["first_out"].offset
    words = [result.block_words[place + offset][0] for offset, *_ in blocks.parts()]
    assert sum(words) <= elements / 4 / 6 + 2 * len(words)
    assert result.dram["write_bytes"] == expected(program, 1, result)[1]
