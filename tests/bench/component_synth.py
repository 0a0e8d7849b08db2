"""What synthesis says of one component: standard cells, memory, ECP5 resources, clock, and a netlist to simulate."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from amaranth.lib import wiring

from rtl.emit import component_verilog
from rtl.synth import counts, scripts, tools
from rtl.synth.netlist import FRAME, frame
from tests.bench.area import LIBERTY

DEVICE, TARGET_MHZ = "85k", 120


class Synthesis:
    """One component, flat.

    Attributes
    ----------
    component : Component
    name : str
        Of its module.
    area : float
        Of its standard cells if there is a Liberty file, else gates and flip-flops, in ``unit``; without memories.
    flip_flops, memory_bits : int
    netlist : Path
        Verilog of simple gates, with the ports of the component.
    lut, mhz : int, float
        Tables of an ECP5 without those of its frame's registers, and the clock that nextpnr estimates
        after placement; routing takes far longer.
    """

    def __init__(self, component: wiring.Component, name: str, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.component, self.name, self._folder = component, name, folder
        self._runner = tools.Runner(folder, 3600)
        self._yosys = tools.find("yosys")
        text = component_verilog(component, name)
        (folder / f"{name}.v").write_text(text, encoding="utf-8")
        (folder / "frame.v").write_text(frame(name, text), encoding="utf-8")
        self._gates()
        self._place()

    def _gates(self) -> None:
        liberty = tools.find_liberty(Path(LIBERTY) if LIBERTY else None)
        cells = liberty.read_text(errors="replace") if liberty else ""
        (self._folder / "cells.lib").write_text(cells, encoding="utf-8")
        self.netlist = self._folder / f"{self.name}_gates.v"
        script = scripts.generic(f"{self.name}.v", self.name, None, flat=True)
        script += f"opt_clean -purge\nwrite_verilog -noattr {self.netlist.name}\n"
        self._runner.yosys(self._yosys, "gates", f"{self.name}: gates", script)
        simple = counts.generic(self._cells(scripts.GENERIC))
        memories = counts.read_stat(self._json(scripts.MEMORIES))[self.name]
        self.flip_flops, self.memory_bits = simple["flip_flops"], memories.memory_bits
        self.area, self.unit = float(sum(simple.values())), "gates and flip-flops"
        if liberty:
            script = scripts.generic(f"{self.name}.v", self.name, "cells.lib", flat=True)
            self._runner.yosys(self._yosys, "cells", f"{self.name}: standard cells", script)
            self.area, self.unit = counts.area(self._cells(scripts.CELLS), counts.cell_areas(cells)), "um2"

    def _place(self) -> None:
        script = scripts.ecp5((f"{self.name}.v", "frame.v"), FRAME, "ecp5", dsp=False, netlist=True)
        self._runner.yosys(self._yosys, "ecp5", f"{self.name}: ECP5", script)
        self.lut = counts.ecp5(counts.totals(counts.read_stat(self._json("ecp5.json")))[self.name].cells)["lut"]
        command = [
            tools.find("nextpnr-ecp5"), f"--{DEVICE}", "--package", "CABGA756", "--speed", "6",
            "--json", "ecp5.netlist.json", "--freq", str(TARGET_MHZ), "--seed", "1",
            "--lpf-allow-unconstrained", "--timing-allow-fail", "--no-route",
        ]  # fmt: skip
        self._runner.run("place", f"{self.name}: placement", command)
        log = (self._folder / "place.log").read_text(encoding="utf-8", errors="replace")
        self.mhz = float(re.findall(r"Max frequency for clock .*?: ([\d.]+) MHz", log)[-1])

    def _json(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self._folder / name).read_text(encoding="utf-8"))
        return found

    def _cells(self, name: str):
        return counts.read_stat(self._json(name))[self.name].cells
