"""Which unit runs which operator on which accelerator, and which operators models may have: tables made from the code.

``python -m mapper.operator_table`` prints ``docs/operators.md``. Every operator is a small network
(:mod:`mapper.operator_examples`), which is quantized and compiled for each configuration: what stands in the table is
what the mapper did.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from dataflows import config
from dataflows.config import Config
from dataflows.errors import InputError
from mapper.bit_widths import widths
from mapper.calibrate import Calibration
from mapper.compile import compile_network
from mapper.conv_plan import Options
from mapper.functions import FAMILIES, FUNCTIONS
from mapper.graph import FloatGraph
from mapper.import_operators import OPERATORS, SOURCES
from mapper.import_registry import REFUSED
from mapper.operator_examples import examples
from mapper.options import ROOT
from mapper.quantize import quantize

CONFIGURATIONS = (
    "ws16", "ws16_attention", "os16", "is8", "diannao", "shidiannao", "eyeriss", "eie64", "ws16_fusion", "tiny",
)  # fmt: skip
"""Columns: one configuration per dataflow, and those with further engines."""

HEAD = """# Operators

Made from the code by `python -m mapper.operator_table > docs/operators.md`; do not edit.

## Operators and engines

What runs a small example of each operator on some of the configurations:

* *array*, *vector* unit, its *window*, row engine (*rows*), *sparse* engine: that unit.
* *host*: the accelerator has nothing for it, so the golden model computes it between two programs. The mapper's table
  shows such layers and says why. Their time is not in the cycles.
* *in place*: no work, only another view of the same bytes.
* *refused*: the mapper says why in one line.

An activation (ReLU, ReLU6, any clamp) costs nothing: every layer clamps its results. Padding is free before
convolutions and pooling.
"""

MODELS = """
## Operators of PyTorch models

Operators of `torch.export` archives and TorchScript files, by what imports them. Batch normalization, dropout and
operators on constants leave nothing behind. ONNX has a table of its own in [onnx.md](onnx.md).
"""


def page() -> str:
    """The whole document."""
    accelerators = [config.load(ROOT / "configs" / f"{name}.toml") for name in CONFIGURATIONS]
    names = ", ".join(f"`{name}`" for name in [*FUNCTIONS, *(f"{name}(a)" for name in FAMILIES)])
    functions = f"\n## Functions of single elements\n\nTables of 256 codes: {names}.\n"
    return "".join([HEAD, "\n", *engines(accelerators), MODELS, "\n", *importers(), functions])


def engines(accelerators: list[Config]) -> Iterable[str]:
    """Lines of the table operator x configuration."""
    yield f"| operator | {' | '.join(cfg.name for cfg in accelerators)} |\n"
    yield f"|---{'|---' * len(accelerators)}|\n"
    for title, graph in examples().items():
        yield f"| {title} | {' | '.join(what_runs(cfg, graph) for cfg in accelerators)} |\n"


def what_runs(cfg: Config, graph: FloatGraph) -> str:
    """What computes the layers of a graph on an accelerator."""
    ranges = dict.fromkeys(graph.shapes, (-1.0, 1.0))
    try:
        network = quantize(graph, Calibration(ranges), widths(graph, cfg))
        program = compile_network(cfg, network, Options(bytes_per_cycle=cfg.bus_bytes))
    except InputError as error:
        return "host" if "no layer of the model runs on the accelerator" in str(error) else "refused"
    return " + ".join(dict.fromkeys(entry.engine for entry in program.schedule)) or "in place"


def importers() -> Iterable[str]:
    """Lines of the list of operators by module."""
    yield "| operators | imported by |\n|---|---|\n"
    for module in SOURCES:
        mine = (name for name, handler in OPERATORS.items() if handler.__module__ == module.__name__)
        found = sorted(name for name in mine if name not in REFUSED)
        yield f"| {', '.join(f'`{name}`' for name in found)} | `{module.__name__.replace('.', '/')}.py` |\n"


if __name__ == "__main__":
    sys.stdout.write(page())
