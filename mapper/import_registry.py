"""The table of supported operators, and the call of one.

Handlers have the argument names of PyTorch's schemas, except that ``self`` and ``input`` are called ``x``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch

from dataflows.network import Window
from mapper.graph import Floats, Node
from mapper.import_builder import Builder
from mapper.import_values import Activation, Constant

Handler = Callable[..., Any]
F = TypeVar("F", bound=Handler)
OPERATORS: dict[str, Handler] = {}
CONSTANT_ONLY = frozenset(
    {"t", "transpose", "permute", "view", "reshape", "flatten", "unsqueeze", "squeeze", "expand", "slice", "select"}
    | {"add", "sub", "mul", "div", "rsqrt", "sqrt", "neg"}
)
"""Operators that are evaluated at import where all their tensors are constants."""


def operator(*names: str) -> Callable[[F], F]:
    """Register a handler: ``handler(builder, **arguments) -> value(s)``."""

    def register(handler: F) -> F:
        OPERATORS.update(dict.fromkeys(names, handler))
        return handler

    return register


def apply(builder: Builder, name: str, arguments: dict[str, Any]) -> Any:
    """Import one call of operator ``name`` (without namespace and overload)."""
    tensors = [v for value in arguments.values() for v in (value if isinstance(value, list) else [value])]
    active = [v for v in tensors if isinstance(v, Activation)]
    for value in active:
        builder.read(value)
    plain = name.removesuffix("_") if not name.endswith("__") else name
    if not active and plain in CONSTANT_ONLY:
        return _fold(builder, plain, arguments)
    handler = OPERATORS.get(name) or OPERATORS.get(plain)
    if handler is None:
        supported = ", ".join(sorted(n for n in OPERATORS if not n.startswith("_")))
        raise builder.error(f"operator {name} is not supported; supported are {supported}")
    renamed = {"x" if key in ("self", "input") else key: value for key, value in arguments.items()}
    result = handler(builder, **renamed)
    if plain != name and isinstance(renamed.get("x"), Activation) and isinstance(result, Activation):
        return builder.overwrite(renamed["x"], result) if result is not renamed["x"] else result
    return result


def _fold(builder: Builder, name: str, arguments: dict[str, Any]) -> Constant:
    """The value of an operator on constants."""
    names = [v.name for v in arguments.values() if isinstance(v, Constant)]
    plain = {key: v.data if isinstance(v, Constant) else v for key, v in arguments.items()}
    try:
        return Constant(names[0] if names else name, getattr(torch.ops.aten, name)(**plain))
    except (RuntimeError, TypeError) as error:
        raise builder.error(f"operator {name} on constants failed: {error}") from error


def activation(builder: Builder, value: Any, op: str, rank: int | None = None) -> Activation:
    """``value``, which must be computed from the inputs, with 2 or 4 dimensions if ``rank`` says so."""
    if not isinstance(value, Activation):
        raise builder.error(f"{op} needs a tensor computed from the model's inputs, not a constant")
    if rank is not None and len(value.shape) != rank:
        form = "(N, C, H, W)" if rank == 4 else "(N, features)"
        raise builder.error(f"{op} is supported on {form} tensors, not on shape {value.shape}")
    return value


def floats(builder: Builder, value: Any, op: str) -> Floats:
    """The contents of a constant parameter."""
    if not isinstance(value, Constant):
        raise builder.error(f"{op} is supported with constant parameters only, not with computed ones")
    return value.floats()


def windowed(
    builder: Builder, make: type[Node], x: Activation, channels: int, window: Window, **fields: Any
) -> Activation:
    """Append a node with a window; the result's size follows from it."""
    height, width = window.output_size(x.shape[2], x.shape[3])
    if height < 1 or width < 1:
        raise builder.error(f"the window {window.kernel} is larger than the padded map {x.shape[2:]}")
    return builder.add(make, [x], (x.shape[0], channels, height, width), window=window, **fields)
