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
from mapper.import_parts import ordered, whole
from mapper.import_scores import Scores, on_scores
from mapper.import_values import Activation, Constant, Ids, Rounded

Handler = Callable[..., Any]
F = TypeVar("F", bound=Handler)
OPERATORS: dict[str, Handler] = {}
REFUSED: set[str] = set()
"""Operators whose handlers only say what to do instead."""
CONSTANT_ONLY = frozenset(
    {"t", "transpose", "permute", "view", "reshape", "flatten", "unsqueeze", "squeeze", "expand", "slice", "select"}
    | {"expand_as", "unflatten", "_unsafe_view", "chunk", "split", "unbind", "cat", "stack", "repeat", "flip", "roll"}
    | {"add", "sub", "rsub", "mul", "div", "rsqrt", "sqrt", "neg", "pow", "sin", "cos", "exp", "log", "abs"}
    | {"linear", "mm", "addmm", "split_with_sizes", "contiguous"}
    | {"cumsum", "sum", "matmul", "outer", "floor_divide", "remainder", "repeat_interleave", "fill", "copy"}
    | {"arange", "full", "ones", "zeros", "eye", "scalar_tensor", "zeros_like", "ones_like", "full_like"}
    | {"new_full", "new_zeros", "new_ones", "tril", "triu", "masked_fill", "where", "embedding", "any", "all"}
    | {"eq", "ne", "lt", "le", "gt", "ge", "__and__", "__or__"}
    | {f"{kind}_{what}" for kind in ("logical", "bitwise") for what in ("not", "and", "or")}
)
"""Operators that are evaluated at import where all their tensors are constants."""
MOVES = frozenset(
    {"t", "transpose", "permute", "view", "reshape", "flatten", "unsqueeze", "squeeze", "expand", "slice", "select"}
    | {"unflatten", "_unsafe_view", "chunk", "split", "unbind", "repeat", "flip", "roll"}
)
"""Those that change places of elements only."""
NO_VALUE = frozenset({"layout", "device", "pin_memory", "memory_format"})
"""Arguments that say where and how a result is held."""


def operator(*names: str, refused: bool = False) -> Callable[[F], F]:
    """Register a handler: ``handler(builder, **arguments) -> value(s)``; ``refused``: all it does is to say why not."""

    def register(handler: F) -> F:
        OPERATORS.update(dict.fromkeys(names, handler))
        REFUSED.update(names if refused else ())
        return handler

    return register


def apply(builder: Builder, name: str, arguments: dict[str, Any]) -> Any:
    """Import one call of operator ``name`` (without namespace and overload)."""
    tensors = [v for value in arguments.values() for v in (value if isinstance(value, list) else [value])]
    active = [v for v in tensors if isinstance(v, Activation)]
    for value in active:
        builder.read(value)
    plain = name.removesuffix("_") if not name.endswith("__") else name
    if name != "einsum" and any(isinstance(v, Scores) for v in tensors):
        return on_scores(builder, plain, arguments)
    if not active and plain in CONSTANT_ONLY:
        return _fold(builder, name, arguments)
    handler = OPERATORS.get(name) or OPERATORS.get(plain)
    if handler is None:
        supported = ", ".join(sorted(n for n in OPERATORS if not n.startswith("_") and n not in REFUSED))
        raise builder.error(f"operator {name} is not supported; supported are {supported}")
    renamed = {"x" if key in ("self", "input") else key: value for key, value in arguments.items()}
    result = handler(builder, **renamed)
    if plain != name and isinstance(renamed.get("x"), Activation) and isinstance(result, Activation):
        return builder.overwrite(renamed["x"], result) if result is not renamed["x"] else result
    return result


def _fold(builder: Builder, name: str, arguments: dict[str, Any]) -> Any:
    """The value of an operator on constants."""
    names = [v.name for v in arguments.values() if isinstance(v, Constant)]
    title = names[0] if names else name
    plain = {key: _plain(value) for key, value in arguments.items() if key not in NO_VALUE}
    try:
        result = getattr(torch.ops.aten, name)(**plain)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise builder.error(f"operator {name} on constants failed: {error}") from error
    steps = _steps(name, arguments)
    if isinstance(result, torch.Tensor):
        return Constant(title, result, steps)
    if not isinstance(result, list | tuple):
        return result
    parts = steps if isinstance(steps, list | tuple) else [None] * len(result)
    return tuple(Constant(title, part, step) for part, step in zip(result, parts, strict=True))


def _steps(name: str, arguments: dict[str, Any]) -> Any:
    """What becomes of the scales of a constant's elements where an operator only moves these."""
    if name not in MOVES or not any(isinstance(v, Constant) and v.steps is not None for v in arguments.values()):
        return None
    plain = {k: v.steps if isinstance(v, Constant) else v for k, v in arguments.items() if k not in NO_VALUE}
    return getattr(torch.ops.aten, name)(**plain)


def _plain(value: Any) -> Any:
    """An argument with tensors instead of constants."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.data if isinstance(value, Constant) else value


def activation(builder: Builder, value: Any, op: str, rank: int | None = None) -> Activation:
    """``value``, which must be computed from the inputs; with ``rank`` in the graph's order, of 2 or 4 dimensions."""
    if isinstance(value, Ids):
        raise builder.error(f"{op} is not supported on integers (ids); only an embedding takes them")
    if isinstance(value, Rounded):
        raise builder.error(f"{op} between quantization and dequantization is not supported; it computes with reals")
    if not isinstance(value, Activation):
        raise builder.error(f"{op} needs a tensor computed from the model's inputs, not a constant")
    if rank is None:
        return value
    if len(value.shape) != rank:
        form = "(N, C, H, W)" if rank == 4 else "(N, features)"
        raise builder.error(f"{op} is supported on {form} tensors, not on shape {value.shape}")
    return ordered(builder, value, op)


def pointwise(builder: Builder, make: type[Node], x: Activation, **fields: Any) -> Activation:
    """Append a node that treats elements one by one; its result is arranged like ``x``."""
    x = whole(builder, x)
    result = builder.add(make, [x], builder.shape(x), **fields)
    return Activation(result.name, x.shape, index=x.index)


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
