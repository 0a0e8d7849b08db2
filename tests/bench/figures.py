"""What a benchmark reports, and the helpers all of them use."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FOLDER = Path("build/bench")


class BenchError(RuntimeError):
    """A benchmark could not be run; the message holds the end of what the command said."""


@dataclass(frozen=True)
class Figure:
    """One number, and the one it is held against (None: none is known)."""

    name: str
    value: float
    unit: str
    baseline: str
    baseline_value: float | None
    command: str

    @property
    def ratio(self) -> float | None:
        """Value over baseline."""
        return self.value / self.baseline_value if self.baseline_value else None


def write(topic: str, figures: Sequence[Figure]) -> Path:
    """``build/bench/<topic>.json``."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{topic}.json"
    path.write_text(json.dumps([asdict(f) for f in figures], indent=1) + "\n", encoding="utf-8")
    return path


def python(*words: str | Path, timeout: float = 3600) -> float:
    """Run a Python command line; returns its seconds. Raises :class:`BenchError` when it fails."""
    started = time.perf_counter()
    result = subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, timeout=timeout, check=False
    )
    if result.returncode:
        said = (result.stdout + result.stderr).strip()[-2000:]
        raise BenchError(f"{shown(*words)} ended with status {result.returncode}:\n{said}")
    return time.perf_counter() - started


def shown(*words: str | Path) -> str:
    """A command line for people."""
    return " ".join(["python", *map(str, words)])


def mapped(model: Path, config: str | Path, *options: str, run: bool = True) -> tuple[dict[str, Any], str]:
    """Take a model through the public command line, on the RTL or not; returns its JSON document and the command."""
    name = f"{model.stem}-{Path(config).stem}" + "".join(o for o in options if o == "--no-fuse")
    out, document = FOLDER / name, FOLDER / name / "result.json"
    words = ["-m", "mapper", model, "--config", config, *(["--run"] if run else []), *options]
    words += ["--out", out, "--json", document]
    python(*words)
    return json.loads(document.read_text(encoding="utf-8")), shown(*words)
