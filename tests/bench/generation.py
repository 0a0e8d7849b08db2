"""Verilog generation: time and distinct modules by array size, beside a conversion that shares nothing."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

from tests.bench.figures import FOLDER, Figure, python, shown

BASE = Path("configs/ws32.toml")
SIZES = (4, 8, 16, 32, 64, 128)


def scaled(size: int) -> Path:
    """A weight-stationary configuration of ``size`` x ``size`` PEs, memories in proportion to the columns."""
    values: dict[str, Any] = tomllib.loads(BASE.read_text(encoding="utf-8"))
    values["name"] = f"ws{size}_bench"
    values["array"] |= {"rows": size, "cols": size}
    values["memory"] = {name: max(4096, bytes_ * size // 32) for name, bytes_ in values["memory"].items()}
    values["bus"]["data_bits"] = min(512, max(64, 8 * size))
    path = FOLDER / f"{values['name']}.toml"
    lines = [f"name = {json.dumps(values.pop('name'))}", f"clock_mhz = {values.pop('clock_mhz')}"]
    for section, table in values.items():
        lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def modules(path: Path) -> int:
    """Modules in a Verilog file."""
    return sum(line.startswith("module ") for line in path.read_text(encoding="utf-8").splitlines())


def run() -> list[Figure]:
    """Seconds of the whole command and modules, per size."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    figures = []
    plain = FOLDER / "unshared32.v"
    words = ("-m", "tests.bench.unshared", scaled(32), plain)
    unshared = python(*words)
    figures += [
        Figure("32x32, nothing shared: time", unshared, "s", "none", None, shown(*words)),
        Figure("32x32, nothing shared: modules", modules(plain), "modules", "none", None, shown(*words)),
    ]
    smallest, first = None, f"{SIZES[0]}x{SIZES[0]}"
    for size in SIZES:
        config, out = scaled(size), FOLDER / "rtl"
        shutil.rmtree(out, ignore_errors=True)
        words = ("-m", "rtl", config, "--out", out)
        seconds = python(*words)
        count = modules(next(out.glob("*/*.v")))
        smallest = smallest or count
        baseline = ("one module per PE, plain Amaranth", unshared) if size == 32 else ("none", None)
        figures += [
            Figure(f"{size}x{size}: time", seconds, "s", *baseline, shown(*words)),
            Figure(f"{size}x{size}: distinct modules", count, "modules", first, smallest, shown(*words)),
        ]
    return figures
