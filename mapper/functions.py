"""Functions of single elements that become tables."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

Function = Callable[[torch.Tensor], torch.Tensor]

FUNCTIONS: dict[str, Function] = {
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}
"""By the name that layers and reports have for them."""
