"""From a configuration to numbers: Verilog, Yosys for every target, nextpnr, one record of it all."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataflows.config import Config
from dataflows.errors import InputError
from rtl.emit import emit, generator_hash
from rtl.synth import counts, scripts, tools
from rtl.synth.netlist import FRAME, frame, modules, pe_modules, top_module

PLACES = ("with-dsp", "without-dsp", "no")
"""Which netlist nextpnr places, if any."""

FORMAT = 1
"""Of the record; readers take no other."""

SOURCES = ("design.v", "frame.v")


@dataclass(frozen=True)
class Request:
    """What to synthesize, and how.

    Attributes
    ----------
    top : str
        One of :data:`rtl.synth.netlist.TOPS`.
    place : str
        Which netlist nextpnr places: one of :data:`PLACES`.
    device : str
        One of :data:`rtl.synth.counts.DEVICES`.
    speed : int
        Speed grade: 6, 7 or 8.
    target_mhz : float
        Frequency that nextpnr works for.
    liberty : Path, optional
        Liberty file.
    timeout : float
        Seconds per step.
    """

    top: str = "all"
    place: str = "with-dsp"
    device: str = "85k"
    speed: int = 6
    target_mhz: float = 120.0
    liberty: Path | None = None
    timeout: float = 7200.0


def synthesize(cfg: Config, request: Request, out: Path, verilog: Path) -> dict[str, Any]:
    """Run the flow.

    Parameters
    ----------
    cfg : Config
    request : Request
    out : Path
        Files of the tools go to ``out/<name>/<top>/``.
    verilog : Path
        Folder of the emitted Verilog: ``verilog/<name>/``.

    Returns
    -------
    dict
        The record that is written as JSON; docs/architecture.md describes it.

    Raises
    ------
    InputError
        If a tool is missing, or if Yosys fails or takes too long. What nextpnr has to say against a design is in the
        record: ``place.reason``.
    """
    yosys = tools.find("yosys")
    nextpnr = tools.find("nextpnr-ecp5") if request.place != "no" else None
    liberty = tools.find_liberty(request.liberty)
    text = (emit(cfg, verilog / cfg.name) / f"{cfg.name}.v").read_text(encoding="utf-8")
    top = top_module(cfg, request.top, text)
    cell_text = _read(liberty) if liberty else ""
    folder = out / cfg.name / request.top
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "design.v").write_text(text, encoding="utf-8")
        (folder / "frame.v").write_text(frame(top, text), encoding="utf-8")
        if cell_text:
            (folder / "cells.lib").write_text(cell_text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}; choose another place with --out") from error

    run = tools.Runner(folder, request.timeout)
    title = f"{cfg.name}, {request.top}"
    script = scripts.generic("design.v", top, "cells.lib" if cell_text else None)
    run.yosys(yosys, "generic", f"{title}: generic cells", script)
    mapped = {}
    for kind, dsp in (("with-dsp", True), ("without-dsp", False)):
        script = scripts.ecp5(SOURCES, FRAME, kind, dsp=dsp, netlist=kind == request.place)
        run.yosys(yosys, kind, f"{title}: ECP5 {kind.replace('-', ' ')}", script)
        mapped[kind] = counts.read_stat(_json(folder / f"{kind}.json"))
    placed = None
    if nextpnr:
        placed = _place(cfg, request, run, yosys, nextpnr, top, list(modules(text)), mapped, title)
    return {
        "format": FORMAT,
        "name": cfg.name,
        "hash": cfg.hash,
        "generator": generator_hash(),
        "top": request.top,
        "multipliers": 1 if request.top == "pe" else cfg.multipliers,
        "liberty": str(liberty) if liberty else None,
        "tools": {"yosys": tools.version(yosys), **({"nextpnr": tools.version(nextpnr)} if nextpnr else {})},
        "modules": _rows(cfg, folder, top, mapped, cell_text),
        "place": placed,
        "seconds": run.seconds,
    }


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if not counts.cell_areas(text):
        raise InputError(f"{path} is not a Liberty file: it has no cell with an area")
    return text


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _rows(cfg: Config, folder: Path, top: str, mapped: dict, liberty: str) -> list[dict[str, Any]]:
    """A row per module, the largest first: everything of *one* instance, with what is below it."""
    plain = counts.read_stat(_json(folder / scripts.GENERIC))
    gates = counts.totals(plain)
    bits = counts.totals(counts.read_stat(_json(folder / scripts.MEMORIES)))
    cells = counts.totals(counts.read_stat(_json(folder / scripts.CELLS))) if liberty else {}
    areas = counts.cell_areas(liberty)
    ecp5 = {kind: counts.totals(stat) for kind, stat in mapped.items()}
    rows = []
    for name, number in counts.instances(mapped["with-dsp"], top).items():
        row: dict[str, Any] = {
            "module": "top" if name == cfg.name else name.removeprefix(f"{cfg.name}_"),
            "instances": number,
            **counts.generic(gates[name].cells),
            "memory_bits": bits[name].memory_bits,
        }
        if liberty:
            row["area"] = round(counts.area(cells[name].cells, areas))
        for kind, total in ecp5.items():
            row[kind.replace("-", "_")] = counts.ecp5(total[name].cells)
        rows.append(row)
    return sorted(rows, key=lambda row: (-row["instances"] * row["with_dsp"]["lut"], row["module"]))


def _place(cfg, request, run, yosys, nextpnr, top, names, mapped, title) -> dict[str, Any]:
    """Place and route what fits: if DSP blocks do not suffice, multipliers of the PEs are made of tables."""
    kind = request.place
    used = _whole(mapped[kind])
    in_tables: list[str] = []
    if kind == "with-dsp" and used["dsp"] > counts.DEVICES[request.device]["dsp"]:
        kind, in_tables = "mixed", pe_modules(cfg, names)
        script = scripts.ecp5(SOURCES, FRAME, kind, dsp=True, in_tables=in_tables, netlist=True)
        run.yosys(yosys, kind, f"{title}: ECP5, PEs without DSP", script)
        used = _whole(counts.read_stat(_json(run.folder / f"{kind}.json")))
    result = {"device": f"LFE5U-{request.device[:-1]}F", "speed": request.speed, "netlist": kind, **used}
    lacking = counts.lacking(used, request.device)
    if lacking:
        return result | {"mhz": None, "reason": "does not fit: " + ", ".join(lacking)}
    report = f"{kind}.place.json"
    command = [
        nextpnr, f"--{request.device}", "--package", "CABGA756", "--speed", str(request.speed),
        "--json", f"{kind}.netlist.json", "--report", report, "--freq", str(request.target_mhz), "--seed", "1",
        "--lpf-allow-unconstrained", "--timing-allow-fail",
    ]  # fmt: skip
    try:
        run.run("place", f"{title}: place and route on {result['device']}", command)
    except InputError as error:  # the areas are known, and worth their minutes
        return result | {"mhz": None, "failed": True, "reason": str(error)}
    return result | counts.read_place(_json(run.folder / report))


def _whole(stat: dict[str, counts.Counts]) -> dict[str, int]:
    """ECP5 resources of the design with its frame."""
    return counts.ecp5(counts.totals(stat)[FRAME].cells)
