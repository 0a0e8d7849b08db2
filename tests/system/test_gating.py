"""Zero gating on the RTL: the same bits, the same cycles, and a count of every multiplication that is left out."""

from pathlib import Path

import numpy as np
import pytest

from dataflows import isa
from dataflows.config import Config, parse
from dataflows.network import Network, Window
from mapper.compile import Program, compile_network
from mapper.conv_plan import Options
from mapper.run import execute
from sim.runner import Dram
from tests.isa_model import Machine
from tests.mapper.test_programs import bases_of
from tests.random_layers import activation, convolution, random_input
from tests.system import regression

ROOT = Path(__file__).parents[2]


def configuration(gating: bool) -> Config:
    """A small row-stationary array for 16-bit operands; the one with gating is built for the random regression, too."""
    cfg = regression.configuration(14)
    if gating:
        return cfg
    values = cfg.model_dump(exclude_none=True)
    values["array"]["zero_gating"] = False
    return parse(values | {"name": "no_gating"}, "test")


def program(cfg: Config) -> Program:
    """Two layers with borders, of which the first reads zeros."""
    rng = np.random.default_rng(3)
    x = activation(rng, "x", (2, 9, 7, 5), cfg.numbers.act_bits)
    first, y = convolution(rng, "first", x, 10, 1, Window((3, 3), padding=(1, 1, 1, 1)))
    second, z = convolution(rng, "second", y, 6, 1, Window((1, 2), stride=(2, 1)))
    network = Network("gating", {t.name: t for t in (x, y, z)}, (first, second), ("x",), (z.name,))
    return compile_network(cfg, network, Options(20, cfg.bus_bytes))


def inputs(compiled: Program, share: float) -> np.ndarray:
    """Random inputs, a share of them zero."""
    x = random_input(compiled.network, 1)
    return np.where(np.random.default_rng(2).random(x.shape) < share, 0, x).astype(x.dtype)


def expected(compiled: Program, x: np.ndarray) -> int:
    """Multiplications by zero, counted by the functional model."""
    bases, size = bases_of(compiled)
    dram = np.zeros(size, np.uint8)
    place = compiled.places["x"]
    dram[bases[isa.Region.CONSTANT] :][: compiled.constants.size] = compiled.constants
    dram[bases[place.region] + place.offset :][: x.nbytes] = x.view(np.uint8).ravel()
    machine = Machine(compiled.cfg, dram, bases)
    machine.run(compiled.words)
    return machine.gated


@pytest.mark.parametrize("share", [0.0, 0.7, 1.0])
def test_every_gated_multiplication_is_counted(share: float) -> None:
    cycles = []
    for gating in (True, False):
        compiled = program(configuration(gating))
        x = inputs(compiled, share)
        run = execute(compiled, {"x": x}, dram=Dram(20), build_root=ROOT / "build" / "test" / "rtl")
        assert not run.mismatches
        cycles.append(run.cycles)
        count = expected(compiled, x)
        assert run.counters["GATED"] == count
        least = share * compiled.network.macs(compiled.network.layers[0]) / 2  # its borders need not be zero
        assert count >= least if gating else count == 0
    assert cycles[0] == cycles[1]
