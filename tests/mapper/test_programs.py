"""Programs of random layers, executed by the functional model, give the golden model's bits."""

import numpy as np
import pytest

from dataflows import catalogue, config, isa
from dataflows.formats import ACC_BITS
from dataflows.network import Network, Reshape
from dataflows.packing import pack, unpack
from mapper.compile import Program, compile_network
from mapper.conv_plan import Options
from sim import golden
from tests.isa_model import Machine
from tests.random_layers import random_input, random_network


def small(dataflow: str, rows: int, cols: int, *, lean: bool = False, bits: int = 8) -> config.Config:
    """A small configuration for ``bits``-bit operands; ``lean`` leaves so little memory that everything is tiled."""
    base = config.load("configs/tiny.toml").model_dump()
    base["array"] = {"rows": rows, "cols": cols, "dataflow": dataflow}
    depths = {"input": 12, "weight": 48, "output": 6} if lean else {"input": 12, "weight": 224, "output": 24}
    base["stores"] = {operand.value: depths[operand.value] for operand in catalogue.get(dataflow).stores}
    kib = 1024
    acc = cols * ACC_BITS[bits] // 8
    sizes = (2 * kib, kib, 32 * acc, kib, kib) if lean else (16 * kib, 8 * kib, 256 * acc, 4 * kib, 4 * kib)
    base["numbers"] = {"act_bits": bits}
    flow = catalogue.get(dataflow)
    widest = max(8, cols, flow.input_elements(rows, cols), flow.weight_elements(rows, cols))
    granule = 2 * config.ceil_pow2(widest * bits // 8)
    names = ("input_bytes", "weight_bytes", "acc_bytes", "operand_bytes", "param_bytes")
    pairs = zip(names, sizes, strict=True)
    base["memory"] = {n: s if n == "acc_bytes" else -(-s * bits // 8 // granule) * granule for n, s in pairs}
    return config.parse(base, "test")


def bases_of(program: Program) -> tuple[dict[isa.Region, int], int]:
    """Regions one after the other, and the bytes they take."""
    bases, position = {}, 0
    for region in isa.Region:
        bases[region] = position
        position += -(-program.region_bytes[region] // 64) * 64 + 64
    return bases, position


def execute(program: Program, x: np.ndarray) -> dict[str, np.ndarray]:
    """Every tensor after a run of the functional model."""
    bases, size = bases_of(program)
    dram = np.random.default_rng(5).integers(0, 256, size, np.uint8)
    dram[bases[isa.Region.CONSTANT] :][: program.constants.size] = program.constants
    (source,) = program.network.inputs
    place = program.places[source]
    raw = pack(x, program.network.tensors[source].bits)
    dram[bases[place.region] + place.offset :][: raw.size] = raw.ravel()
    machine = Machine(program.cfg, dram, bases)
    machine.run(program.words)
    machine.finished()
    out = {}
    for name, tensor in program.network.tensors.items():
        place = program.places[name]
        start = bases[place.region] + place.offset
        raw = dram[start : start + tensor.bytes].reshape(*tensor.shape[:3], tensor.pitch)
        out[name] = unpack(raw, tensor.shape[3], tensor.bits)
    return out


def check(network: Network, cfg: config.Config, seed: int, *, fuse: bool = True) -> None:
    """Compile, execute, compare every tensor that leaves the chip."""
    program = compile_network(cfg, network, Options(bytes_per_cycle=cfg.bus_bytes), fuse=fuse)
    check_program(program, random_input(network, seed))


def check_program(program: Program, x: np.ndarray) -> None:
    """Execute, compare every tensor that leaves the chip."""
    network = program.network
    found, wanted = execute(program, x), golden.run(network, {network.inputs[0]: x})
    for entry in program.schedule:
        if not isinstance(entry.layer, Reshape):
            name = entry.output
            np.testing.assert_array_equal(found[name], wanted[name], err_msg=f"{network.name} {entry.layer}")


FLOWS = ("weight_stationary", "output_stationary", "input_stationary", "no_local_reuse")
"""Dataflows that multiply matrices."""

MAPPED = (*FLOWS, "row_stationary", "output_stationary_plane")
"""Dataflows that layers can be mapped to."""


@pytest.mark.parametrize("flow", MAPPED)
@pytest.mark.parametrize("seed", range(12))
def test_random_networks(flow: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, cols = (int(v) for v in rng.integers(1, 10, 2))
    network = random_network(seed)
    check(network, small(flow, rows, cols), seed, fuse=seed % 2 == 0)


@pytest.mark.parametrize("flow", MAPPED)
@pytest.mark.parametrize("seed", range(100, 104))
def test_random_networks_in_little_memory(flow: str, seed: int) -> None:
    check(random_network(seed, most_channels=12, most_size=8), small(flow, 4, 4, lean=True), seed)


@pytest.mark.parametrize("flow", MAPPED)
@pytest.mark.parametrize("seed", range(200, 216))
def test_random_networks_of_16_bits(flow: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, cols = (int(v) for v in rng.integers(1, 10, 2))
    lean = seed % 4 == 3
    network = random_network(seed, 12, 8, 16) if lean else random_network(seed, bits=16)
    check(network, small(flow, 4 if lean else rows, 4 if lean else cols, lean=lean, bits=16), seed, fuse=seed % 2 == 0)


@pytest.mark.parametrize(
    ("seed", "flow", "rows", "cols"), [(185, "input_stationary", 10, 8), (21, "weight_stationary", 4, 4)]
)
def test_tiles_inside_padding_and_weights_that_stay(seed: int, flow: str, rows: int, cols: int) -> None:
    """A tile of padding rows only; resident weights that would wrap around the end of the buffer."""
    check(random_network(seed), small(flow, rows, cols, lean=seed == 185), seed)
