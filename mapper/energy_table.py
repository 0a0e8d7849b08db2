"""What an access costs: picojoules by place, each number with its node and source.

Memories between the tabulated sizes lie on straight lines in logarithms of size and energy, others on the next line.
"""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass
from math import exp, log
from typing import Literal

DramKind = Literal["lpddr4", "ddr3", "hbm2"]


@dataclass(frozen=True)
class Number:
    """Picojoules of something, and where they come from."""

    what: str
    pj: float
    node: str
    source: str


_ALADDIN, _CACTI = "Aladdin's tables, in AccelForge's component library", "CACTI 7, in AccelForge's component library"

MAC = Number("product of 8-bit integers and 16-bit addition", 1.033, "45 nm", _ALADDIN)
REGISTER = Number("byte read from or written to a register", 0.083, "45 nm", _ALADDIN)
DRAM: dict[DramKind, Number] = {
    "lpddr4": Number("bit of LPDDR4", 8.0, "-", _CACTI),
    "ddr3": Number("bit of DDR3", 70.0, "-", _CACTI),
    "hbm2": Number("bit of HBM2", 6.25, "-", _CACTI),
}

SRAM_WORD = 8
"""Bytes of an access that the numbers below are for."""

SRAM_KIB = {0.5: (1.58, 2.45), 8: (6.42, 8.16), 64: (26.2, 20.0), 192: (41.6, 32.4), 1024: (94.0, 76.7)}
"""64-bit read and write by size in KiB, ascending; 45 nm, CACTI 7, in AccelForge's component library."""


def sram_byte(size: int, word: int, *, write: bool) -> float:
    """Picojoules per byte of a memory of ``size`` bytes with words of ``word``: banks of 64 bits beside each other."""
    bank = size / max(1.0, word / SRAM_WORD)
    sizes = [log(1024 * kib) for kib in SRAM_KIB]
    costs = [log(pair[write]) for pair in SRAM_KIB.values()]
    at = min(max(bisect(sizes, log(bank)), 1), len(sizes) - 1)
    slope = (costs[at] - costs[at - 1]) / (sizes[at] - sizes[at - 1])
    return exp(costs[at - 1] + slope * (log(bank) - sizes[at - 1])) / SRAM_WORD


def table() -> list[Number]:
    """Every number, for documentation."""
    memories = [
        Number(f"64-bit {what} of {kib:g} KiB", pj, "45 nm", _CACTI)
        for kib, pair in SRAM_KIB.items() for what, pj in zip(("read", "write"), pair, strict=True)
    ]  # fmt: skip
    return [MAC, REGISTER, *memories, *DRAM.values()]
