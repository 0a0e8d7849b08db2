"""Scripts for Yosys.

Modules stay modules: equal ones are mapped once, and cells can be counted per module. What the tool could save
across their borders it does not. Reports go to files with ``tee``: in the WebAssembly build the standard output is lost
from the first run of ABC on.
"""

from collections.abc import Sequence

GENERIC, CELLS, MEMORIES = "generic.json", "cells.json", "memories.json"
"""Reports of :func:`generic`."""


def generic(source: str, top: str, liberty: str | None, flat: bool = False) -> str:
    """Simple gates and flip-flops; with a Liberty file, standard cells too. Memories stay out of both.

    Parameters
    ----------
    source : str
        Verilog file.
    top : str
        Module to synthesize.
    liberty : str, optional
        Liberty file.
    flat : bool
        Make one module of all.
    """
    lines = [
        f"read_verilog {source}",
        f"hierarchy -check -top {top}",
        "proc",
        *(["flatten"] if flat else []),
        f"tee -q -o {MEMORIES} stat -json",  # bits of memories are known only until they are cells
        f"synth -run coarse:fine -top {top}",
        "opt -fast -full",
        "opt -undriven -fine",
        "techmap",
        "opt -fast",
        "design -save gates",
        "abc",
        "opt_clean",
        f"tee -q -o {GENERIC} stat -json",
    ]
    if liberty is not None:
        lines += [
            "design -load gates",
            f"dfflibmap -liberty {liberty}",
            f"abc -liberty {liberty}",
            "opt_clean",
            f"tee -q -o {CELLS} stat -json",
        ]
    return "\n".join([*lines, ""])


def ecp5(
    sources: Sequence[str], frame: str, kind: str, *, dsp: bool, in_tables: Sequence[str] = (), netlist: bool = False
) -> str:
    """Cells of Lattice ECP5: a report per module, ``<kind>.json``, and with ``netlist`` the flat one to place.

    Multipliers that get no DSP block are Booth recoded (a PE of 8 bits: 188 tables instead of 217). Tables have four
    inputs: wider ones, made of up to eight of these, would take 337.

    Parameters
    ----------
    sources : sequence of str
        Verilog files.
    frame : str
        Module to synthesize.
    kind : str
        Name of the files.
    dsp : bool
        Whether multipliers become DSP blocks.
    in_tables : sequence of str
        Modules whose multipliers do not.
    netlist : bool
        Whether to write ``<kind>.netlist.json``.
    """
    lines = [f"read_verilog {source}" for source in sources]
    lines += [f"hierarchy -check -top {frame}", "proc", "opt"]
    if not dsp:
        lines.append("booth")
    elif in_tables:
        lines.append("booth " + " ".join(in_tables))
    lines += [
        f"synth_ecp5 -noflatten -nowidelut {'' if dsp else '-nodsp '}-top {frame}",
        f"tee -q -o {kind}.json stat -json",
    ]
    if netlist:
        lines += ["flatten", "opt_clean -purge", f"write_json {kind}.netlist.json"]
    return "\n".join([*lines, ""])
