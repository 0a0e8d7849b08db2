"""The user guide's example runs, and gives what it says."""

import re
from pathlib import Path

import numpy as np

from mapper.graph import Conv
from mapper.loading import import_model

GUIDE = Path(__file__).parents[2] / "docs" / "compression.md"


def test_the_example(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    exec(compile(code, str(GUIDE), "exec"), {"__name__": "guide"})
    first, second = (node.weight for node in import_model("model.pt2").nodes if isinstance(node, Conv))
    assert np.count_nonzero(first) == round(0.1 * 64 * 32) and np.count_nonzero(second) == 80
    assert len(np.unique(first)) == len(np.unique(second)) == 16
