"""The documentation: the tutorial runs, generated pages say what is declared, nothing is left out of the index."""

import ast
import importlib
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from dataflows import isa
from mapper import api, api_options, stages
from tests.mapper.fake_rtl import FakeRtl

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module


def test_the_tutorial(load, monkeypatch, tmp_path, root):
    """Every cell runs; hardware is replaced by the golden model (``make docs`` takes the RTL)."""
    fake = FakeRtl()
    monkeypatch.setattr(stages, "simulation", lambda: fake)
    monkeypatch.setattr(api_options, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(api, "KEPT", tmp_path / "kept")
    (tmp_path / "configs").symlink_to(root / "configs")
    page = load("tutorial_page").tutorial(DOCS / "tutorial.py", tmp_path)
    assert page.startswith("# From a model to the hardware") and page.count("```python") == 7
    shares = {kind: float(share) for kind, share in re.findall(r"(float|golden) model: ([\d.]+)%", page)}
    assert shares["float"] > 85 and abs(shares["float"] - shares["golden"]) < 3
    assert "every bit right: True" in page and "--bits 3: tiny takes operands of 8 bits" in page
    assert (tmp_path / "build" / "map" / "tutorial" / "digits_network.c").exists()


def test_cells(load):
    found = list(load("tutorial_page").cells("# %% [markdown]\n# # Title\n#\n# text\n\n# %%\nx = 1  # one\n"))
    assert found == [(True, "# Title\n\ntext"), (False, "x = 1  # one")]


def test_generated_pages(load, root):
    pages = load("pages").pages(root)
    assert all(f"| 0x{r.address:03x} | {r.name} |" in pages["reference/registers.md"] for r in isa.HOST_REGISTERS)
    assert "| `rows` | integer |" in pages["reference/configuration.md"]
    assert "--calibration" in pages["reference/command_line.md"] and "--schema" in pages["reference/command_line.md"]
    for path in (root / "configs").glob("*.toml"):
        assert f"reference/registers/{path.stem}.md" in pages
    documented = re.findall(r"automodule:: (\S+)\n   :members:", "".join(pages.values()))
    assert len(set(documented)) == len(documented) and {"mapper.api", "dataflows.isa", "rtl.top"} <= set(documented)


def test_the_index_names_every_guide():
    text = (DOCS / "index.md").read_text("utf-8")
    guides = {path.stem for path in DOCS.glob("*.md")} - {"index"}
    assert not {guide for guide in guides if not re.search(rf"^{guide}$", text, re.MULTILINE)}


def test_the_example_of_a_dataflow(root):
    """The file that the how-to shows is the one that is there."""
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "howto.md").read_text("utf-8"), re.DOTALL)
    shown = ast.dump(ast.parse("\n".join(line.removeprefix("   ") for line in code.splitlines())))
    there = ast.parse((root / "dataflows" / "weight_stationary.py").read_text("utf-8"))
    assert shown == ast.dump(ast.Module(there.body[1:], []))


@pytest.mark.regress
@pytest.mark.skipif(find_spec("furo") is None, reason="Sphinx is not installed (make docs)")
def test_html(root):
    subprocess.run([sys.executable, DOCS / "build.py"], cwd=root, check=True)
