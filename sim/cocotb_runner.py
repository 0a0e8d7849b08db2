"""cocotb tests on emitted Verilog, from inside pytest.

The simulator executable comes from the build cache, so that all test modules of one configuration share it. It
is started directly, with the environment cocotb's own runner would set, because that runner has no time limit and
makes every signal of the design public, which costs most of the speed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import find_libpython
from cocotb_tools import config as cocotb_config
from cocotb_tools.check_results import get_results

from dataflows.config import Config
from sim.build import build

_LOG_LINES = 60


class CocotbError(AssertionError):
    """A cocotb test failed, crashed or took too long; the message holds the end of its log."""


def run_cocotb(
    cfg: Config,
    verilog: str | Path,
    test_module: str,
    extra_env: Mapping[str, str] | None = None,
    timeout: float = 120.0,
    *,
    seed: int = 1,
) -> int:
    """Run all tests of a cocotb module on a design.

    Parameters
    ----------
    cfg : Config
        Its name is the top module.
    verilog : path
        The emitted file.
    test_module : str
        Importable name of the module holding the ``cocotb.test`` functions.
    extra_env : mapping or None
        Environment variables for the test module.
    timeout : float
        Seconds of real time until the simulation is killed.
    seed : int
        Of Python's random module in the tests, and of the initial values of registers and memories.

    Returns
    -------
    int
        Number of tests that ran and passed, at least 1.

    Raises
    ------
    CocotbError
        With the tail of the log, when a test fails, none is found, or time is over.
    InputError
        When a tool is missing or the Verilog is not legal.
    """
    executable = build(verilog, cfg.name, "cocotb")
    with tempfile.TemporaryDirectory(prefix="cocotb-") as folder:
        results = Path(folder) / "results.xml"
        environment = {
            **os.environ,
            "COCOTB_TEST_MODULES": test_module,
            "COCOTB_TOPLEVEL": cfg.name,
            "COCOTB_RANDOM_SEED": str(seed),
            "COCOTB_RESULTS_FILE": str(results),
            "COCOTB_TRUST_INERTIAL_WRITES": "1",
            "TOPLEVEL_LANG": "verilog",
            "GPI_USERS": f"{find_libpython.find_libpython()};{cocotb_config.pygpi_entry_point()}",
            "PYGPI_PYTHON_BIN": sys.executable,
            "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
            **(extra_env or {}),
        }
        command = [str(executable), "+verilator+rand+reset+2", f"+verilator+seed+{seed % (1 << 31 - 1) or 1}"]
        log, status = _execute(command, environment, Path(folder), timeout)
        if status is None:
            raise CocotbError(f"{test_module}: stopped after {timeout:g} s\n{_tail(log)}")
        if not results.exists():
            raise CocotbError(f"{test_module}: the simulator ended with status {status} and no results\n{_tail(log)}")
        count, failed = get_results(results)
        if failed or not count or status:
            raise CocotbError(f"{test_module}: {failed} of {count} tests failed, status {status}\n{_tail(log)}")
        return count


def _execute(
    command: list[str], environment: Mapping[str, str], folder: Path, timeout: float
) -> tuple[str, int | None]:
    """Run with a time limit; returns the output and the exit status (None: killed)."""
    process = subprocess.Popen(
        command, cwd=folder, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        return process.communicate(timeout=timeout)[0], process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()[0], None
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


def _tail(log: str) -> str:
    """From the first error on if there is one, else the end; never more than fits a screen."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in log.splitlines()]
    first = next((i for i, line in enumerate(lines) if re.search(r"\b(ERROR|CRITICAL|Traceback|%Error)\b", line)), None)
    if first is None or len(lines) - first <= _LOG_LINES:
        return "\n".join(lines[-_LOG_LINES:])
    return "\n".join([*lines[first : first + _LOG_LINES // 2], "...", *lines[-_LOG_LINES // 2 :]])
