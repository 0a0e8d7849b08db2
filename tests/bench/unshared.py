"""``python -m tests.bench.unshared CONFIG OUT``: plain Amaranth conversion, one module per instance."""

import sys
from pathlib import Path

from amaranth.back import verilog

from dataflows import config
from rtl.top import Accelerator

if __name__ == "__main__":
    cfg = config.load(sys.argv[1])
    text = verilog.convert(Accelerator(cfg), name=cfg.name, emit_src=False, strip_internal_attrs=True)
    Path(sys.argv[2]).write_text(text, encoding="utf-8")
