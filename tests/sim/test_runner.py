"""The fast runner, on a toy that passes for an accelerator."""

import numpy as np
import pytest

from dataflows.config import Config, load
from dataflows.errors import InputError
from dataflows.isa import Error, Region
from sim.runner import Dram, SimulationError, Simulator
from tests.sim.fst import signal_names
from tests.sim.toy import NEVER_DONE, READ, WRITE, write_verilog

BURST = 16


@pytest.fixture(scope="module")
def cfg() -> Config:
    return load("configs/tiny.toml")


def bases(source: int, target: int, flags: int, marks: int = 0) -> dict[Region, int]:
    return {
        Region.CONSTANT: source,
        Region.OUTPUT: target,
        Region.ACTIVATION: flags << 32 | BURST,
        Region.INPUT: marks,
    }


@pytest.fixture
def simulator(cfg, tmp_path) -> Simulator:
    return Simulator(cfg, write_verilog(cfg, tmp_path), dram=Dram(latency=10), seed=5)


def test_run_returns_cycles_marks_and_counters(simulator, rng):
    memory = rng.integers(0, 256, 1 << 14, dtype=np.uint8)
    table = rng.integers(0, 2**63, (3, 2), dtype=np.uint64)
    memory[:48] = table.view(np.uint8).reshape(-1)
    calls = []
    where = bases(0, 8192, READ | WRITE, marks=3)
    result = simulator.run(6, where, memory, 1000, mark_address=8192, progress=calls.append)
    assert result.error is Error.NONE
    assert result.message == ""
    assert result.marks.tolist() == table.tolist()
    assert 20 < result.cycles < 100
    assert result.dram["read_beats"] == result.dram["write_beats"] == 6
    assert result.cycles_per_second > 0
    assert set(result.counters) >= {"LOAD_WAIT", "STORE_STALL", "SEMAPHORE_15_WAIT", "READ_BEATS"}


def test_runs_repeat_and_follow_the_memory(simulator):
    memory = np.zeros(1 << 14, np.uint8)
    first = simulator.run(200, bases(0, 8192, READ), memory, 1000)
    assert simulator.run(200, bases(0, 8192, READ), memory, 1000).cycles == first.cycles
    simulator.configure(Dram(latency=10, bytes_per_cycle=4))
    assert simulator.run(200, bases(0, 8192, READ), memory, 1000).cycles == first.cycles + 199


def test_error_is_decoded(cfg, tmp_path):
    simulator = Simulator(cfg, write_verilog(cfg, tmp_path), dram=Dram(fail_reads=range(64, 72)))
    result = simulator.run(20, bases(0, 0, READ), np.zeros(4096, np.uint8), 1000)
    assert result.error is Error.READ_RESPONSE
    assert result.message.startswith("READ_RESPONSE")
    simulator.configure(Dram())
    after = simulator.run(20, bases(0, 0, READ), np.zeros(4096, np.uint8), 1000)
    assert after.error is Error.NONE  # the error state was left by a soft reset
    assert after.dram["read_beats"] == 20


def test_progress_is_called_and_may_stop_the_run(simulator):
    calls = []

    def stop(cycles: int) -> None:
        calls.append(cycles)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulator.run(4, bases(0, 0, NEVER_DONE), np.zeros(4096, np.uint8), 10**12, progress=stop)
    assert calls == sorted(calls)


def test_no_end_is_reported(simulator):
    with pytest.raises(SimulationError, match="no interrupt after 7000 cycles"):
        simulator.run(4, bases(0, 0, NEVER_DONE), np.zeros(4096, np.uint8), 7000)


def test_protocol_violation_stops_the_run(simulator):
    with pytest.raises(SimulationError, match="leaves the memory of 0x1000 bytes"):
        simulator.run(4, bases(4096, 0, READ), np.zeros(4096, np.uint8), 1000)


def test_burst_limits_come_from_the_configuration(cfg, tmp_path):
    bus = cfg.bus.model_copy(update={"max_write_burst": BURST - 1})
    small = cfg.model_copy(update={"bus": bus})
    simulator = Simulator(small, write_verilog(small, tmp_path))
    with pytest.raises(SimulationError, match=f"write burst at 0x0 has {BURST} beats, more than the limit {BURST - 1}"):
        simulator.run(64, bases(0, 0, WRITE), np.zeros(4096, np.uint8), 1000)


def test_verilog_of_another_configuration_is_refused(cfg, tmp_path):
    other = load("configs/ws16.toml").model_copy(update={"name": cfg.name})
    with pytest.raises(InputError, match=f"hash {cfg.hash}, not {other.hash} \\(tiny\\); generate it again"):
        Simulator(other, write_verilog(cfg, tmp_path))


def test_unusable_memory(simulator):
    with pytest.raises(ValueError, match="contiguous array of uint8, not int8"):
        simulator.run(1, {}, np.zeros(64, np.int8), 1000)
    with pytest.raises(ValueError, match="contiguous array of uint8"):
        simulator.run(1, {}, np.zeros(128, np.uint8)[::2], 1000)


def test_waveform(cfg, tmp_path):
    path = tmp_path / "wave.fst"
    simulator = Simulator(cfg, write_verilog(cfg, tmp_path), trace=path, trace_cycles=range(0, 500))
    result = simulator.run(100, bases(0, 0, READ), np.zeros(4096, np.uint8), 1000)
    simulator.close()
    assert result.error is Error.NONE
    names = signal_names(path)
    assert {"clk", "m_axi_araddr", "ar_left"} <= names
