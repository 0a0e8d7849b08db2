"""Programs of random networks of mixed precision, executed by the functional model, give the golden model's bits."""

from dataclasses import replace

import numpy as np
import pytest

from dataflows import config
from dataflows.errors import InputError
from mapper.compile import Program, compile_network
from mapper.conv_plan import Options
from tests.mapper.test_programs import check_program
from tests.mixed_networks import mixed_input
from tests.system.mixed_regression import SHORT, candidates, configuration

MOST_REFUSED = 10
"""Networks in a row that a configuration may refuse."""


def fitting(number: int, case: int) -> Program:
    """A network that fits configuration ``number``."""
    cfg = configuration(number)
    networks = candidates(cfg, np.random.default_rng([number, case, 61]))
    reasons = []
    for _ in range(MOST_REFUSED):
        try:
            return compile_network(cfg, next(networks), Options(bytes_per_cycle=cfg.bus_bytes), fuse=case % 2 == 0)
        except InputError as error:
            reasons.append(str(error))
    raise AssertionError("\n".join(reasons))


def check_case(number: int, case: int) -> None:
    """Compile, execute and compare one case."""
    program = fitting(number, case)
    check_program(program, mixed_input(program.network, case))


@pytest.mark.parametrize("number", range(len(SHORT)))
def test_random_networks_of_mixed_precision(number: int) -> None:
    for case in range(4):
        check_case(number, case)


@pytest.mark.regress
@pytest.mark.parametrize("number", range(60))
def test_many_networks_of_mixed_precision(number: int) -> None:
    for case in range(10, 30):
        check_case(number, case)


def test_a_ternary_array_takes_ternary_numbers() -> None:
    cfg = config.load("configs/ternary.toml")
    network = next(candidates(cfg, np.random.default_rng(1)))
    layer, source = network.layers[0], network.tensors["x"]
    wide = replace(network, tensors=network.tensors | {"x": replace(source, ternary=False)})
    with pytest.raises(InputError, match=r"inputs \(x\) of -2 to 1; the multipliers of ternary take -1, 0 and 1"):
        compile_network(cfg, wide, Options())
    heavy = replace(layer, weight=np.full_like(layer.weight, -2))
    with pytest.raises(InputError, match="weights of -2; the multipliers of ternary take -1, 0 and 1"):
        compile_network(cfg, replace(network, layers=(heavy, *network.layers[1:])), Options())
