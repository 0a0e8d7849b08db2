"""Arithmetic on plain numbers, as models use it to compute shapes; evaluated during the import."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

SCALARS: dict[str, Callable[..., Any]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "neg": operator.neg, "pow": operator.pow,
    "floordiv": operator.floordiv, "truediv": operator.truediv, "div": operator.truediv, "mod": operator.mod,
    "remainder": operator.mod, "sym_float": float, "sym_int": int, "floor": math.floor, "ceil": math.ceil,
    "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge,
    "Int": int, "Float": float, "Bool": bool, "ScalarImplicit": lambda x: x, "IntImplicit": int, "FloatImplicit": float,
}  # fmt: skip
"""By the name of the operator, without namespace and overload."""
