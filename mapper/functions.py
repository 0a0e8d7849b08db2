"""Functions of single elements that become tables."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch.nn import functional

Function = Callable[[torch.Tensor], torch.Tensor]

FUNCTIONS: dict[str, Function] = {
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "hard_swish": functional.hardswish,
    "hard_sigmoid": functional.hardsigmoid,
    "mish": functional.mish,
    "selu": functional.selu,
    "softsign": functional.softsign,
    "log_sigmoid": functional.logsigmoid,
    "exp": torch.exp,
    "erf": torch.erf,
    "sqrt": lambda x: torch.sqrt(x.clamp(min=0)),
    "abs": torch.abs,
    "one_minus": lambda x: 1 - x,
}
"""By the name that layers and reports have for them."""

FAMILIES: dict[str, Callable[[torch.Tensor, float], torch.Tensor]] = {
    "elu": functional.elu,
    "leaky_relu": functional.leaky_relu,
    "softplus": functional.softplus,
}
"""Functions with a number, which is a part of their name: ``leaky_relu(0.1)``."""


def family(name: str, number: float) -> str:
    """Name of a function with a number."""
    return f"{name}({number!r})"


def function(name: str) -> Function:
    """The function of a name. Raises ``KeyError`` for names that nobody has."""
    base, bracket, number = name.partition("(")
    if not bracket:
        return FUNCTIONS[name]
    return partial(_with, FAMILIES[base], float(number.removesuffix(")")))


def _with(make: Callable[[torch.Tensor, float], torch.Tensor], number: float, x: torch.Tensor) -> torch.Tensor:
    return make(x, number)
