"""``python -m rtl.soc CONFIG --out DIR``: a small LiteX system with the accelerator in it, elaborated to Verilog."""

import argparse
import sys
from pathlib import Path

from dataflows.config import load
from dataflows.errors import InputError

HINT = "LiteX is not installed; run: make litex (or: pip install '.[litex]')"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status (2: unusable input)."""
    parser = argparse.ArgumentParser(prog="python -m rtl.soc", description=__doc__)
    parser.add_argument("config", help="configuration file (TOML)")
    parser.add_argument("--out", type=Path, default=Path("build/litex"), help="folder; files go to OUT/<name>/")
    parser.add_argument("--bus", choices=("wishbone", "axi-lite", "axi"), default="axi", help="interconnect (axi)")
    parser.add_argument("--memory-kib", type=int, default=64, help="main memory on chip (64 KiB)")
    options = parser.parse_args(arguments)
    try:
        cfg = load(options.config)
        try:
            from rtl.soc.example import elaborate
        except ModuleNotFoundError as error:
            raise InputError(f"{HINT}: there is no module {error.name}") from None
        files = elaborate(cfg, options.out / cfg.name, options.bus, options.memory_kib * 1024)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(map(str, files)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
