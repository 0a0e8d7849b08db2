"""On a memory of fixed timing, layers on the sparse engine end in the predicted cycle, whatever stays on chip."""

from pathlib import Path

import numpy as np
import pytest

from dataflows import config
from dataflows.network import Network
from mapper.compile import compile_network
from mapper.conv_plan import Options
from mapper.run import execute
from sim.runner import Dram
from tests.random_layers import activation
from tests.random_sparse import linear
from tests.sparsity import clustered

CFG = config.load("configs/eie4.toml")
ZEROS = (0.5, 0, 1, 0.9)
"""Shares of inputs that are the zero point, by batch."""

CASES = {
    "resident": (1, 100, (60, 30), True),
    "resident, batch": (5, 100, (60,), True),
    "streamed in columns": (1, 1200, (100,), False),
    "streamed in columns, batch": (3, 1200, (100,), False),
    "streamed in rows and columns": (1, 700, (300,), False),
    "streamed in rows and columns, batch": (4, 700, (300, 9), False),
}
"""Images, columns, rows of one layer after the other; whether the first one's entries stay on chip."""


def chain(rng, images, columns, rows):
    """Layers of 30 % density, entries unevenly shared by PEs."""
    layers, tensors = [], [activation(rng, "x", (images, 1, 1, columns), 8)]
    for number, count in enumerate(rows):
        mask = clustered(rng, (count, tensors[-1].shape[-1]), 0.3)
        layer, target = linear(rng, f"layer{number}", tensors[-1], mask, 15)
        layers.append(layer)
        tensors.append(target)
    return Network("chain", {t.name: t for t in tensors}, tuple(layers), ("x",), (tensors[-1].name,))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dram", [Dram(1, 16), Dram(90, 3.3)], ids=lambda dram: f"latency{dram.latency}")
def test_every_batch_takes_the_cycles_of_its_data(name, dram):
    images, columns, rows, resident = CASES[name]
    rng = np.random.default_rng([images, columns])
    network = chain(rng, images, columns, rows)
    program = compile_network(CFG, network, Options(dram.latency, dram.bytes_per_cycle, "sparse"))
    assert [entry.engine for entry in program.schedule] == ["sparse"] * len(rows)
    assert program.schedule[0].plan.resident == resident
    x = rng.integers(-128, 128, (images * len(ZEROS), 1, 1, columns)).astype(np.int8)
    zero = rng.random(x.shape) < np.repeat(ZEROS, images)[:, None, None, None]
    x[zero] = network.tensors["x"].zero
    run = execute(program, {"x": x}, dram=dram, build_root=Path("build/test/rtl"), seed=columns)
    assert not run.mismatches and len(run.predictions) == len(ZEROS)
    assert sum(p.cycles for p in run.predictions) == run.cycles
    assert len({p.cycles for p in run.predictions}) > 1  # where DRAM decides, some are alike
    ends = np.cumsum([run.layer_cycles[entry.index] for entry in program.schedule])
    assert [sum(p.layer_end[entry.index] for p in run.predictions) for entry in program.schedule] == ends.tolist()
