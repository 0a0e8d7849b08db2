"""One small network of mixed precision as a program, for tests of the buses: all widths of a fusion array."""

from __future__ import annotations

from functools import cache

import numpy as np

from dataflows.config import Config, load, parse
from dataflows.network import Add, Network, Window
from mapper.compile import Program, compile_network
from mapper.conv_plan import Options
from tests.mixed_networks import Draw, Limits, mixed_input
from tests.system.small import BUS, CONTROL, ROOT, Small, prepare

LIMITS = Limits(operands=(2, 4, 8), activations=(2, 4, 8), ternary=False)


@cache
def configuration() -> Config:
    """``configs/tiny.toml`` with 3x4 fusion units, impatient, and with little of everything in control and bus."""
    values = load(ROOT / "configs" / "tiny.toml").model_dump()
    values["name"] = "system_mixed"
    values["array"] = {"rows": 3, "cols": 4, "dataflow": "weight_stationary"}
    values["multiplier"] = {"kind": "fusion"}
    values["control"] |= CONTROL
    values["bus"] |= BUS
    return parse(values, "tests/system/mixed.py")


def network() -> Network:
    """8/4, 4/2 and 2/8 bits, a sum of 8 and 2 bits in 4; channels fill whole bytes, as all bytes are compared."""
    d = Draw(11, LIMITS)
    three = Window((3, 3), padding=(1, 1, 1, 1))
    x = d.tensor("x", (1, 5, 4, 8), array=True, bits=8)
    a = d.convolution("a", x, 12, 1, three, array=True, bits=4, weight_bits=4)
    b = d.convolution("b", a, 16, 1, Window(), array=True, bits=2, weight_bits=2)
    c = d.convolution("c", b, 16, 2, three, array=True, bits=8, weight_bits=8)
    out = d.tensor("out", b.shape, array=False, bits=4)
    d.layers.append(Add("add", (c.name, b.name), out.name, out.lowest, out.highest))
    # what is added is handed out, too: so it leaves the chip
    return Network("mixed", d.tensors, tuple(d.layers), ("x",), (c.name, out.name))


@cache
def _program() -> Program:
    cfg = configuration()
    return compile_network(cfg, network(), Options(bytes_per_cycle=cfg.bus_bytes))


def mixed(seed: int = 0) -> Small:
    """The network's program with an input of its own for every seed."""
    program = _program()
    x: np.ndarray = mixed_input(program.network, seed)
    return prepare(program, x, seed)
