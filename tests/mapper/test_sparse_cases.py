"""The cases of the random regression, and more of their kind, on the functional model: programs without hardware."""

import numpy as np
import pytest

from dataflows.network import Conv
from mapper.image import Image
from sim import golden
from tests.isa_model import Machine
from tests.pruned_networks import pruned_input
from tests.system.sparse_regression import compiled

CASES = range(16)


@pytest.mark.parametrize("number", range(12))
def test_random_pruned_layers(number):
    engines = []
    for case in CASES:
        program = compiled(number, case)[0]
        network = program.network
        x = pruned_input(network, case)
        image = Image.of(program)
        memory = image.memory(case)
        image.write(memory, "x", x)
        guards = image.guards(memory).copy()
        Machine(program.cfg, memory, image.bases).run(program.words)
        expected = golden.run(network, {"x": x})
        for entry in program.schedule:
            found = image.read(memory, entry.output)
            assert np.array_equal(found, expected[entry.output]), f"case {case}: {entry.output}"
        assert np.array_equal(guards, image.guards(memory)), f"case {case}: written outside"
        engines += [entry.engine for entry in program.schedule if isinstance(entry.layer, Conv)]
    assert engines.count("sparse") > len(engines) / 2 and "array" in engines
