"""Bit-serial engines: cycles on the RTL against their laws at many widths, and AlexNet at Stripes' widths.

A matrix product is run with some rows and with twice as many: what the second half adds is the array's time, and a few
cycles between tiles. The timing model tells exactly in how many cycles operands enter the array.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dataflows import config
from dataflows.network import Network, Window
from mapper.compile import compile_network
from mapper.conv_plan import Options
from mapper.timing import predict
from sim.runner import Dram
from tests.bench.figures import Figure, mapped, shown
from tests.bench.imagenet import packed, wrong_layers
from tests.bench.networks import alexnet_convolutions
from tests.mixed_networks import Draw, Limits, mixed_input
from tests.system.regression import measure

COMMAND = shown("-m", "tests.bench", "serial")
LATENCY = 100


@dataclass(frozen=True)
class Engine:
    """A configuration and the product it is measured with: (rows, reduction) by (reduction, cols).

    ``law`` is the published number of cycles of one step at the widths of inputs and weights.
    """

    name: str
    rows: int
    reduction: int
    cols: int
    widths: tuple[tuple[int, int], ...]
    law: str

    def step(self, a: int, w: int) -> int:
        """Cycles of a step."""
        return {"pa": a, "pw": w, "pa * pw": a * w}[self.law]

    def cycles(self, rows: int, a: int, w: int) -> int:
        """Cycles of a product of so many rows: all steps of all tiles."""
        cfg = config.load(f"configs/{self.name}.toml")
        tiles = -(-rows // cfg.array.rows) * -(-self.cols // cfg.array.cols)
        return tiles * -(-self.reduction // cfg.law.lanes) * self.step(a, w)


ENGINES = (
    Engine("stripes", 256, 768, 64, ((8, 8), (5, 8), (3, 8), (2, 8)), "pa"),
    Engine("loom", 64, 768, 32, ((8, 8), (5, 3), (4, 4), (2, 2)), "pa * pw"),
    Engine("unpu", 64, 384, 64, ((8, 8), (8, 5), (8, 3), (8, 2)), "pw"),
    Engine("bismo", 256, 256, 256, ((4, 4),), "pa * pw"),
)

CONVOLUTIONS = {"0.0": 8, "2.0": 8, "4.0": 5, "5.0": 5, "6.0": 7}
"""Bits of the inputs of AlexNet's convolutions in Stripes, 9 taken as 8."""


@dataclass(frozen=True)
class Product:
    """Measured and predicted cycles on the RTL, and in how many of these words of operands enter the array."""

    measured: int
    predicted: int
    entering: int


def product(engine: Engine, rows: int, a: int, w: int) -> Product:
    """A product of so many rows. Raises :class:`AssertionError` if anything is not as it should be."""
    cfg = config.load(f"configs/{engine.name}.toml")
    limits = Limits.of(cfg)
    draw = Draw(0, limits)
    x = draw.tensor("x", (1, rows, 1, engine.reduction), array=True, bits=a)
    y = draw.convolution("product", x, engine.cols, 1, Window(), array=False, bits=a, weight_bits=w)
    network = Network("product", draw.tensors, tuple(draw.layers), (x.name,), (y.name,))
    program = compile_network(cfg, network, Options(LATENCY, cfg.bus_bytes))
    entering = sum(predict(program, LATENCY, cfg.bus_bytes).array_busy.values())
    outcome = measure(0, 0, program, mixed_input(network, 0), Dram(LATENCY, cfg.bus_bytes))
    if outcome.failure:
        raise AssertionError(f"{engine.name}, {a}/{w} bits: {outcome.failure}")
    return Product(outcome.measured, outcome.predicted, entering)


def products() -> list[Figure]:
    """Every engine at every width."""
    figures = []
    for engine in ENGINES:
        for a, w in engine.widths:
            name = f"{engine.name}, {engine.rows}x{engine.reduction}x{engine.cols}, {a}/{w} bits"
            half, whole = (product(engine, rows, a, w) for rows in (engine.rows, 2 * engine.rows))
            law, words = engine.cycles(engine.rows, a, w), f"law, {engine.law} a step"
            figures += [
                Figure(f"{name}: array", half.entering, "cycles", words, law, COMMAND),
                Figure(f"{name}: twice the rows add", whole.measured - half.measured, "cycles", words, law, COMMAND),
                Figure(f"{name}: with transfers", half.measured, "cycles", "predicted", half.predicted, COMMAND),
            ]
    return figures


def convolutions(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of the JSON document."""
    return [layer for layer in result["layers"] if layer["op"] == "conv"]


def alexnet() -> list[Figure]:
    """AlexNet's convolutions on Stripes, 8 bits everywhere and at the published widths."""
    model = packed("alexnet_convolutions_1", alexnet_convolutions, 1, 3, 227, 227)
    widths = ",".join(f"{name}={bits}/8" for name, bits in CONVOLUTIONS.items())
    wide, wide_command = mapped(model, "configs/stripes.toml")
    narrow, command = mapped(model, "configs/stripes.toml", "--bits", widths)
    figures, macs, ideal = [], 0.0, 0.0
    for before, layer, bits in zip(convolutions(wide), convolutions(narrow), CONVOLUTIONS.values(), strict=True):
        speed_up = before["cycles_measured"] / layer["cycles_measured"]
        name = f"AlexNet {layer['name']}, {bits} bits: speed-up"
        figures.append(Figure(name, speed_up, "1", "ideal", 8 / bits, command))
        macs, ideal = macs + layer["macs"], ideal + layer["macs"] * bits / 8
    totals = [sum(layer["cycles_measured"] for layer in convolutions(result)) for result in (wide, narrow)]
    return [
        *figures,
        Figure("AlexNet: convolutions, 8 bits", totals[0], "cycles", "none", None, wide_command),
        Figure("AlexNet: convolutions, 8-8-5-5-7 bits", totals[1], "cycles", "8 bits", totals[0], command),
        Figure("AlexNet: speed-up", totals[0] / totals[1], "1", "ideal", macs / ideal, command),
        Figure("layers predicted wrong", wrong_layers(wide) + wrong_layers(narrow), "layers", "goal", 0, command),
        Figure("wrong values", wide["mismatches"] + narrow["mismatches"], "values", "goal", 0, command),
    ]


def run() -> list[Figure]:
    """Products and network."""
    return products() + alexnet()
