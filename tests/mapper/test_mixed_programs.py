"""Programs of random networks of mixed precision, executed by the functional model, give the golden model's bits."""

import numpy as np
import pytest

from dataflows.errors import InputError
from mapper.compile import Program, compile_network
from mapper.conv_plan import Options
from tests.mapper.test_programs import check_program
from tests.mixed_networks import Limits, mixed_input
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
    check_program(program, mixed_input(program.network, Limits.of(program.cfg), case))


@pytest.mark.parametrize("number", range(len(SHORT)))
def test_random_networks_of_mixed_precision(number: int) -> None:
    for case in range(4):
        check_case(number, case)


@pytest.mark.regress
@pytest.mark.parametrize("number", range(60))
def test_many_networks_of_mixed_precision(number: int) -> None:
    for case in range(10, 30):
        check_case(number, case)
