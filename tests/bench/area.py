"""Area of multiplier kinds, alone and in a PE, and what a product costs with each at every width."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from amaranth import Module
from amaranth.lib import wiring

from dataflows import catalogue
from dataflows.errors import InputError
from dataflows.multipliers import Law
from dataflows.sections import Numbers
from rtl.binary import BinaryMultiplier, TernaryMultiplier
from rtl.emit import component_verilog
from rtl.fusion import FusionMultiplier, FusionUnit
from rtl.multiplier import FixedMultiplier
from rtl.multiplier_pe import MultiplierPE
from rtl.pe import PE
from rtl.serial import SerialMultiplier, TemporalMultiplier, TemporalUnit
from rtl.synth import counts, scripts, tools
from rtl.table import SumTable, TableMultiplier
from tests.bench.figures import FOLDER, Figure

COMMAND = "python -m tests.bench area"
LIBERTY = os.environ.get("LIBERTY")
"""Liberty file of standard cells, if it is not where Debian puts it."""

KINDS = {
    "fixed 8x8": FixedMultiplier,
    "fusion": FusionMultiplier,
    "fusion, words aligned at the edge": FusionUnit,
    "fusion, aligned, no 16 bits": partial(FusionUnit, 2, False),
    "fusion of 4-bit bricks": partial(FusionMultiplier, 4),
    "16 bricks in time": TemporalMultiplier,
    "16 bricks in time, one shift-add": partial(SerialMultiplier, 16, 2, 2),
    "16 lanes, one operand serial": partial(SerialMultiplier, 16, 1, 8),
    "16 lanes, weights serial, tables": partial(TableMultiplier, 16),
    "64 lanes, both serial": partial(SerialMultiplier, 64, 1, 1),
    "64 lanes, binary": partial(BinaryMultiplier, 64),
    "64 lanes, ternary": partial(TernaryMultiplier, 64),
}
"""What is compared; the first is what it is compared with."""

WIDTHS = (8, 4, 2, 1)
PUBLISHED_TEMPORAL, PUBLISHED_FUSION = 3.5, 3.4
"""Temporal design over fused one (Bit Fusion, ISCA 2018), and an array with fusion over one of fixed 8 bits."""


class Alone(wiring.Component):
    """A component as the top of a design: one that others share cannot be it itself."""

    def __init__(self, component: wiring.Component):
        self.component = component
        super().__init__(component.signature)

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.component = self.component
        wiring.connect(m, wiring.flipped(self), self.component)
        return m


class Area:
    """Synthesizes components, each as one flat module: standard cells if there is a Liberty file, else gates."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self._yosys = tools.find("yosys")
        self._liberty = tools.find_liberty(Path(LIBERTY) if LIBERTY else None)
        self.unit = "um2" if self._liberty else "gates and flip-flops"
        if self._liberty:
            (folder / "cells.lib").write_text(self._liberty.read_text(errors="replace"), encoding="utf-8")
            self._areas = counts.cell_areas((folder / "cells.lib").read_text(encoding="utf-8"))
        self._runner = tools.Runner(folder, 1800)

    def __call__(self, component: wiring.Component) -> float:
        """Area of one component."""
        step = "design"
        (self._runner.folder / "design.v").write_text(component_verilog(Alone(component), step), encoding="utf-8")
        script = scripts.generic("design.v", step, "cells.lib" if self._liberty else None, flat=True)
        self._runner.yosys(self._yosys, step, type(component).__name__, script)
        report = self._runner.folder / (scripts.CELLS if self._liberty else scripts.GENERIC)
        cells = counts.read_stat(json.loads(report.read_text(encoding="utf-8")))[step].cells
        return counts.area(cells, self._areas) if self._liberty else sum(counts.generic(cells).values())


def cost(law: Law, bits: int) -> float | None:
    """Cycles of one product of operands of so many bits; None where the kind has none."""
    try:
        return law.cycles(bits, bits) / law.products(bits, bits)
    except InputError:
        return None


def run() -> list[Figure]:
    """Areas against the fixed multiplier, area x cycles per product, and fusion against bricks in time."""
    measure = Area(FOLDER / "area")
    figures: list[Figure] = []

    def add(name: str, value: float, unit: str, baseline: str = "", base: float | None = None) -> None:
        figures.append(Figure(name, round(value, 1), unit, baseline, base, COMMAND))

    kinds: dict[str, Callable] = KINDS
    alone, inside, laws = {}, {}, {}
    for name, make in kinds.items():
        multiplier = make()
        alone[name], inside[name], laws[name] = measure(multiplier), measure(MultiplierPE(make())), multiplier.law
    first = next(iter(kinds))
    for dataflow in ("weight_stationary", "output_stationary"):
        add(f"PE, {dataflow}", measure(PE(catalogue.get(dataflow), Numbers())), measure.unit)
    for name in kinds:
        add(f"multiplier, {name}", alone[name], measure.unit, first, alone[first])
    for name in kinds:
        add(f"PE, {name}", inside[name], measure.unit, first, inside[first])
    for bits in WIDTHS:
        for name, law in laws.items():
            if (cycles := cost(law, bits)) is not None:
                unit = f"{measure.unit} x cycles per product"
                add(f"{bits}/{bits}, {name}", inside[name] * cycles, unit, first, inside[first])
    fused = alone["fusion, aligned, no 16 bits"]
    add("16 units of bricks in time", 16 * measure(TemporalUnit(2, 7, 17)), measure.unit, "fusion, aligned", fused)
    add("4 tables of 4 activations", 4 * measure(SumTable(4, 8)), measure.unit)
    published = (PUBLISHED_TEMPORAL, PUBLISHED_FUSION)
    ratios = (figures[-2].value / fused, inside["fusion"] / inside[first])
    for name, ratio, known in zip(("units in time / fusion", "PE, fusion / fixed"), ratios, published, strict=True):
        figures.append(Figure(name, round(ratio, 2), "ratio", "published", known, COMMAND))
    return figures
