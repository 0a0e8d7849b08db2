"""The example of the guide to transformers runs, and gives what the guide says."""

import re
from pathlib import Path

from dataflows.config import load
from mapper import stages
from mapper.options import parse
from mapper.progress import Progress

GUIDE = Path(__file__).parents[2] / "docs" / "attention.md"


def run_code(*numbers: int) -> None:
    """Run blocks of code of the guide, one after the other."""
    blocks, names = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL), {"__name__": "guide"}
    for number in numbers:
        exec(compile(blocks[number], str(GUIDE), "exec"), names)


def test_the_example(tmp_path, monkeypatch, root):
    path = str(root / "configs" / "ws16_attention.toml")
    cfg = load(path)
    monkeypatch.chdir(tmp_path)
    run_code(0)
    arguments = parse(["model.pt2", "--config", path, "--calibration", "samples.npz"])
    model = stages.load(arguments, [cfg], Progress())
    rows = stages.schedule(model, cfg, arguments.configs[0], arguments, Progress()).rows
    ops = [row.op for row in rows]
    assert ops.count("attention") == 2 and ops[0] == "embedding" and ops[-1] == "conv"
    assert {row.engine for row in rows if row.op in ("attention", "conv")} == {"array"}
    assert all(row.fused for row in rows if row.op == "conv" and row.shape[-1] == 64)  # GELU costs nothing


def test_the_memory(tmp_path, monkeypatch, root):
    """On spatten with the fields that the guide adds, each query is searched."""
    (fields,) = re.findall(r"```toml\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    path = tmp_path / "candidates.toml"
    path.write_text((root / "configs" / "spatten.toml").read_text("utf-8") + fields, "utf-8")
    monkeypatch.chdir(tmp_path)
    run_code(0, 1)
    words = ["memory.pt2", "--config", str(path), "--calibration", "queries.npz", "--candidates", "160"]
    arguments, cfg = parse(words), load(path)
    model = stages.load(arguments, [cfg], Progress())
    assert len(stages.schedule(model, cfg, path, arguments, Progress()).program.searches) == 4
