"""The accelerator on its buses: cocotb with cocotbext-axi as the other side."""

import pytest

from sim.cocotb_runner import run_cocotb
from tests.system import mixed, pruned
from tests.system.small import configuration, verilog


@pytest.mark.parametrize("module", ["cocotb_registers", "cocotb_runs", "cocotb_recovery"])
def test_bus(module):
    cfg = configuration()
    assert run_cocotb(cfg, verilog(cfg), f"tests.system.{module}", timeout=120) > 0


def test_sparse_engine_on_the_bus():
    cfg = pruned.configuration()
    assert run_cocotb(cfg, verilog(cfg), "tests.system.cocotb_sparse", timeout=120) > 0


@pytest.mark.regress
def test_mixed_precision_on_the_bus():
    cfg = mixed.configuration()
    assert run_cocotb(cfg, verilog(cfg), "tests.system.cocotb_mixed", timeout=120) > 0
