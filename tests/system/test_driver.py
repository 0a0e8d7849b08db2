"""The C driver against the Verilated accelerator: outputs equal the golden model, every failure is as documented."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from dataflows.errors import InputError
from mapper.c_network import FILES, c_files, c_name
from rtl.driver_files import SOURCES, driver_files
from sim import golden
from sim.c_program import BOARD, STRICT, c_compiler, compile_program
from tests.random_layers import random_input
from tests.system.small import ROOT, Small, configuration, small, verilog

CHECKS = Path(__file__).with_name("driver_checks.c")
STEM = "small"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What the mapper writes for the small network."""
    place = tmp_path_factory.mktemp("driver")
    program = small().program
    for name, data in zip(FILES, (program.words.astype("<u8"), program.constants), strict=True):
        (place / name).write_bytes(data.tobytes())
    for name, text in c_files(program).items():
        (place / name).write_text(text)
    return place


def files(folder: Path, case: Small, seeds) -> np.ndarray:
    """Inputs of some runs in ``in.bin``, what they should give in ``out.bin``; returns the latter."""
    network = case.program.network
    inputs, outputs = [], []
    for seed in seeds:
        x = random_input(network, seed)
        inputs.append(x)
        outputs += [golden.run(network, {"x": x})[name].reshape(-1) for name in network.outputs]
    (folder / "in.bin").write_bytes(np.concatenate(inputs).tobytes())
    expected = np.concatenate(outputs).view(np.uint8)
    (folder / "out.bin").write_bytes(expected.tobytes())
    return expected


def run(program: Path, *words: str) -> subprocess.CompletedProcess:
    return subprocess.run([program, *words], cwd=program.parent, capture_output=True, text=True, timeout=120)


def test_outputs_equal_the_golden_model(folder):
    cfg = configuration()
    program = compile_program(cfg, verilog(cfg).parent, folder, STEM, folder / "run")
    expected = files(folder, small(), range(3))
    done = run(program, "in.bin", "found.bin", "7")
    assert done.returncode == 0 and done.stdout.startswith("runs 3, cycles "), done.stderr
    assert np.array_equal(np.fromfile(folder / "found.bin", np.uint8), expected)
    assert run(program).returncode == 2


def test_every_result_of_the_driver(folder):
    cfg = configuration()
    program = compile_program(cfg, verilog(cfg).parent, folder, STEM, folder / "checks", CHECKS)
    files(folder, small(), [4])
    done = run(program, "in.bin", "out.bin")
    assert done.returncode == 0, done.stderr


def test_the_driver_needs_no_library(tmp_path):
    """Freestanding, without conversions that lose anything, and legal C++."""
    for name, text in driver_files().items():
        (tmp_path / name).write_text(text)
    source = tmp_path / "stationary.c"
    extra = ["-Wconversion", "-Wshadow", "-ffreestanding", "-Os", "-c", source, "-o", tmp_path / "driver.o"]
    subprocess.run([c_compiler(), *STRICT, *extra], check=True)
    symbols = subprocess.run(["nm", "-u", tmp_path / "driver.o"], capture_output=True, text=True, check=True).stdout
    assert not set(symbols.split()) - {"U", "memcpy", "memset", "_GLOBAL_OFFSET_TABLE_"}
    assert {path.name for path in SOURCES.iterdir()} <= set(driver_files())


def test_layouts_are_shared():
    """The structure of the memory's behaviour has the members of the C++ one, in their order."""
    def members(path: Path, name: str) -> list[str]:
        body = path.read_text().split(f"struct {name} {{")[1].split("}")[0]
        return re.findall(r"\w+(?=[,;])", re.sub(r"//.*", "", body))

    ours, theirs = members(BOARD / "model.h", "model_dram"), members(BOARD.parent / "native" / "dram.hpp", "DramConfig")
    assert ours == theirs and len(ours) == 12


def test_names_in_c():
    names = {"digits": "digits", "res-net.18": "res_net_18", "3d": "m3d", "_x": "m_x", "ü": "m_"}
    assert {name: c_name(name) for name in names} == names


def test_a_missing_compiler_is_named(monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(InputError, match="no-such-compiler"):
        c_compiler()


def test_the_guide_compiles(folder):
    cfg = configuration()
    text = (ROOT / "docs" / "driver.md").read_text("utf-8")
    (code,) = re.findall(r"```c\n(.*?)```", text, re.DOTALL)
    code = code.replace("digits_network", f"{STEM}_network").replace('"tiny.h"', f'"{cfg.name}.h"')
    (folder / "guide.c").write_text(code.replace("TINY_HASH", f"{cfg.name.upper()}_HASH"))
    includes = [f"-I{verilog(cfg).parent}", f"-I{folder}"]
    subprocess.run([c_compiler(), *STRICT, "-Wconversion", *includes, "-fsyntax-only", folder / "guide.c"], check=True)
