"""The cocotb runner: passes, failures and hangs are told apart."""

import pytest

from dataflows.config import Config, load
from sim.cocotb_runner import CocotbError, run_cocotb
from tests.sim.toy import write_verilog

MODULE = "tests.sim.cocotb_toy"


@pytest.fixture(scope="module")
def cfg() -> Config:
    return load("configs/tiny.toml")


def test_passes(cfg, tmp_path):
    assert run_cocotb(cfg, write_verilog(cfg, tmp_path), MODULE, {}, 60) == 2


def test_failure_shows_the_assertion(cfg, tmp_path):
    with pytest.raises(CocotbError, match=r"1 of 2 tests failed(.|\n)*told to fail"):
        run_cocotb(cfg, write_verilog(cfg, tmp_path), MODULE, {"TOY_BEHAVIOUR": "fail"}, 60)


def test_a_hang_is_stopped(cfg, tmp_path):
    with pytest.raises(CocotbError, match="stopped after 4 s"):
        run_cocotb(cfg, write_verilog(cfg, tmp_path), MODULE, {"TOY_BEHAVIOUR": "hang"}, 4)


def test_missing_module(cfg, tmp_path):
    with pytest.raises(CocotbError, match="no_such_module"):
        run_cocotb(cfg, write_verilog(cfg, tmp_path), "no_such_module", {}, 60)
