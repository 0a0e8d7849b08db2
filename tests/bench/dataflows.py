"""Every dataflow: lines of its description, and AlexNet's third convolution on each shipped configuration."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np

from dataflows import catalogue, config
from dataflows.config import Config
from dataflows.network import Network, Window
from dataflows.vocabulary import Dim
from mapper.compile import Program, compile_network
from mapper.conv_plan import Options
from mapper.row_plan import RowPlan
from mapper.timing import predict
from tests.bench.figures import Figure, shown
from tests.random_layers import activation, convolution

COMMAND = shown("-m", "tests.bench", "dataflows")
LATENCY = 100
SIZE, CHANNELS, FILTERS, KERNEL = 13, 256, 384, 3
EXTENT = {
    Dim.PIXEL: SIZE * SIZE, Dim.CHANNEL: FILTERS, Dim.REDUCTION: KERNEL * KERNEL * CHANNELS,
    Dim.OUTPUT_ROW: SIZE, Dim.OUTPUT_COLUMN: SIZE,
}  # fmt: skip


def lines(path: Path) -> int:
    """Lines of code: neither blank, nor comment, nor documentation."""
    text = path.read_text(encoding="utf-8")
    documents: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            documents |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    written = enumerate(text.splitlines(), start=1)
    return sum(bool(line.strip()) and line.strip()[0] != "#" and n not in documents for n, line in written)


def compiled(cfg: Config) -> Program:
    """The layer's program for one image."""
    rng = np.random.default_rng(0)
    x = activation(rng, "x", (1, SIZE, SIZE, CHANNELS), cfg.numbers.act_bits)
    conv, y = convolution(rng, "c3", x, FILTERS, 1, Window((KERNEL, KERNEL), padding=(KERNEL // 2,) * 4))
    network = Network("alexnet_c3", {t.name: t for t in (x, y)}, (conv,), (x.name,), (y.name,))
    return compile_network(cfg, network, Options(LATENCY, cfg.bus_bytes))


def law(cfg: Config, program: Program) -> int:
    """Cycles of the dataflow's law: of its description alone, or of the sets into which the plan divides the array."""
    p = program.schedule[0].plan
    if not isinstance(p, RowPlan):
        return cfg.dataflow.cycles(cfg.array.rows, cfg.array.cols, EXTENT)
    stored = cfg.stores.weight or 1
    one = sum(p.sets_of(kernel).pass_cycles(p.positions, cfg.array.rows, stored) for kernel in p.kernels)
    return one * p.passes(p.together) * p.tile_count * len(p.filter_tiles)


def run() -> list[Figure]:
    """Lines per description; predicted cycles beside the law, and the law beside a MAC per multiplier and cycle."""
    figures = [
        Figure(f"{name}: description", lines(Path(f"dataflows/{name}.py")), "lines", "none", None, COMMAND)
        for name in catalogue.NAMES
    ]
    for path in sorted(Path("configs").glob("*.toml")):
        cfg = config.load(path)
        if cfg.multiplier:  # takes operands of other widths: see the topics bitfusion, fusion and serial
            continue
        program = compiled(cfg)
        cycles, wanted = predict(program, LATENCY, cfg.bus_bytes).cycles, law(cfg, program)
        macs = sum(program.network.macs(layer) for layer in program.network.layers)
        name = f"{cfg.name} ({cfg.array.dataflow}, {cfg.array.rows}x{cfg.array.cols}), AlexNet C3"
        figures += [
            Figure(f"{name}: law", wanted, "cycles", "MACs / multipliers", macs / cfg.multipliers, COMMAND),
            Figure(f"{name}: predicted", cycles, "cycles", "law", wanted, COMMAND),
        ]
    return figures
