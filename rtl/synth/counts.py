"""Reports of Yosys and nextpnr as numbers per module."""

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from typing import Any

LUTS = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 4}
"""Four-input tables of each ECP5 cell: an adder cell covers two bits, a distributed memory four."""

RESOURCES = {
    "lut": LUTS,
    "ff": {"TRELLIS_FF": 1},
    "dsp": {"MULT18X18D": 1},
    "bram": {"DP16KD": 1, "PDPW16KD": 1},
}
"""ECP5 resources, each with the cells that use them."""

DEVICES = {
    "25k": {"lut": 24288, "dsp": 28, "bram": 56},
    "45k": {"lut": 43848, "dsp": 72, "bram": 108},
    "85k": {"lut": 83640, "dsp": 156, "bram": 208},
}
"""What the LFE5U devices have."""


@dataclass(frozen=True)
class Counts:
    """Cells of one module by type, without those of modules below; ``children`` are these, by name."""

    cells: Counter[str] = field(default_factory=Counter)
    children: Counter[str] = field(default_factory=Counter)
    memory_bits: int = 0


def read_stat(report: dict[str, Any]) -> dict[str, Counts]:
    """Modules of a ``stat -json`` report, without the backslash of their names."""
    raw = {name.lstrip("\\"): module for name, module in report["modules"].items()}
    found = {}
    for name, module in raw.items():
        types = {kind.lstrip("\\"): count for kind, count in module.get("num_cells_by_type", {}).items()}
        cells = Counter({kind: count for kind, count in types.items() if kind not in raw})
        children = Counter({kind: count for kind, count in types.items() if kind in raw})
        found[name] = Counts(cells, children, module.get("num_memory_bits", 0))
    return found


def instances(stat: dict[str, Counts], top: str) -> Counter[str]:
    """How often each module is there, in all of ``top``."""
    found: Counter[str] = Counter()

    def visit(name: str, times: int) -> None:
        found[name] += times
        for child, count in stat[name].children.items():
            visit(child, times * count)

    visit(top, 1)
    return found


def totals(stat: dict[str, Counts]) -> dict[str, Counts]:
    """Every module with all that is below it; ``children`` are empty."""

    @cache
    def total(name: str) -> Counts:
        own = stat[name]
        cells, bits = Counter(own.cells), own.memory_bits
        for child, count in own.children.items():
            below = total(child)
            cells.update({kind: number * count for kind, number in below.cells.items()})
            bits += below.memory_bits * count
        return Counts(cells, memory_bits=bits)

    return {name: total(name) for name in stat}


def cell_areas(liberty: str) -> dict[str, float]:
    """Area of every cell in the text of a Liberty file."""
    _, *cells = re.split(r"^\s*cell\s*\(", liberty, flags=re.MULTILINE)
    found = {}
    for cell in cells:
        name, area = re.match(r'\s*"?(\w+)', cell), re.search(r"\barea\s*:\s*([\d.eE+-]+)", cell)
        if name and area:
            found[name[1]] = float(area[1])
    return found


def area(cells: Counter[str], areas: dict[str, float]) -> float:
    """Sum of the areas of standard cells, in the unit of their library; memories have none."""
    return sum(areas.get(kind, 0.0) * count for kind, count in cells.items())


def ecp5(cells: Counter[str]) -> dict[str, int]:
    """LUTs, flip-flops, DSP blocks and block memories that cells of an ECP5 use."""
    return {name: sum(cells[kind] * each for kind, each in kinds.items()) for name, kinds in RESOURCES.items()}


def generic(cells: Counter[str]) -> dict[str, int]:
    """Gates and flip-flops among Yosys's generic cells."""
    flip_flops = sum(count for kind, count in cells.items() if re.match(r"\$_\w*DFF", kind))
    gates = sum(count for kind, count in cells.items() if kind.startswith("$_"))
    return {"gates": gates - flip_flops, "flip_flops": flip_flops}


def lacking(used: dict[str, int], device: str) -> list[str]:
    """What of a device a design would need more of: ``"300 DSP of 156"``; none if it fits."""
    return [
        f"{used[name]:,} {name.upper()} of {there:,}" for name, there in DEVICES[device].items() if used[name] > there
    ]


def read_place(report: dict[str, Any]) -> dict[str, Any]:
    """MHz, use of the device and the longest path, from the report of nextpnr.

    ``path`` is a list of ``[module, ns]`` along the longest path: instances in the design, with the delay up to the end
    of what lies in each. ``pins`` are the registers of the frame.
    """
    clocks = report["fmax"]
    name = next(iter(clocks))
    used = {
        kind: {"used": value["used"], "available": value["available"]}
        for kind, value in report["utilization"].items()
        if value["used"]
    }
    longest = max(
        (p["path"] for p in report["critical_paths"] if p["from"] == p["to"] == f"posedge {name}"),
        key=lambda path: sum(step["delay"] for step in path),
        default=[],
    )
    path: list[list[Any]] = []
    delay = 0.0
    for step in longest:
        delay += step["delay"]
        cell = step["to"]["cell"]
        place = _place(cell) if not cell.startswith("$nextpnr") else path[-1][0] if path else "top"
        if not path or path[-1][0] != place:
            path.append([place, 0.0])
        path[-1][1] = round(delay, 2)
    return {"mhz": round(clocks[name]["achieved"], 1), "used": used, "path": path}


def _place(cell: str) -> str:
    """Instance that a cell of the flat netlist comes from; ``top`` is the module that was synthesized."""
    parts = cell.split(".")
    if parts[0] != "design":
        return "pins"
    return ".".join(parts[1:-1]) or "top"
