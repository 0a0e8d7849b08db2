"""Every AXI rule the memory checks is broken once, on purpose."""

import numpy as np
import pytest

from dataflows.config import Config, load
from sim.model import Dram, Model, SimulationError
from tests.sim.toy import (
    BAD_ADDRESS,
    BAD_DATA,
    BAD_DROP,
    BAD_LAST,
    BAD_SIZE,
    READ,
    WRITE,
    toy_model,
    transfer,
)

STALLING = Dram(latency=3, read_stall=0.7, write_stall=0.7, seed=3)


@pytest.fixture(scope="module")
def cfg() -> Config:
    return load("configs/tiny.toml")


@pytest.fixture
def model(cfg, tmp_path) -> Model:
    model = toy_model(cfg, tmp_path)
    model.attach(np.zeros(1 << 14, np.uint8))
    model.configure(STALLING)
    return model


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (READ | BAD_DROP, "arvalid was dropped before arready"),
        (WRITE | BAD_DROP, "wvalid was dropped before wready"),
        (READ | BAD_ADDRESS, "the read address changed while waiting"),
        (WRITE | BAD_DATA, "write data changed while waiting"),
        (WRITE | BAD_LAST, "write burst of 16 beats has wlast set at beat 1"),
        (READ | BAD_SIZE, "read burst at 0x0 has 1 bytes per beat, not 8"),
    ],
)
def test_broken_rule_is_named(model, flags, message):
    with pytest.raises(SimulationError, match=f"AXI protocol violation: cycle [0-9]+: {message}"):
        transfer(model, 256, 16, flags)


@pytest.mark.parametrize("kind", ["read", "write"])
@pytest.mark.parametrize(
    ("address", "burst", "message"),
    [
        (4096 - 64, 16, "burst 0xfc0..0x1040 crosses a 4 kB boundary"),
        (0, 17, "burst at 0x0 has 17 beats, more than the limit 16"),
        ((1 << 14) - 64, 16, "burst 0x3fc0..0x4040 .*"),
    ],
)
def test_bursts_out_of_bounds(model, kind, address, burst, message):
    model.configure(Dram(latency=2), max_read_burst=16, max_write_burst=16)
    with pytest.raises(SimulationError, match=f"{kind} {message}"):
        transfer(model, 17, burst, READ if kind == "read" else WRITE, address, address)


def test_burst_outside_the_memory(model):
    with pytest.raises(SimulationError, match="leaves the memory of 0x4000 bytes"):
        transfer(model, 4, 4, READ, 1 << 14)


def test_correct_bursts_at_the_limits_pass(model):
    model.configure(STALLING, max_read_burst=16, max_write_burst=16)
    transfer(model, 512, 16, READ | WRITE, 0, 4096)
    transfer(model, 16, 16, READ | WRITE, 4096 - 128, (1 << 14) - 128)
