"""The accelerator in a LiteX system: it elaborates on every interconnect, and runs a network there."""

import ctypes
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from dataflows import isa
from rtl.soc.__main__ import main
from sim import verilator
from sim.build import build, harness
from tests.system.small import configuration, small

needs_litex = pytest.mark.skipif(find_spec("litex") is None, reason="LiteX is not installed (pip install '.[litex]')")

MEMORY, REGISTERS = 0x4000_0000, 0x9000_0000
ADDRESS = {register.name: register.address for register in isa.HOST_REGISTERS}
CONFIG = Path("configs/tiny.toml")


def toml(cfg) -> str:
    """A configuration as a file."""
    lines = [f'name = "{cfg.name}"', f"clock_mhz = {cfg.clock_mhz}"]
    for name, section in cfg.model_dump(exclude_none=True, exclude={"name", "clock_mhz"}).items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in section.items())]
    return "\n".join([*lines, ""])


def elaborated(folder: Path, bus: str, config: Path = CONFIG, *more: str) -> list[Path]:
    """Files of a system, made by the command line: LiteX's own warnings are not ours."""
    command = [sys.executable, "-m", "rtl.soc", config, "--out", folder, "--bus", bus, *more]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [Path(line) for line in done.stdout.splitlines()[-2:]]


@needs_litex
@pytest.mark.parametrize("bus", ["wishbone", "axi-lite", "axi"])
def test_it_elaborates(bus, tmp_path):
    files = elaborated(tmp_path, bus)
    assert [path.name for path in files] == ["tiny.v", "system.v"]
    arguments = ["--lint-only", "-Wno-fatal", "-Wno-lint", "-Wno-style", "-Wwarn-PINMISSING", "--top-module", "system"]
    result = verilator.run([*arguments, *files], tmp_path / "tiny")
    assert result.returncode == 0 and "PIN" not in result.stderr, result.stderr[:2000]


class System:
    """The harness of a system as an object."""

    def __init__(self, library: Path):
        self.functions = ctypes.CDLL(str(library))
        self.functions.system_create.restype = ctypes.c_void_p
        self.handle = ctypes.c_void_p(self.functions.system_create())

    def write(self, address: int, data: np.ndarray) -> None:
        for place, word in enumerate(data.view("<u4").tolist()):
            assert self.functions.system_write(self.handle, ctypes.c_uint32(address + 4 * place), word) == 0

    def read(self, address: int, count: int = 4) -> np.ndarray:
        words, value = [], ctypes.c_uint32()
        for place in range(0, count, 4):
            where = ctypes.c_uint32(address + place)
            assert self.functions.system_read(self.handle, where, ctypes.byref(value)) == 0
            words.append(value.value)
        return np.array(words, "<u4").view(np.uint8)

    def set(self, name: str, value: int) -> None:
        self.write(REGISTERS + ADDRESS[name], np.array([value], "<u4"))

    def get(self, name: str) -> int:
        return int(self.read(REGISTERS + ADDRESS[name]).view("<u4")[0])


@needs_litex
@pytest.mark.regress
@pytest.mark.parametrize("bus", ["wishbone", "axi"])
def test_a_network_in_it(bus, tmp_path, monkeypatch):
    """The small network by LiteX's interconnect, memory and width conversion: memory afterwards is the golden one."""
    cfg, case = configuration(), small()
    path = tmp_path / "config.toml"
    path.write_text(toml(cfg))
    files = elaborated(tmp_path, bus, path)
    whole = tmp_path / "whole.v"
    whole.write_text("".join(file.read_text() for file in files))
    monkeypatch.chdir(files[-1].parent)
    library = build(whole, "system", harness(Path(__file__).with_name("litex_harness.cpp")))
    system = System(library)
    assert system.get("HASH_LOW") | system.get("HASH_HIGH") << 32 == cfg.hash_value
    memory = case.before[: case.before.size // 4 * 4]
    system.write(MEMORY, memory)
    for region, base in case.image.bases.items():
        system.set(f"BASE_{region.name}_LOW", MEMORY + base)
    system.set("MARK_LOW", MEMORY + case.image.marks)
    system.set("PROGRAM_WORDS", len(case.program.words))
    system.set("IRQ_ENABLE", 1)
    system.set("CONTROL", 1)
    assert system.functions.system_run(system.handle, ctypes.c_uint64(1_000_000)) == 1
    assert (system.get("STATUS"), system.get("ERROR")) == (2, 0)
    for name in case.program.network.outputs:
        place = case.place(name)
        start, stop = place.start // 4 * 4, -(-place.stop // 4) * 4
        found = system.read(MEMORY + start, stop - start)[place.start - start :][: len(place)]
        assert np.array_equal(found, case.after[place.start : place.stop])
    system.functions.system_destroy(system.handle)


def test_without_litex(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "rtl.soc.example", None)
    assert main([str(CONFIG), "--out", str(tmp_path)]) == 2
    assert "LiteX is not installed; run: make litex" in capsys.readouterr().err
