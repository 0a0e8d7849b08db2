"""The table on the terminal."""

from typing import Any

from rich.table import Table

SMALLEST = 0.01
"""Share of all LUTs below which a module has no row of its own."""

NETLISTS = {
    "with-dsp": "",
    "without-dsp": ", without DSP blocks",
    "mixed": ", multipliers of the PEs without DSP blocks",
}
"""What is said of the netlist that was placed."""


def table(record: dict[str, Any]) -> Table:
    """Modules of a record: each row is one instance, with everything below it."""
    area = record["liberty"] is not None
    result = Table(title=f"{record['name']} ({record['top']}): one instance of each module, with what is below it")
    result.add_column("module")
    headings = ["instances", "gates", "flip-flops", "memory bits", *(["cell area"] if area else [])]
    for heading in (*headings, "LUT", "FF", "DSP", "BRAM", "LUT without DSP"):
        result.add_column(heading, justify="right")
    rows = record["modules"]
    luts = [row["instances"] * row["with_dsp"]["lut"] for row in rows]
    shown = [row for row, own in zip(rows, luts, strict=True) if own >= SMALLEST * max(luts)]
    for row in shown:
        ecp5 = row["with_dsp"]
        numbers = [row["instances"], row["gates"], row["flip_flops"], row["memory_bits"]]
        numbers += [row["area"]] if area else []
        numbers += [ecp5["lut"], ecp5["ff"], ecp5["dsp"], ecp5["bram"], row["without_dsp"]["lut"]]
        result.add_row(row["module"], *(f"{number:,}" for number in numbers))
    if len(shown) < len(rows):
        result.caption = f"{len(rows) - len(shown)} smaller modules, below {SMALLEST:.0%} of the LUTs, are in the JSON"
    return result


def summary(record: dict[str, Any]) -> list[str]:
    """What the table does not say: per multiplier, and the clock."""
    whole = record["modules"][0]
    each = record["multipliers"]
    lines = [
        f"LUTs per multiplier of the array: {whole['with_dsp']['lut'] / each:,.0f} with DSP blocks, "
        f"{whole['without_dsp']['lut'] / each:,.0f} without"
    ]
    placed = record["place"]
    if placed is None:
        return lines
    where = f"{placed['device']}, speed grade {placed['speed']}{NETLISTS[placed['netlist']]}"
    if placed["mhz"] is None:
        return [*lines, f"clock: not placed on {where}: {placed['reason'].removeprefix('does not fit: ')}"]
    lines.append(f"clock: {placed['mhz']:g} MHz on {where}")
    if placed["path"]:
        lines.append("longest path: " + ", ".join(f"{place} up to {ns:g} ns" for place, ns in placed["path"]))
    return lines
