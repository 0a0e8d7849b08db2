"""cocotb side of ``test_bus``: a network of mixed precision, from the start register to the interrupt."""

import random

import cocotb

from tests.system.cocotb_bench import PERIOD_NS, Bench
from tests.system.mixed import mixed

LIMIT = {"timeout_time": 400_000 * PERIOD_NS, "timeout_unit": "ns"}


@cocotb.test(**LIMIT)
@cocotb.parametrize(seed=[0, 1])
async def with_random_pauses(dut, seed):
    """Without pauses and with pauses on all channels of both buses; one program after the other on one instance."""
    case = mixed(seed)
    bench = await Bench.begin(dut, case.before)
    await bench.run(case)
    bench.pause_randomly(random.Random(seed))
    await bench.run(mixed(seed + 100))
