"""Layers of the vector unit on packed tensors: programs, executed by the functional model, give the golden bits."""

import numpy as np
import pytest

from dataflows.errors import InputError
from dataflows.network import Network
from mapper.compile import compile_network
from mapper.conv_plan import Options
from mapper.image import Image
from sim import golden
from tests.isa_model import Machine
from tests.mapper.packed_vector import KINDS, codes, configuration, layer_network

CONFIGS = {
    "fusion": configuration("fusion"),
    "fusion of 4 lanes": configuration("fusion", 4),
    "binary": configuration("binary"),
    "serial": configuration("serial", operand_bytes=1024),
}


def check(network: Network, cfg, seed: int, **options):
    """Compile, execute, compare all that leaves the chip; returns the program."""
    program = compile_network(cfg, network, Options(bytes_per_cycle=cfg.bus_bytes), **options)
    rng = np.random.default_rng(seed)
    inputs = {name: codes(rng, network.tensors[name]) for name in network.inputs}
    image = Image.of(program)
    memory = image.memory(seed)
    for name, values in inputs.items():
        image.write(memory, name, values)
    guards = image.guards(memory).copy()
    machine = Machine(cfg, memory, image.bases)
    machine.run(program.words)
    assert not machine.out, "bytes left in the stream to STORE"
    expected = golden.run(network, inputs)
    for entry in program.schedule:
        found = image.read(memory, entry.output)
        np.testing.assert_array_equal(found, expected[entry.output], err_msg=f"{network.name} {entry.layer}")
    assert np.array_equal(guards, image.guards(memory)), "written outside"
    return program


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("kind", KINDS)
def test_layers_of_random_widths(kind, name):
    cfg, engines = CONFIGS[name], set()
    for seed in range(12):
        try:
            program = check(layer_network(seed, kind, cfg), cfg, seed)
        except InputError as error:  # a window larger than the memory
            assert "smallest tile" in str(error)
            continue
        engines |= {entry.engine for entry in program.schedule}
    assert kind not in ("window_max", "depthwise") or "vector window" in engines
