"""What synthesis needs to know of the emitted Verilog: modules, their ports, and a frame for a module by itself."""

import re
from dataclasses import dataclass

from dataflows.config import Config
from dataflows.errors import InputError

TOPS = ("all", "array", "pe")
"""What can be synthesized: the accelerator, its PE array, or one PE."""

_MODULE = re.compile(r"^module (\w+)\(.*?^endmodule$", re.MULTILINE | re.DOTALL)
_PORT = re.compile(r"^  (input|output) (?:\[(\d+):0\] )?(\\\S+ |\w+);$", re.MULTILINE)
_PES = ("pe", "fusion_pe", "multiplier_pe", "multiplier_pe_1", "row_pe", "plane_pe")
_ARRAYS = ("pe_array", "step_array", "row_array", "plane_array")

FRAME = "synth_frame"
"""Name of the module around the design that nextpnr places."""


@dataclass(frozen=True)
class Port:
    """Port of a Verilog module, ``bits`` wide; ``name`` is as it stands in the text."""

    name: str
    bits: int
    output: bool


def modules(text: str) -> dict[str, str]:
    """Text of every module, by name."""
    return {match[1]: match[0] for match in _MODULE.finditer(text)}


def ports(module: str) -> list[Port]:
    """Ports of a module, given its text as Yosys writes it."""
    return [Port(name, int(high or 0) + 1, way == "output") for way, high, name in _PORT.findall(module)]


def pe_modules(cfg: Config, names: list[str] | dict[str, str]) -> list[str]:
    """Modules of the PEs of the array."""
    return [name for name in (f"{cfg.name}_{kind}" for kind in _PES) if name in names]


def top_module(cfg: Config, top: str, text: str) -> str:
    """Name of the module that one of :data:`TOPS` means.

    Raises
    ------
    InputError
        If the design has none.
    """
    if top == "all":
        return cfg.name
    kinds = _PES if top == "pe" else _ARRAYS
    found = modules(text)
    for kind in kinds:
        if f"{cfg.name}_{kind}" in found:
            return f"{cfg.name}_{kind}"
    raise InputError(f"{cfg.name} has no module for --top {top} ({', '.join(kinds)}); use --top all")


def frame(module: str, text: str) -> str:
    """A module with three pins around ``module``: more ports than a package has pins become registers.

    Inputs come from a shift register; outputs are taken into registers, which are folded into another one. So every
    path of the module begins and ends in registers, as it does between neighbours on a chip.

    Parameters
    ----------
    module : str
        Name; its clock is called ``clk``.
    text : str
        Verilog of the design.
    """
    found = [port for port in ports(modules(text)[module]) if port.name != "clk"]
    width = {way: sum(port.bits for port in found if port.output is way) for way in (False, True)}
    place = {False: 0, True: 0}
    connections = [".clk(clk)"]
    for port in found:
        low = place[port.output]
        place[port.output] = high = low + port.bits
        connections.append(f".{port.name}({'taken' if port.output else 'given'}[{high - 1}:{low}])")
    return "\n".join([
        f"module {FRAME}(input clk, input i, output o);",
        f"  reg [{max(width[False], 1) - 1}:0] given;",
        f"  wire [{max(width[True], 1) - 1}:0] taken;",
        f"  reg [{max(width[True], 1) - 1}:0] held, folded;",
        "  always @(posedge clk) begin",
        "    given <= {given, i};",
        "    held <= taken;",
        "    folded <= {folded, i} ^ held;",
        "  end",
        f"  assign o = folded[{max(width[True], 1) - 1}];",
        f"  {module} design (" + ", ".join(connections) + ");",
        "endmodule",
        "",
    ])  # fmt: skip
