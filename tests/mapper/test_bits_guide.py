"""The user guide's example runs, and gives what it says."""

import re
from pathlib import Path

from dataflows.config import load
from mapper.bit_widths import widths
from mapper.loading import import_model
from tests.mapper.test_bits import FUSION

GUIDE = Path(__file__).parents[2] / "docs" / "bits.md"


def test_the_example(tmp_path, monkeypatch, root):
    cfg = load(root / FUSION)
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    exec(compile(code, str(GUIDE), "exec"), {"__name__": "guide"})
    found = widths(import_model("model.pt2"), cfg).layers
    assert {name: str(precision) for name, precision in found.items()} == {"0": "8/2", "4": "2/2"}
