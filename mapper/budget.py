"""What ``--auto-bits`` may cost: ``cycles=0.5``, ``cycles=1.2M``, ``size=40KiB``, ``energy=30uJ``."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from typing import Literal

Metric = Literal["cycles", "size", "energy"]

UNITS: dict[Metric, dict[str, float]] = {
    "cycles": {"": 1, "k": 1e3, "M": 1e6, "G": 1e9},
    "size": {"B": 1, "kB": 1e3, "KiB": 1024, "MB": 1e6, "MiB": 1 << 20, "GB": 1e9, "GiB": 1 << 30},
    "energy": {"pJ": 1, "nJ": 1e3, "uJ": 1e6, "mJ": 1e9},
}
"""Of absolute budgets."""

COUNTED: dict[Metric, str] = {"cycles": "cycles", "size": "bytes", "energy": "pJ"}
"""What amounts of each are counted in."""

_FORM = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(%|[A-Za-z]*)")


@dataclass(frozen=True)
class Budget:
    """Cycles of the network, bytes of its weights, or energy of its layers (``mapper/energy.py``).

    Attributes
    ----------
    metric : what is limited
    amount : the limit, in cycles, bytes or pJ, or a part of what the widest precision takes
    relative : whether it is such a part
    text : as it was written
    """

    metric: Metric
    amount: float
    relative: bool
    text: str

    def limit(self, widest: float) -> float:
        """The limit as :data:`COUNTED`, when the widest precision takes ``widest``."""
        return self.amount * widest if self.relative else self.amount


def budget(text: str) -> Budget:
    """Read a budget.

    Raises
    ------
    argparse.ArgumentTypeError
        When it is none.
    """
    metric, _, value = text.partition("=")
    found = _FORM.fullmatch(value)
    for known in UNITS:
        if metric == known and found:
            number, unit = float(found[1]), found[2]
            if unit == "%":
                number, unit = number / 100, ""
            if not unit and 0 < number <= 1:
                return Budget(known, number, True, text)
            if number > 0 and "%" not in value and unit in UNITS[known]:
                return Budget(known, number * UNITS[known][unit], False, text)
    raise argparse.ArgumentTypeError(
        "must be cycles=PART, size=PART or energy=PART of what 8/8 takes, above 0 and at most 1 or 100%, or an amount "
        f"such as cycles=1.2M, size=40KiB or energy=30uJ, not {text!r}"
    )
