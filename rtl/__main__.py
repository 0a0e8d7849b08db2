"""``python -m rtl CONFIG --out DIR``: Verilog and its companions for a configuration."""

import argparse
import json
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dataflows.config import Config, json_schema, load
from dataflows.errors import InputError
from rtl.emit import emit, is_current

LOG_WIDTH = 160
"""Columns of a table that is not printed to a terminal."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status (2: unusable input)."""
    parser = argparse.ArgumentParser(prog="python -m rtl", description=__doc__)
    parser.add_argument("config", nargs="*", help="configuration files (TOML)")
    parser.add_argument("--out", type=Path, default=Path("build/rtl"), help="folder; files go to OUT/<name>/")
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of configuration files")
    options = parser.parse_args(arguments)
    if options.schema:
        print(json.dumps(json_schema(), indent=2))
        return 0
    if not options.config:
        parser.error("name at least one configuration file, for example configs/ws16.toml")
    try:
        configs = [load(path) for path in options.config]
        names = [cfg.name for cfg in configs]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"two configurations are called {twice!r}, the folder of their files; rename one")
        table = _table()
        for cfg in configs:
            folder = options.out / cfg.name
            cached = is_current(cfg, folder)
            begun = time.perf_counter()
            emit(cfg, folder)
            table.add_row(*_row(cfg, folder, "up to date" if cached else f"{time.perf_counter() - begun:.1f}"))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    Console(width=None if sys.stdout.isatty() else LOG_WIDTH).print(table)
    return 0


def _table() -> Table:
    table = Table()
    for heading in ("design", "multipliers", "on-chip KiB", "modules", "lines", "seconds"):
        table.add_column(heading, justify="left" if heading == "design" else "right")
    table.add_column("Verilog", overflow="fold")
    return table


def _row(cfg: Config, folder: Path, seconds: str) -> list[str]:
    path = folder / f"{cfg.name}.v"
    lines = path.read_text(encoding="utf-8").splitlines()
    modules = sum(line.startswith("module ") for line in lines)
    memory = f"{cfg.on_chip_bytes / 1024:.0f}"
    return [cfg.name, str(cfg.multipliers), memory, str(modules), str(len(lines)), seconds, str(path)]


if __name__ == "__main__":
    sys.exit(main())
