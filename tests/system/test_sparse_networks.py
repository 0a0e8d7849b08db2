"""Networks with sparse layers on the RTL: the golden model's bits, and cycles and DRAM bytes as predicted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dataflows import config
from dataflows.network import Conv, Network
from mapper.compile import Program, compile_network
from mapper.conv_plan import Options
from mapper.part import cut
from mapper.run import execute
from mapper.sparse_plan import SparsePlan
from mapper.timing import predict
from mapper.traffic import traffic
from sim import golden
from sim.runner import Dram
from tests.random_layers import activation, random_input
from tests.random_sparse import classifier, linear, mask_of

EIE4 = config.load("configs/eie4.toml")
ROOT = Path("build/test/rtl")


def run(network: Network, dram: Dram, *, fuse: bool = True, seed: int = 0) -> Program:
    """Compile for eie4, run, compare bits, cycles and DRAM bytes."""
    rate = dram.bytes_per_cycle or EIE4.bus_bytes
    program = compile_network(EIE4, network, Options(dram.latency, rate, "sparse"), fuse=fuse)
    (name,) = network.inputs
    inputs = {name: random_input(replace(network, tensors={"x": network.tensors[name]}), seed)}
    found = execute(program, inputs, dram=dram, build_root=ROOT, seed=seed)
    assert not found.mismatches
    prediction = predict(program, dram.latency, rate, golden.run(network, inputs))
    assert found.cycles == prediction.cycles
    reads, writes = traffic(program, prediction, 1, None)
    assert found.counters["READ_BEATS"] * EIE4.bus_bytes == sum(reads.values()) + program.words.nbytes
    outputs = sum(network.tensors[entry.output].bytes for entry in program.schedule)
    assert sum(writes.values()) == outputs
    return program


@pytest.mark.parametrize("seed", range(4))
def test_convolution_then_classifier(seed):
    program = run(classifier(seed, images=1 + seed % 3), Dram(40, EIE4.bus_bytes), fuse=seed % 2 == 0, seed=seed)
    assert [entry.engine for entry in program.schedule] == ["array", "sparse", "sparse"]


@pytest.mark.parametrize(
    ("rows", "columns", "images", "tiles"),
    [
        (120, 700, 1, "columns"),  # sums stay in the engine from tile to tile
        (120, 700, 5, "columns"),  # sums of five vectors add up in the accumulators
        (300, 60, 3, "rows"),  # more rows than the engine has sums
        (300, 700, 2, "both"),
    ],
)
def test_tiles(rows, columns, images, tiles):
    rng = np.random.default_rng([rows, columns])
    x = activation(rng, "x", (images, 1, 1, columns))
    layer, target = linear(rng, "fc", x, mask_of(rng, rows, columns, 0.3), 15)
    network = Network("tiles", {"x": x, target.name: target}, (layer,), ("x",), (target.name,))
    program = run(network, Dram(30, 4))
    plan = program.schedule[0].plan
    assert isinstance(plan, SparsePlan)
    assert (len(plan.row_tiles) > 1, len(plan.column_tiles) > 1) == (tiles != "columns", tiles != "rows")


def test_part_of_a_network():
    """Layers cut out of a network run alone: the first sparse layer, which reads what a reshape left."""
    network = classifier(2, images=2)
    first = [layer.name for layer in network.layers].index("fc0")
    assert isinstance(network.layers[first], Conv)
    part = cut(network, first, first, {})
    program = run(part, Dram(25, EIE4.bus_bytes))
    assert [entry.engine for entry in program.schedule] == ["sparse"]
