"""Where a layer's energy goes, for the report and the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from mapper.accesses import ACCUMULATORS, ENTRIES, ROW_BUFFER, SUMS
from mapper.energy import DRAM_PLACE, MULTIPLIERS, REGISTERS

Meter = tuple[str, str, tuple[str, ...]]

PARTS: tuple[Meter, ...] = (
    ("useful", "multipliers", (MULTIPLIERS,)),
    ("partial", "PE registers", (REGISTERS,)),
    ("weights", "buffers of the array", ("input buffer", "weight buffer", ENTRIES)),
    ("write_back", "accumulators", (ACCUMULATORS, SUMS)),
    ("vector", "vector unit and row engine", ("operand buffer", "parameters", ROW_BUFFER)),
    ("dram", "DRAM", (DRAM_PLACE,)),
)
"""Colour (a class of the style sheet), label, and the places of :mod:`mapper.energy` that count in it."""


def parts(energy: Mapping[str, float]) -> list[tuple[str, str, float]]:
    """Colour, label and picojoules of every part."""
    return [(key, label, sum(energy.get(place, 0.0) for place in places)) for key, label, places in PARTS]


def joules(picojoules: float) -> str:
    """An energy in a unit that keeps it readable."""
    for factor, unit in ((1.0, "pJ"), (1e-3, "nJ"), (1e-6, "uJ"), (1e-9, "mJ")):
        if picojoules * factor < 1000:
            return f"{picojoules * factor:.4g} {unit}"
    return f"{picojoules * 1e-12:.4g} J"


def summary(energy: Mapping[str, float], samples: int) -> str:
    """A sentence for the terminal."""
    total = sum(energy.values())
    shares = sorted(((label, pj) for _, label, pj in parts(energy) if pj), key=lambda part: -part[1])
    text = ", ".join(f"{label} {100 * pj / total:.0f} %" for label, pj in shares)
    each = f" ({joules(total / samples)} per sample)" if samples > 1 else ""
    return f"energy: {joules(total)}{each}, 45 nm: {text}"
