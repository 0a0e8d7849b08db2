"""The example of the guide to transformers runs, and gives what the guide says."""

import re
from pathlib import Path

from dataflows.config import load
from mapper import stages
from mapper.options import parse
from mapper.progress import Progress

GUIDE = Path(__file__).parents[2] / "docs" / "attention.md"


def test_the_example(tmp_path, monkeypatch, root):
    path = str(root / "configs" / "ws16_attention.toml")
    cfg = load(path)
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    exec(compile(code, str(GUIDE), "exec"), {"__name__": "guide"})
    arguments = parse(["model.pt2", "--config", path, "--calibration", "samples.npz"])
    model = stages.load(arguments, [cfg], Progress())
    rows = stages.schedule(model, cfg, arguments.configs[0], arguments, Progress()).rows
    ops = [row.op for row in rows]
    assert ops.count("attention") == 2 and ops[0] == "embedding" and ops[-1] == "conv"
    assert {row.engine for row in rows if row.op in ("attention", "conv")} == {"array"}
    assert all(row.fused for row in rows if row.op == "conv" and row.shape[-1] == 64)  # GELU costs nothing
