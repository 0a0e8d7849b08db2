"""What a schedule can make least."""

from __future__ import annotations

from typing import Literal

Objective = Literal["cycles", "energy", "edp"]
"""Estimated cycles, picojoules, or the product of both (energy delay product)."""

OBJECTIVES: tuple[Objective, ...] = ("cycles", "energy", "edp")
