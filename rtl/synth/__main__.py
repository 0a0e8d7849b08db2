"""``python -m rtl.synth CONFIG``: area per module and clock frequency, on the terminal and as JSON."""

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console

from dataflows.config import load
from dataflows.errors import InputError
from rtl.synth.counts import DEVICES
from rtl.synth.flow import PLACES, Request, synthesize
from rtl.synth.netlist import TOPS
from rtl.synth.show import summary, table

LOG_WIDTH = 160
"""Columns of a table that is not printed to a terminal."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status (2: unusable input, or a tool that is missing or fails)."""
    parser = argparse.ArgumentParser(prog="python -m rtl.synth", description=__doc__)
    parser.add_argument("config", help="configuration file (TOML)")
    parser.add_argument("--top", choices=TOPS, default="all", help="the accelerator, its PE array alone, or one PE")
    parser.add_argument("--place", choices=PLACES, default=PLACES[0], help="netlist that nextpnr places and routes")
    parser.add_argument("--device", choices=DEVICES, default="85k", help="ECP5: LFE5U-25F, -45F or -85F")
    parser.add_argument("--speed", type=int, choices=(6, 7, 8), default=6, help="speed grade of the device")
    parser.add_argument("--freq", type=float, default=120.0, help="MHz that placing and routing aims at")
    parser.add_argument("--liberty", type=Path, help="Liberty file of standard cells; else Debian's qflow-tech-osu018")
    parser.add_argument("--timeout", type=float, default=7200.0, help="seconds that one step may take")
    parser.add_argument("--out", type=Path, default=Path("build/synth"), help="folder; OUT/<name>.json is written")
    parser.add_argument("--rtl", type=Path, default=Path("build/rtl"), help="folder of the Verilog, see python -m rtl")
    options = parser.parse_args(arguments)
    request = Request(
        options.top, options.place, options.device, options.speed, options.freq, options.liberty, options.timeout
    )
    try:
        cfg = load(options.config)
        record = synthesize(cfg, request, options.out, options.rtl)
        path = options.out / (f"{cfg.name}.json" if options.top == "all" else f"{cfg.name}_{options.top}.json")
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    console = Console(width=None if sys.stdout.isatty() else LOG_WIDTH, highlight=False)
    console.print(table(record))
    for line in (*summary(record), f"written: {path}"):
        console.print(line, markup=False, soft_wrap=True)
    return 2 if record["place"] and record["place"].get("failed") else 0


if __name__ == "__main__":
    sys.exit(main())
